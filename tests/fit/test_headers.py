"""From headers to shapes, and from one quantization to another."""

import io

import pytest

from orchestrator.fit.headers import shape_of
from orchestrator.fit.quants import scaled
from orchestrator.models.gguf import read_header
from orchestrator.models.headers import Headers
from orchestrator.models.tensor import Tensor
from tests.doubles.gguf import qwen_14b


@pytest.fixture(scope="module")
def qwen() -> Headers:
    head, size = qwen_14b()
    header = read_header(io.BytesIO(head), size)
    return Headers("gguf", "Q4_K_M", size, len(head), header.tensors, metadata=header.metadata)


def test_a_gguf(qwen: Headers) -> None:
    shape = shape_of(qwen)
    assert shape.certain
    assert (shape.architecture, len(shape.layers), shape.weights_bytes) == ("qwen2", 48, 8_982_142_976)
    assert shape.parameters == 14_770_033_664


CONFIG = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 100,
    "intermediate_size": 128, "max_position_embeddings": 2048,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "parameters"), [("BF16", 5000), ("F8_E4M3", 5000), ("I32", 0), ("U8", 0)])
def test_packed_weights_are_not_counted(kind: str, parameters: int) -> None:
    tensors = (Tensor("w", kind, (50, 100), 10_000),)
    shape = shape_of(Headers("safetensors", "", 10_100, 0, tensors, config=CONFIG))
    assert (shape.source, shape.weights_bytes, shape.parameters) == ("config", 10_000, parameters)


def test_a_model_in_another_quantization_keeps_all_but_its_sizes(qwen: Headers) -> None:
    shape = shape_of(qwen)
    twice = scaled(shape, 2 * shape.weights_bytes)
    assert twice.weights_bytes == 2 * shape.weights_bytes
    assert twice.bits_per_weight == 2 * shape.bits_per_weight
    assert twice.embedding_bytes == 2 * shape.embedding_bytes
    assert [layer.kv_heads for layer in twice.layers] == [layer.kv_heads for layer in shape.layers]
    assert scaled(shape, shape.weights_bytes) == shape


def test_no_size_is_no_crash(qwen: Headers) -> None:
    shape = shape_of(Headers("gguf", "", 0, 0, ()))
    assert scaled(shape, 100).weights_bytes == 0
    assert scaled(shape_of(qwen), -5).weights_bytes == 0

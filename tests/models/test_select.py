"""Which files are meant, in repositories as people publish them."""

import pytest

from orchestrator.errors import UsageError
from orchestrator.models import select

SPLIT = [f"Q8_0/big-Q8_0-{number:05}-of-00003.gguf" for number in (1, 2, 3)]
PUBLISHED = [
    "README.md",
    "big-Q4_K_S.gguf",
    "big-Q4_K_M.gguf",
    "big-UD-Q4_K_XL.gguf",
    "big-UD-Q4_K_M.gguf",
    "big.IQ4_XS.gguf",
    "big-f16.gguf",
    "big-imatrix.gguf",
    "mmproj-F16.gguf",
    *reversed(SPLIT),
]


@pytest.mark.parametrize(
    ("quant", "main"),
    [
        ("Q4_K_M", "big-Q4_K_M.gguf"),
        ("q4_k_s", "big-Q4_K_S.gguf"),
        ("UD-Q4_K_XL", "big-UD-Q4_K_XL.gguf"),
        ("ud-q4_k_m", "big-UD-Q4_K_M.gguf"),
        ("IQ4_XS", "big.IQ4_XS.gguf"),
        ("F16", "big-f16.gguf"),
        ("Q8_0", SPLIT[0]),
    ],
)
def test_a_quantization_is_found_by_its_whole_label(quant: str, main: str) -> None:
    assert select.by_quant("acme/big", quant, PUBLISHED).main == main


def test_all_shards_of_a_split_model_come_in_their_order() -> None:
    assert select.by_quant("acme/big", "Q8_0", PUBLISHED).paths == tuple(SPLIT)
    assert select.by_file("acme/big", SPLIT[1], PUBLISHED).paths == tuple(SPLIT)


def test_a_label_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(UsageError) as caught:
        select.by_quant("acme/big", "Q4_K_L", PUBLISHED)
    assert "hf:acme/big:Q4_K_M, " in caught.value.remedy
    assert "mmproj" not in caught.value.remedy


def test_two_models_with_one_label_must_be_told_apart() -> None:
    with pytest.raises(UsageError) as caught:
        select.by_quant("acme/two", "Q4_0", ["one-Q4_0.gguf", "two-Q4_0.gguf"])
    assert "hf:acme/two/one-Q4_0.gguf, hf:acme/two/two-Q4_0.gguf" in caught.value.remedy


@pytest.mark.parametrize("paths", [SPLIT[:2], SPLIT[1:], [SPLIT[0], SPLIT[2]]])
def test_a_split_model_with_a_shard_missing_is_refused(paths: list[str]) -> None:
    with pytest.raises(UsageError, match="is not whole"):
        select.by_quant("acme/big", "Q8_0", paths)


def test_a_file_by_name() -> None:
    assert select.by_file("acme/big", "mmproj-F16.gguf", PUBLISHED).paths == ("mmproj-F16.gguf",)
    with pytest.raises(UsageError, match=r"has no file none\.gguf"):
        select.by_file("acme/big", "none.gguf", PUBLISHED)


def test_a_whole_repository_is_what_an_engine_reads() -> None:
    paths = [
        "README.md",
        ".gitattributes",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "chat_template.jinja",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "consolidated.safetensors",
        "consolidated.safetensors.index.json",
        "original/consolidated.00.pth",
        "onnx/model.safetensors",
        "figure.png",
    ]
    assert select.whole("acme/big", paths) == (
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer.model",
    )


def test_a_repository_without_safetensors_is_refused() -> None:
    with pytest.raises(UsageError, match="no safetensors"):
        select.whole("acme/old", ["config.json", "pytorch_model.bin"])
    with pytest.raises(UsageError, match="GGUF") as caught:
        select.whole("acme/big", PUBLISHED)
    assert "hf:acme/big:Q4_K_M" in caught.value.remedy


def test_beside_a_gguf_go_configuration_and_tokenizer_only() -> None:
    paths = ["config.json", "merges.txt", "model.safetensors", "tokenizer_config.json", "vocab.json", "LICENSE"]
    assert select.beside_gguf(paths) == ("config.json", "merges.txt", "tokenizer_config.json", "vocab.json")

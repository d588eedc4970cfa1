"""A writer of GGUF files: tiny ones that llama.cpp's loader would accept (one llama block, byte tokens, F32 weights),
and the headers of large ones."""

import io
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_ALIGNMENT = 32
_WIDTH, _HEADS, _HIDDEN = 32, 4, 64
_UINT32, _INT32, _FLOAT32, _STRING, _ARRAY = 4, 5, 6, 8, 9
_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    chat_template: str | None = CHATML,
    context_length: int = 2048,
    seed: int = 0,
) -> Path:
    """Write a model of about 100 KB to `path`; another `seed` gives another content of the same size."""
    shapes = _shapes()
    keys = _keys(architecture, chat_template, context_length)
    tensors = [(name, 0, shape) for name, shape in shapes.items()]
    with path.open("wb") as file:
        file.write(head(keys, tensors))
        for number, shape in enumerate(shapes.values()):
            count = math.prod(shape)
            weight = struct.pack("<f", 1.0 if len(shape) == 1 else 0.01 * (number + 1 + seed))
            file.write((weight * count).ljust(_aligned(4 * count), b"\0"))
    return path


Key = tuple[str, int, object]
TensorInfo = tuple[str, int, tuple[int, ...]]


def head(keys: Sequence[Key], tensors: Sequence[TensorInfo]) -> bytes:
    """The header of a GGUF: values with their kinds, and tensors by name, ggml type and shape."""
    file = io.BytesIO()
    file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)))
    for key, kind, value in keys:
        _write_string(file, key)
        file.write(struct.pack("<I", kind))
        _write_value(file, kind, value)
    offset = 0
    for name, kind, shape in tensors:
        _write_string(file, name)
        file.write(struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
        offset += _aligned(content_bytes(kind, shape))
    file.write(bytes(-file.tell() % _ALIGNMENT))
    return file.getvalue()


def content_bytes(kind: int, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor's content."""
    block, taken = BLOCKS[kind]
    return math.prod(shape) // block * taken


F32, Q8_0, Q3_K, Q4_K, Q5_K, Q6_K = 0, 8, 11, 12, 13, 14
BLOCKS = {F32: (1, 4), Q8_0: (32, 34), Q3_K: (256, 110), Q4_K: (256, 144), Q5_K: (256, 176), Q6_K: (256, 210)}


def qwen_14b(*, merges: bool = False, size: int = 0) -> tuple[bytes, int]:
    """The header of Qwen2.5-14B-Instruct Q4_K_M, and the bytes of the whole file.

    Its tensors are those of the published file, to the byte (8,982,142,976). With ``merges`` the vocabulary takes as
    much as it does there; ``size`` is what the whole file is filled up to.
    """
    blocks, width, wide, heads_kv, vocabulary = 48, 5120, 13824, 1024, 152064

    def mixed(number: int) -> int:  # llama.cpp's use_more_bits
        eighth = blocks // 8
        return Q6_K if number < eighth or number >= 7 * eighth or (number - eighth) % 3 == 2 else Q4_K

    tensors: list[TensorInfo] = [
        ("token_embd.weight", Q4_K, (width, vocabulary)),
        ("output.weight", Q6_K, (width, vocabulary)),
        ("output_norm.weight", F32, (width,)),
    ]
    for number in range(blocks):
        parts: Mapping[str, tuple[int, tuple[int, ...]]] = {
            "attn_norm.weight": (F32, (width,)), "ffn_norm.weight": (F32, (width,)),
            "attn_q.weight": (Q4_K, (width, width)), "attn_q.bias": (F32, (width,)),
            "attn_k.weight": (Q4_K, (width, heads_kv)), "attn_k.bias": (F32, (heads_kv,)),
            "attn_v.weight": (mixed(number), (width, heads_kv)), "attn_v.bias": (F32, (heads_kv,)),
            "attn_output.weight": (Q4_K, (width, width)),
            "ffn_gate.weight": (Q4_K, (width, wide)), "ffn_up.weight": (Q4_K, (width, wide)),
            "ffn_down.weight": (mixed(number), (wide, width)),
        }  # fmt: skip
        tensors += [(f"blk.{number}.{name}", kind, shape) for name, (kind, shape) in parts.items()]
    keys = _qwen_keys(blocks, width, wide, vocabulary, merges=merges)
    content = sum(_aligned(content_bytes(kind, shape)) for _, kind, shape in tensors)
    made = head(keys, tensors)
    if size:  # by a longer template
        missing = size - content - len(made)
        assert missing >= 0 and missing % _ALIGNMENT == 0
        keys[-1] = (*keys[-1][:2], str(keys[-1][2]) + "#" * missing)
        made = head(keys, tensors)
    return made, len(made) + content


def _qwen_keys(blocks: int, width: int, wide: int, vocabulary: int, *, merges: bool) -> list[Key]:
    tokens = [f"{number:05x}" for number in range(vocabulary)]
    found: list[Key] = [
        ("general.architecture", _STRING, "qwen2"),
        ("general.name", _STRING, "Qwen2.5 14B Instruct"),
        ("general.file_type", _UINT32, 15),
        ("qwen2.block_count", _UINT32, blocks),
        ("qwen2.context_length", _UINT32, 32768),
        ("qwen2.embedding_length", _UINT32, width),
        ("qwen2.feed_forward_length", _UINT32, wide),
        ("qwen2.attention.head_count", _UINT32, 40),
        ("qwen2.attention.head_count_kv", _UINT32, 8),
        ("qwen2.rope.freq_base", _FLOAT32, 1e6),
        ("qwen2.attention.layer_norm_rms_epsilon", _FLOAT32, 1e-6),
        ("tokenizer.ggml.model", _STRING, "gpt2"),
        ("tokenizer.ggml.tokens", _ARRAY, (_STRING, tokens)),
        ("tokenizer.ggml.token_type", _ARRAY, (_INT32, [1] * vocabulary)),
    ]
    if merges:
        found.append(("tokenizer.ggml.merges", _ARRAY, (_STRING, [f"{one} {one}" for one in tokens])))
    return [*found, ("tokenizer.chat_template", _STRING, CHATML)]


def _shapes() -> dict[str, tuple[int, ...]]:
    square = (_WIDTH, _WIDTH)
    block = {
        "attn_norm": (_WIDTH,), "attn_q": square, "attn_k": square, "attn_v": square, "attn_output": square,
        "ffn_norm": (_WIDTH,), "ffn_gate": (_WIDTH, _HIDDEN), "ffn_up": (_WIDTH, _HIDDEN),
        "ffn_down": (_HIDDEN, _WIDTH),
    }  # fmt: skip
    vocabulary = (_WIDTH, len(_TOKENS))
    return {
        "output_norm.weight": (_WIDTH,),
        "token_embd.weight": vocabulary,
        "output.weight": vocabulary,
        **{f"blk.0.{name}.weight": shape for name, shape in block.items()},
    }


def _keys(architecture: str, chat_template: str | None, context_length: int) -> list[Key]:
    kinds = [2, 3, 3] + [6] * 256  # unknown, control, control, bytes
    keys: list[Key] = [
        ("general.architecture", _STRING, architecture),
        ("general.file_type", _UINT32, 0),
        (f"{architecture}.context_length", _UINT32, context_length),
        (f"{architecture}.embedding_length", _UINT32, _WIDTH),
        (f"{architecture}.block_count", _UINT32, 1),
        (f"{architecture}.feed_forward_length", _UINT32, _HIDDEN),
        (f"{architecture}.attention.head_count", _UINT32, _HEADS),
        (f"{architecture}.attention.head_count_kv", _UINT32, _HEADS),
        (f"{architecture}.attention.layer_norm_rms_epsilon", _FLOAT32, 1e-5),
        (f"{architecture}.rope.dimension_count", _UINT32, _WIDTH // _HEADS),
        ("tokenizer.ggml.model", _STRING, "llama"),
        ("tokenizer.ggml.tokens", _ARRAY, (_STRING, _TOKENS)),
        ("tokenizer.ggml.scores", _ARRAY, (_FLOAT32, [0.0] * len(_TOKENS))),
        ("tokenizer.ggml.token_type", _ARRAY, (_INT32, kinds)),
        ("tokenizer.ggml.bos_token_id", _UINT32, 1),
        ("tokenizer.ggml.eos_token_id", _UINT32, 2),
    ]
    return keys if chat_template is None else [*keys, ("tokenizer.chat_template", _STRING, chat_template)]


def _write_string(file: IO[bytes], text: str) -> None:
    content = text.encode()
    file.write(struct.pack("<Q", len(content)) + content)


def _write_value(file: IO[bytes], kind: int, value: object) -> None:
    if kind == _STRING:
        _write_string(file, str(value))
    elif kind == _ARRAY:
        assert isinstance(value, tuple)
        inner, items = value
        file.write(struct.pack("<IQ", inner, len(items)))
        for item in items:
            _write_value(file, inner, item)
    else:
        file.write(struct.pack({_UINT32: "<I", _INT32: "<i", _FLOAT32: "<f"}[kind], value))


def _aligned(size: int) -> int:
    return (size + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT

"""A writer of tiny GGUF files that llama.cpp's loader would accept: one llama block, byte tokens, F32 weights."""

import math
import struct
from pathlib import Path
from typing import BinaryIO

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
    with path.open("wb") as file:
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(shapes), len(keys)))
        for key, kind, value in keys:
            _write_string(file, key)
            file.write(struct.pack("<I", kind))
            _write_value(file, kind, value)
        offset = 0
        for name, shape in shapes.items():
            _write_string(file, name)
            file.write(struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset))
            offset += _aligned(4 * math.prod(shape))
        file.write(bytes(-file.tell() % _ALIGNMENT))
        for number, shape in enumerate(shapes.values()):
            count = math.prod(shape)
            weight = struct.pack("<f", 1.0 if len(shape) == 1 else 0.01 * (number + 1 + seed))
            file.write((weight * count).ljust(_aligned(4 * count), b"\0"))
    return path


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


def _keys(architecture: str, chat_template: str | None, context_length: int) -> list[tuple[str, int, object]]:
    kinds = [2, 3, 3] + [6] * 256  # unknown, control, control, bytes
    keys: list[tuple[str, int, object]] = [
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


def _write_string(file: BinaryIO, text: str) -> None:
    content = text.encode()
    file.write(struct.pack("<Q", len(content)) + content)


def _write_value(file: BinaryIO, kind: int, value: object) -> None:
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

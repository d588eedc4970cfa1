"""GGUF headers: honest, damaged and hostile."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.models.gguf import GgufHeader, read_header


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def gguf(*pairs: bytes, version: int = 3, count: int | None = None) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, 1, len(pairs) if count is None else count) + b"".join(pairs)


TINY = gguf(
    pair("general.architecture", 8, text("llama")),
    pair("general.name", 8, text("Tiny")),
    pair("llama.context_length", 4, struct.pack("<I", 8192)),
    pair("general.file_type", 4, struct.pack("<I", 15)),
    pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
    pair("tokenizer.ggml.scores", 9, struct.pack("<IQff", 6, 2, 0.5, 1.5)),
    pair("tokenizer.chat_template", 8, text("{{ messages }}")),
)


def test_an_honest_header() -> None:
    wanted = GgufHeader(3, "llama", "Tiny", 8192, True, "Q4_K_M")
    assert read_header(io.BytesIO(TINY + b"tensors")) == wanted


def test_what_a_model_does_not_say_is_empty() -> None:
    assert read_header(io.BytesIO(gguf(version=2))) == GgufHeader(2, "", "", 0, False, "")


HUGE = 1 << 62


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"<html>",
        gguf(version=1),
        gguf(version=0x03000000),  # big endian
        gguf(count=HUGE),
        struct.pack("<4sIQQQ", b"GGUF", 3, 1, 1, HUGE),
        gguf(pair("a", 8, struct.pack("<Q", HUGE))),
        gguf(pair("a", 9, struct.pack("<IQ", 8, HUGE))),
        gguf(pair("a", 9, struct.pack("<IQ", 0, HUGE))),
        gguf(pair("a", 9, struct.pack("<IQ", 9, 1) * 9)),
        gguf(pair("a", 99, b"")),
        TINY[:-1],
    ],
)
def test_a_damaged_or_hostile_header_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="not a whole GGUF file"):
        read_header(io.BytesIO(data))


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_a_header_or_refused(noise: bytes, at: int) -> None:
    try:
        read_header(io.BytesIO(TINY[:at] + noise))
    except UsageError:
        return

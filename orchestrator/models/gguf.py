"""The header of a GGUF file: what a model says about itself, read within bounds.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little endian). A hostile header
costs at most ``_LARGEST_HEADER`` bytes of reading and some seconds, and no more memory than the few values kept.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import UsageError

MAGIC = b"GGUF"
_LARGEST_HEADER = 64 << 20  # bytes; vocabularies of 260 thousand tokens with merges take some 15 MB
_MOST_PAIRS = 1 << 16
_MOST_ELEMENTS = 1 << 22  # of arrays that must be walked; the largest vocabularies with merges have a million
_LONGEST_KEY = 1 << 16  # bytes, by the format
_LONGEST_TEXT = 1 << 20  # bytes kept of a string value
_DEEPEST = 4  # arrays in arrays

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

# llama.cpp's enum llama_ftype, the names that its quantize tool prints.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip


@dataclass(frozen=True)
class GgufHeader:
    """``context_length`` is in tokens, 0 when the file does not say. ``file_type`` is a quantization label or empty."""

    version: int
    architecture: str
    name: str
    context_length: int
    has_chat_template: bool
    file_type: str


class _Reader:
    """Reads forward only, and never past the bound."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _LARGEST_HEADER
        self._elements = _MOST_ELEMENTS

    def take(self, count: int) -> bytes:
        if count > self._left:
            raise _damaged(f"its header is larger than {_LARGEST_HEADER} bytes")
        self._left -= count
        data = self._file.read(count)
        if len(data) != count:
            raise _damaged("it ends within its header")
        return data

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.take(min(count, 1 << 20)))

    def number(self, form: str) -> int | float | bool:
        value: int | float | bool = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def length(self) -> int:
        return int(self.number("<Q"))

    def text(self, longest: int) -> str:
        """A string; of one longer than ``longest`` bytes only the beginning is kept."""
        length = self.length()
        if length > self._left:
            raise _damaged("a string in it is longer than a header may be")
        kept = self.take(min(length, longest))
        self.skip(length - len(kept))
        return kept.decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> int | float | bool | str | None:
        """A metadata value; None for an array, which is skipped."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text(_LONGEST_TEXT)
        if kind != _ARRAY or depth == _DEEPEST:
            raise _damaged(f"it holds a value of unknown kind {kind}")
        inner, count = int(self.number("<I")), self.length()
        if inner in _SCALARS:
            self.skip(count * struct.calcsize(_SCALARS[inner]))
            return None
        self._elements -= count
        if self._elements < 0:
            raise _damaged(f"its arrays hold more than {_MOST_ELEMENTS} values")
        for _ in range(count):
            if inner == _STRING:
                self.skip(self.length())
            else:
                self.value(inner, depth + 1)
        return None


def _damaged(why: str) -> UsageError:
    return UsageError("This is not a whole GGUF file", why=why, remedy="Download or convert the model again.")


def read_header(file: BinaryIO) -> GgufHeader:
    """Read the metadata at the beginning of a GGUF file. Raises UsageError for anything else."""
    reader = _Reader(file)
    if file.read(4) != MAGIC:
        raise _damaged("it does not begin with GGUF")
    version = int(reader.number("<I"))
    if version not in (2, 3):
        raise _damaged(f"its version is {version}; 2 and 3 are known")
    reader.length()  # of tensors
    pairs = reader.length()
    if pairs > _MOST_PAIRS:
        raise _damaged(f"it claims {pairs} metadata values")
    values: dict[str, int | float | bool | str | None] = {}
    for _ in range(pairs):
        key = reader.text(_LONGEST_KEY)
        value = reader.value(int(reader.number("<I")))
        if key == "tokenizer.chat_template":
            values[key] = bool(value)
        elif key.startswith("general.") or key.endswith(".context_length"):
            values[key] = value[:1000] if isinstance(value, str) else value
    return _header(version, values)


def _header(version: int, values: dict[str, int | float | bool | str | None]) -> GgufHeader:
    architecture = _text(values.get("general.architecture"))
    context = values.get(f"{architecture}.context_length")
    file_type = values.get("general.file_type")
    return GgufHeader(
        version=version,
        architecture=architecture,
        name=_text(values.get("general.name")),
        context_length=context if isinstance(context, int) and not isinstance(context, bool) and context > 0 else 0,
        has_chat_template=values.get("tokenizer.chat_template") is True,
        file_type=_FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else "",
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def read_file(path: Path) -> GgufHeader:
    """The header of the file at ``path``. Raises UsageError when it is no GGUF, OSError when it cannot be read."""
    with path.open("rb") as file:
        return read_header(file)

"""The header of a safetensors file: names, types and sizes of its tensors.

Format: https://github.com/huggingface/safetensors#format. Eight bytes say how long the JSON after them is.
"""

import json
import struct
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.models.gguf import Source
from orchestrator.models.tensor import Tensor

_LARGEST_HEADER = 2 << 20  # bytes, for some twenty thousand tensors; in memory it takes twenty times as much
_MOST_DIMENSIONS = 16


def read_header(source: Source, size: int, name: str = "This") -> tuple[Tensor, ...]:
    """The tensors of a safetensors file of ``size`` bytes. Raises UsageError, with its ``name``, if it is not whole."""
    try:
        return _header(source, size)
    except _DamagedError as error:
        raise UsageError(
            f"{name} is not a whole safetensors file", why=str(error), remedy="Download the model again."
        ) from None


def read_file(path: Path) -> tuple[Tensor, ...]:
    """The tensors of the file at ``path``. Raises UsageError when it is no whole safetensors, OSError if unreadable."""
    with path.open("rb") as file:
        return read_header(file, path.stat().st_size, str(path))


class _DamagedError(Exception):
    """What is wrong with the header."""


def _header(source: Source, size: int) -> tuple[Tensor, ...]:
    (length,) = struct.unpack("<Q", _exactly(source, 8))
    if not 2 <= length <= _LARGEST_HEADER:
        raise _DamagedError(f"it claims a header of {length} bytes")
    try:
        found = json.loads(_exactly(source, length))
    except (ValueError, RecursionError):
        raise _DamagedError("its header is not JSON") from None
    if not isinstance(found, dict):
        raise _DamagedError("its header is no JSON object")
    tensors = tuple(_tensor(name, value) for name, value in found.items() if name != "__metadata__")
    end = 8 + length + sum(tensor.size for tensor in tensors)
    if end > size:
        raise _DamagedError(f"it has {size} of {end} bytes")
    return tensors


def _exactly(source: Source, count: int) -> bytes:
    parts, there = [], 0
    while there < count:
        part = source.read(count - there)
        if not part:
            raise _DamagedError("it ends within its header")
        parts.append(part)
        there += len(part)
    return b"".join(parts)


def _tensor(name: str, value: object) -> Tensor:
    if not isinstance(value, dict):
        raise _DamagedError(f"its entry {name[:100]!r} is no object")
    kind, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(kind, str) or not _sizes(shape) or not _sizes(offsets):
        raise _DamagedError(f"its entry {name[:100]!r} has no type, shape or place")
    assert isinstance(shape, list) and isinstance(offsets, list)
    if len(shape) > _MOST_DIMENSIONS or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _DamagedError(f"its entry {name[:100]!r} has a shape or a place that cannot be")
    return Tensor(name, kind, tuple(shape), offsets[1] - offsets[0])


def _sizes(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 1 << 63 for item in value
    )

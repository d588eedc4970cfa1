"""Headers of safetensors: honest, damaged and hostile."""

import io
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.models.safetensors import read_file, read_header
from orchestrator.models.tensor import Tensor

ENTRIES: dict[str, object] = {
    "__metadata__": {"format": "pt"},
    "model.embed_tokens.weight": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
    "model.norm.weight": {"dtype": "F32", "shape": [8], "data_offsets": [64, 96]},
}


def safetensors(entries: object = ENTRIES, content: int = 96) -> bytes:
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + bytes(content)


def test_an_honest_header(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors())
    assert read_file(path) == (
        Tensor("model.embed_tokens.weight", "BF16", (4, 8), 64),
        Tensor("model.norm.weight", "F32", (8,), 32),
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends within"),
        (safetensors()[:-1], "it has"),
        (b"<!doctype html><html>", "claims a header"),
        (struct.pack("<Q", (1 << 64) - 1), "claims a header"),
        (struct.pack("<Q", 0) + b"{}", "claims a header"),
        (struct.pack("<Q", 4) + b"nope", "not JSON"),
        (struct.pack("<Q", 4) + b"\xff\xfe\x00\x01", "not JSON"),
        (struct.pack("<Q", 1 << 20) + b"[" * (1 << 20), "not JSON"),
        (safetensors([]), "no JSON object"),
        (safetensors({"a": 1}), "no object"),
        (safetensors({"a": {}}), "no type, shape or place"),
        (safetensors({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}), "no type, shape or place"),
        (safetensors({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}), "no type, shape or place"),
        (safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [1 << 64, 0]}}), "no type, shape or place"),
        (safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}), "cannot be"),
        (safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}), "cannot be"),
        (safetensors({"a": {"dtype": "F32", "shape": [1] * 99, "data_offsets": [0, 4]}}), "cannot be"),
        (safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1 << 62]}}), "it has"),
    ],
)
def test_a_damaged_or_hostile_header_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=r"bad\.safetensors is not a whole safetensors") as caught:
        read_header(io.BytesIO(data), len(data), "bad.safetensors")
    assert why in caught.value.why


@given(st.binary(max_size=100), st.integers(0, 200))
def test_any_bytes_are_a_header_or_refused(noise: bytes, at: int) -> None:
    data = safetensors()[:at] + noise
    try:
        read_header(io.BytesIO(data), len(data))
    except UsageError:
        return

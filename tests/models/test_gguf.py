"""GGUF headers: honest, damaged and hostile; and models that lie on this machine."""

import hashlib
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.models.gguf import GgufHeader, read_header
from orchestrator.models.local import resolve_local
from tests.models.conftest import Recorder


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


def test_a_local_gguf(tmp_path: Path) -> None:
    path = tmp_path / "any name.bin"
    path.write_bytes(TINY)
    progress = Recorder()
    model = resolve_local(path, progress)
    assert (model.format, model.main_file, model.quant, model.repo) == ("gguf", "any name.bin", "Q4_K_M", "")
    (file,) = model.files
    assert (file.local, file.url, file.size) == (str(path), "", len(TINY))
    assert file.sha256 == hashlib.sha256(TINY).hexdigest()
    assert progress.updates[-1] == len(TINY)
    assert progress.unit == "bytes"


def test_a_local_split_gguf(tmp_path: Path) -> None:
    names = [f"big-Q8_0-{number:05}-of-00002.gguf" for number in (1, 2)]
    for name in names:
        (tmp_path / name).write_bytes(TINY)
    for place in (tmp_path, tmp_path / names[1]):
        model = resolve_local(place)
        assert [file.path for file in model.files] == names
        assert (model.main_file, model.quant) == (names[0], "Q8_0")
    (tmp_path / names[0]).unlink()
    with pytest.raises(UsageError, match="is not whole"):
        resolve_local(tmp_path / names[1])


def test_a_local_folder_of_safetensors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither safetensors nor GGUF"):
        resolve_local(tmp_path)
    stored = tmp_path / "blobs"
    stored.mkdir()
    (stored / "0").write_bytes(b"weights")
    (tmp_path / "model.safetensors").symlink_to(stored / "0")  # as in the Hub's cache
    with pytest.raises(UsageError, match=r"no config\.json"):
        resolve_local(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "notes.md").write_text("no")
    model = resolve_local(tmp_path)
    assert [(file.path, file.local) for file in model.files] == [
        ("config.json", str(tmp_path / "config.json")),
        ("model.safetensors", str(stored / "0")),
    ]
    assert (model.format, model.main_file) == ("safetensors", "model.safetensors")


def test_several_local_ggufs_must_be_told_apart(tmp_path: Path) -> None:
    for name in ("a-Q4_0.gguf", "b-Q4_0.gguf"):
        (tmp_path / name).write_bytes(TINY)
    with pytest.raises(UsageError, match="holds 2 GGUF models") as caught:
        resolve_local(tmp_path)
    assert str(tmp_path / "a-Q4_0.gguf") in caught.value.remedy


def test_no_local_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file or folder"):
        resolve_local(tmp_path / "none")
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(UsageError, match="not a whole GGUF"):
        resolve_local(tmp_path / "page.gguf")

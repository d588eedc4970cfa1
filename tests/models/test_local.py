"""Models that lie on this machine."""

import hashlib
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.models.local import resolve_local, resolve_local_base
from tests.models.conftest import Recorder
from tests.models.test_gguf import TINY


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


def test_a_local_base_is_tokenizer_and_configuration_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.json"):
        resolve_local_base(tmp_path)
    for name in ("config.json", "tokenizer.json", "model.safetensors", "README.md"):
        (tmp_path / name).write_text("{}")
    assert [file.path for file in resolve_local_base(tmp_path).files] == ["config.json", "tokenizer.json"]
    with pytest.raises(UsageError, match="no folder"):
        resolve_local_base(tmp_path / "config.json")

"""The script that makes a GGUF servable on a CPU: what it says before any work, and that no half folder is left."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "orchestrator" / "runtimes" / "assets" / "dequantize.py"
SHA256 = "b1" * 32


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run it as hosts do: from standard input."""
    words = [sys.executable, "-", *map(str, arguments)]
    return subprocess.run(words, input=SCRIPT.read_text(), capture_output=True, text=True, check=False)


def finished(folder: Path, sha256: str) -> Path:
    folder.mkdir()
    (folder / "deployctl.json").write_text(json.dumps({"source_sha256": sha256}))
    return folder


def test_a_folder_made_from_the_same_file_is_left_as_it_is(tmp_path: Path) -> None:
    folder = finished(tmp_path / "model", SHA256)
    done = run(tmp_path / "gone.gguf", folder, SHA256.upper())
    assert done.returncode == 0
    assert done.stdout == "progress: already dequantized\n"
    assert [path.name for path in folder.iterdir()] == ["deployctl.json"]


@pytest.mark.parametrize("marker", ["", "[]", "{}", json.dumps({"source_sha256": "c2" * 32})])
def test_a_folder_made_from_anything_else_does_not_count(tmp_path: Path, marker: str) -> None:
    folder = finished(tmp_path / "model", SHA256)
    (folder / "deployctl.json").write_text(marker)
    done = run(tmp_path / "gone.gguf", folder, SHA256)
    assert done.returncode == 1
    assert "no such file" in done.stderr


@pytest.mark.parametrize("sha256", ["", "xyz", "b1" * 31, "b1" * 33])
def test_what_is_no_sha256_is_a_usage_error(tmp_path: Path, sha256: str) -> None:
    done = run(tmp_path / "a.gguf", tmp_path / "out", sha256)
    assert done.returncode == 2
    assert "64 hexadecimal" in done.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="this Python has torch")
def test_missing_packages_are_named_and_nothing_is_left(tmp_path: Path) -> None:
    source = tmp_path / "a.gguf"
    source.write_bytes(b"GGUF")
    done = run(source, tmp_path / "out", SHA256)
    assert done.returncode == 3
    assert done.stderr.startswith("error: missing Python packages: torch")
    assert list(tmp_path.iterdir()) == [source]

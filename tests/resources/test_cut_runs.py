"""What a cut run has begun on a host may still go on there: the next run waits for it, or takes its place."""

from __future__ import annotations

import importlib.util
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator.resources.venv import Venv
from tests.resources.conftest import Bench

ASSETS = Path(__file__).parents[2] / "orchestrator" / "runtimes" / "assets"


@contextmanager
def at_work(folder: Path, then: str) -> Iterator[subprocess.Popen[bytes]]:
    """A script of a dead run, which works in the folder, and does `then` when its input ends."""
    script = f"exec 9< '{folder}'; flock 9; cd '{folder}'; echo at work; cat >/dev/null; {then}"
    with subprocess.Popen(["sh", "-ec", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout and orphan.stdout.readline() == b"at work\n"
        yield orphan


def until_somebody_waits() -> None:
    """Until a `flock 9` of the next run is there."""
    while subprocess.run(["pgrep", "-x", "flock"], check=False, capture_output=True).returncode:
        pass


@pytest.mark.timeout(60)
def test_an_environment_is_taken_from_a_run_that_was_cut(bench: Bench, tmp_path: Path) -> None:
    venv = Venv(path=f"{tmp_path}/env", python="/nonexistent/python", steps=(("install", "x"),))
    made = f"mkdir -p env/bin; ln -s /bin/sh env/bin/python; printf {venv.recipe} >env/.deployctl-recipe"
    with at_work(tmp_path, made) as orphan:
        applied = threading.Thread(target=bench.apply, args=(venv,))
        applied.start()
        until_somebody_waits()
        assert orphan.stdin
        orphan.stdin.close()
        applied.join()
    assert bench.differences(venv) == ()


def dequantizer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dequantize", ASSETS / "dequantize.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_conversion_that_another_has_begun_anew_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The elder has lost its folder; what is seen is whole, and of the younger."""
    program, target = dequantizer(), tmp_path / "model-bf16"
    monkeypatch.setattr(program.importlib.metadata, "version", lambda name: "0")
    source = tmp_path / "model.gguf"
    source.write_bytes(b"GGUF")

    def younger(_: Path, folder: Path) -> None:
        (folder / "weights").write_text("younger")

    def elder(_: Path, folder: Path) -> None:
        (folder / "weights").write_text("elder, half")
        monkeypatch.setattr(program, "convert", younger)
        program.dequantize(source, target, "ab" * 32)
        assert not folder.exists()

    monkeypatch.setattr(program, "convert", elder)
    with pytest.raises(FileNotFoundError):
        program.dequantize(source, target, "ab" * 32)
    assert (target / "weights").read_text() == "younger"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-bf16", "model.gguf"]

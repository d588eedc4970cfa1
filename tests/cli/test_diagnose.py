"""`diagnose --log`: a log of anybody's, explained without a host."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from tests.cli.run import deployctl
from tests.docs.schemas import closed

SHM = Path(__file__).parents[1] / "health" / "logs" / "vllm_shm.txt"
WELL = Path(__file__).parents[1] / "health" / "logs" / "vllm_cpu_start.txt"
CPU = 'msg="Listening on [::]:11434 (version 0.33.0)"\nmsg="inference compute" id=cpu library=cpu compute=""\n'
LAST = "RuntimeError: Engine core initialization failed. See root cause above."
ODD = f"one\ntwo\nstrange.OddError: no api_key=sk-abcdefghijkl\n{LAST}\n"


def test_a_known_cause_with_its_remedy_and_its_line(tmp_path: Path) -> None:
    ran = deployctl("diagnose", "--log", str(SHM), cwd=tmp_path, guarded=True)
    assert ran.status == 5
    assert "cause   /dev/shm is too small: 160 MiB required, 64 MiB free" in ran.out
    assert "remedy  in a container: --shm-size 1g" in ran.out and "said    RuntimeError: Insufficient space" in ran.out


@pytest.mark.parametrize(
    ("text", "status", "verdict", "entry"),
    [
        (SHM.read_text(), 5, "failing", "shared-memory-too-small"),
        (ODD, 1, "failing", "unknown"),
        (WELL.read_text(), 0, "no failure", None),
        ("", 0, "no failure", None),
    ],
)
def test_the_document_and_the_exit_code(
    text: str, status: int, verdict: str, entry: str | None, tmp_path: Path
) -> None:
    (tmp_path / "x.log").write_text(text)
    ran = deployctl("diagnose", "--log", "x.log", "--json", cwd=tmp_path, guarded=True)
    jsonschema.validate(ran.document, closed("deployctl.diagnose/1"))
    (finding,) = ran.document["findings"]
    assert (ran.status, ran.document["exit_code"], finding["verdict"]) == (status, status, verdict)
    assert (finding["diagnosis"] or {}).get("id") == entry


def test_what_is_not_known_shows_its_first_error_with_what_is_around_it(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(ODD)
    ran = deployctl("diagnose", "--log", "x.log", cwd=tmp_path)
    assert "error   strange.OddError: no api_key=***" in ran.out and "  | two" in ran.out
    assert "around line 3" in ran.out and "abcdefghijkl" not in ran.out


def test_what_makes_it_slower_is_told_of_a_log_without_failure(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(CPU)
    ran = deployctl("diagnose", "--log", "x.log", cwd=tmp_path)
    assert ran.status == 0 and "but: Ollama found no GPU" in ran.out and "nvidia_uvm" in ran.out


def test_the_version_decides(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("OSError: It looks like the config file at '/m/x.gguf' is not a valid JSON file.\n")
    old = deployctl("diagnose", "vllm", "--log", "x.log", "--engine-version", "0.23.0", cwd=tmp_path)
    new = deployctl("diagnose", "vllm", "--log", "x.log", "--engine-version", "0.32.0", cwd=tmp_path)
    assert "--base" in old.out and "vllm-gguf-plugin" in new.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--log", "nowhere.log"), "No such file"),
        (("--log", "."), "directory"),
        (("gpu", "--log", str(SHM)), "gpu is no runtime"),
    ],
)
def test_what_cannot_be_read_is_told(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    ran = deployctl("diagnose", *words, cwd=tmp_path)
    assert ran.status == 2 and said in ran.err and "→" in ran.err


def test_of_a_huge_log_the_end_is_read(tmp_path: Path) -> None:
    with (tmp_path / "x.log").open("wb") as file:
        file.truncate(1 << 34)  # sparse: 16 GiB of zeros
        file.seek(0, 2)
        file.write(b"\nModuleNotFound\n" + SHM.read_bytes())
    ran = deployctl("diagnose", "--log", "x.log", cwd=tmp_path)
    assert ran.status == 5 and "/dev/shm is too small" in ran.out


def test_where_nothing_is_deployed_nothing_is_wrong(tmp_path: Path) -> None:
    ran = deployctl("diagnose", "--user", cwd=tmp_path, HOME=str(tmp_path))
    assert (ran.status, ran.out) == (0, "local: nothing is deployed\n")
    named = deployctl("diagnose", "vllm", "--user", cwd=tmp_path, HOME=str(tmp_path))
    assert named.status == 4 and "vllm is not deployed on local" in named.err

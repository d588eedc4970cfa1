"""Output that the pages show, where no machine is needed to make it, is output that comes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks

OUTPUT = blocks("text")


@pytest.fixture
def deployctl(tmp_path: Path):
    """Runs a command line as somebody without any configuration, in an empty folder."""
    program = [sys.executable, "-c", "from orchestrator.cli import main; main()"]
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        words = [*program, *line.split()]
        return subprocess.run(words, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)

    return run


def shown(part: str) -> Block:
    found = [block for block in OUTPUT if part in block.text]
    assert found, f"no page shows {part!r}"
    return found[0]


def test_version(deployctl) -> None:
    assert shown("deployctl 0.").text == deployctl("version").stdout


def test_hosts_list_of_the_guide_s_inventory(deployctl, tmp_path: Path) -> None:
    (tmp_path / "inventories").mkdir()
    inventory = next(block for block in blocks("yaml") if block.text.startswith("hosts:"))
    (tmp_path / "inventories" / "mine.yaml").write_text(inventory.text)
    assert shown("key unknown").text == deployctl("hosts list").stdout


def test_render(deployctl) -> None:
    ran = deployctl("render vllm --gpu-mem 1.0 --max-model-len 24576 --out rendered")
    assert shown("rendered/commands.sh").text == ran.stdout
    notes = [line.removeprefix("note: ") for line in ran.stderr.splitlines()]
    assert shown("all that is free").text.splitlines() == notes


@pytest.mark.parametrize("expose", ["", " --expose direct"])
@pytest.mark.parametrize("runtime", ["vllm", "ollama"])
def test_the_warning_of_an_open_port(deployctl, runtime: str, expose: str) -> None:
    said = deployctl(f"render {runtime} --bind 0.0.0.0{expose}").stderr
    warning = next(line for line in said.splitlines() if line.startswith("warning:"))
    assert shown(warning)


def test_the_errors_of_a_wrong_file(deployctl, tmp_path: Path) -> None:
    lines = ["version: 1", "model:", "  source: ./model.gguf", "vllm:", "  gpu_mem: 1.5", "  max_modell_len: 24K"]
    (tmp_path / "bad.yaml").write_text("\n".join(lines))
    said = deployctl("render vllm --config bad.yaml").stderr
    assert shown("bad.yaml:5").text == said[: said.index("  → ")]

"""Does it fit, as who types ``plan`` and ``up`` is told: on this machine, with a card that only nvidia-smi knows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.run import Ran, deployctl
from tests.doubles.gguf import qwen_14b
from tests.doubles.hub import FakeHub, Fault, Sparse

REPO = "lmstudio-community/Qwen2.5-14B-Instruct-GGUF"
GGUF = "Qwen2.5-14B-Instruct-Q4_K_M.gguf"
CARD = Path(__file__).parents[1] / "facts/described/geforce-desktop"
"""An RTX 4060 Ti of 16380 MiB, of which a desktop leaves 15100 free."""


class Desk:
    """This machine, with an nvidia-smi of its own in front of the PATH."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.folder, self.hub, self.free = folder, hub, 15831

    def deployctl(self, *words: str) -> Ran:
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        described = (CARD / "q.xml").read_text().replace("15100 MiB", f"{self.free} MiB")
        (self.folder / "q.xml").write_text(described)
        smi = programs / "nvidia-smi"
        smi.write_text(
            f'#!/bin/sh\n[ "$*" = "-q -x" ] && exec cat {self.folder}/q.xml\nexec cat {CARD}/compute_cap.csv\n'
        )
        smi.chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        command = (*words, "--user", "--runner", "venv")
        return deployctl(*command, cwd=self.folder, HOME=str(self.folder), HF_ENDPOINT=self.hub.url, PATH=path)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """In a folder with a short name: a socket is to be in it."""
    with FakeHub(cdn=True) as hub, tempfile.TemporaryDirectory() as folder:
        hub.add_repo(REPO, {GGUF: Sparse(*qwen_14b(size=8_984_954_848))})
        hub.add_repo("Qwen/Qwen2.5-14B-Instruct", {"config.json": b"{}", "tokenizer.json": b"{}"})
        yield Desk(Path(folder), hub)


def test_the_article_s_command_fits_and_little_is_read(desk: Desk) -> None:
    ran = desk.deployctl("plan", "vllm", "--gpu-mem", "1.0", "--max-model-len", "24576", "--json")
    assert ran.status == 0, ran.err
    (made,) = ran.document["hosts"][0]["plans"]
    fit = made["deployment"]["fit"]
    assert fit["estimate"]["verdict"] == "fits"
    assert fit["chosen"]["max_num_batched_tokens"] == 2048
    assert "--max-num-batched-tokens 2048 instead of 8192" in ran.err
    assert sum(record.sent for record in desk.hub.downloads(GGUF)) < 10_000_000


@pytest.mark.parametrize("command", [("plan",), ("up", "--yes")], ids=" ".join)
def test_what_does_not_fit_is_refused_before_any_change(desk: Desk, command: tuple[str, ...]) -> None:
    desk.free = 14000
    ran = desk.deployctl(*command, "vllm", "--max-model-len", "24576")
    assert ran.status == 4
    assert "error: vllm does not fit on local\n" in ran.err
    assert "of 13.67 GiB free on NVIDIA GeForce RTX 4060 Ti" in ran.err
    assert "  → --kv-cache-dtype fp8 (" in ran.err
    assert "  → deploy it all the same with --force\n" in ran.err
    assert not (desk.folder / ".local/share/deployctl").exists()


def test_force_plans_it_all_the_same(desk: Desk) -> None:
    desk.free = 14000
    ran = desk.deployctl("plan", "vllm", "--max-model-len", "24576", "--force", "--json")
    assert ran.status == 0, ran.err
    assert "warning: vllm does not fit, and is deployed all the same: needs" in ran.err


def test_the_largest_context_on_request(desk: Desk) -> None:
    ran = desk.deployctl("plan", "vllm", "--max-model-len", "auto", "--num-parallel", "2", "--json")
    length = ran.document["hosts"][0]["plans"][0]["deployment"]["fit"]["chosen"]["max_model_len"]
    assert 8192 <= length < 16384
    assert f"--max-model-len auto is {length} here: the largest context that fits, for 2 requests" in ran.err


def test_a_mirror_without_parts_of_files_is_no_reason_to_refuse(desk: Desk) -> None:
    desk.free = 9000
    desk.hub.add_fault(Fault(method="GET", path=GGUF, ignore_range=True, times=99))
    ran = desk.deployctl("plan", "vllm", "--json")
    assert ran.status == 0, ran.err
    assert "whether it fits is not known" in ran.err

"""The real vLLM: killed while it dequantizes, where a folder that looks whole and is not would be served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.support import Controller
from tests.lab.images import VLLM_VERSION
from tests.lab.lab import VLLM_IN_MACHINES
from tests.lab.machines import Machine

pytestmark = [pytest.mark.hosts, pytest.mark.vllm, pytest.mark.timeout(1200)]
MODELS = "/var/lib/deployctl/models"


@pytest.fixture
def up(machine: Machine, tmp_path: Path, smollm2_gguf: Path) -> Iterator[tuple[Controller, list[str]]]:
    """A controller that knows the machine, and the words of `up vllm`. What they make is purged."""
    deployctl = Controller(tmp_path)
    deployctl.knows([machine], user="op")
    engine = ["--runner", "container", "--device", "cpu", "--image", VLLM_IN_MACHINES, "--engine-version", VLLM_VERSION]
    small = ["--max-model-len", "2048", "--cpu-kv-cache", "1", "--served-name", "smol", "--name", "killed"]
    host = ["--host", machine.name, "--yes", "--json", "--port", "5007"]
    yield deployctl, ["up", "vllm", *host, *engine, *small, "--model", str(smollm2_gguf)]
    deployctl("down", "killed", "--host", machine.name, "--yes", "--purge").ended(0)


def test_killed_while_it_dequantizes(machine: Machine, up: tuple[Controller, list[str]]):
    deployctl, words = up
    with deployctl.start(*words) as run:
        part = f"ls -d {MODELS}/local/*/*-bf16.part-*"
        machine.exec(f"timeout 200 sh -c 'until {part} >/dev/null 2>&1; do sleep 0.2; done'", timeout_s=220)
        run.kill()
    (shown,) = deployctl("status", "--host", machine.name, "--json").ended(0).json()["deployments"]
    assert shown["state"] == "unfinished"
    again = deployctl(*words, timeout_s=580).ended(0)
    assert "Paris" in json.loads(again.stdout)["deployments"][0]["health"]["answer_text"], again
    machine.exec("timeout 60 sh -c 'until [ $(docker ps --all --quiet | wc -l) = 1 ]; do sleep 0.2; done'")
    folders = machine.exec(f"ls {MODELS}/local/*").split()
    assert not [name for name in folders if ".part" in name], folders

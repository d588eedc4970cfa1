"""The real vLLM: killed while it dequantizes, and returned from when it does not start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.support import Controller, ask
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


def test_a_context_that_it_refuses_is_returned_from(machine: Machine, up: tuple[Controller, list[str]]):
    """It dies at its start, at the end of its log and with exit status 0; what served before serves again."""
    deployctl, words = up
    deployctl(*words, timeout_s=580).ended(0)
    run = deployctl(*words, "--max-model-len", "999999", "--force", timeout_s=580).ended(5)
    (deployment,) = run.json()["deployments"]
    assert (deployment["health"]["healthy"], deployment["returned"]["health"]["healthy"]) == (False, True)
    assert "--max-model-len 8192" in deployment["health"]["diagnosis"]["remedy"]
    assert "returning to generation 1" in run.stderr
    body = {"model": "smol", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    answer = ask(machine, "http://127.0.0.1:5007/v1/chat/completions", body, name="killed")
    assert "Paris" in answer, answer
    (shown,) = deployctl("status", "--host", machine.name, "--json").ended(0).json()["deployments"]
    assert (shown["state"], shown["drift"], shown["generation"]) == ("serving", [], 3)
    listed = deployctl("history", "killed", "--host", machine.name, "--json").ended(0).json()["generations"]
    assert [item["healthy"] for item in listed] == [True, False, True]
    assert "999999" in listed[1]["evidence"] and "8192" in listed[1]["evidence"]

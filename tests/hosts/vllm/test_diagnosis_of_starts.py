"""Starts of the real vLLM that fail, each for its own reason: its log, given to `diagnose --log`, tells which.

A start takes half a minute on two cores, so these run with DEPLOYCTL_TEST_DIAGNOSIS=all (`make test-diagnosis`) only.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from tests.hosts.support import DEPLOYCTL
from tests.hosts.vllm.conftest import CONTAINER, MODELS, Box
from tests.lab.lab import VLLM_IN_MACHINES

pytestmark = [
    pytest.mark.hosts,
    pytest.mark.vllm,
    pytest.mark.skipif(
        os.environ.get("DEPLOYCTL_TEST_DIAGNOSIS") != "all",
        reason="each is a start of vLLM: minutes (DEPLOYCTL_TEST_DIAGNOSIS=all)",
    ),
]
SMALL = "--enforce-eager --max-model-len 512"
SHM = "--shm-size 1g -e HF_HUB_OFFLINE=1"
KV = "-e VLLM_CPU_KVCACHE_SPACE=1"


def explained(text: str) -> dict[str, Any]:
    """What `deployctl diagnose --log -` says of it."""
    words = [DEPLOYCTL, "diagnose", "--log", "-", "--json"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["diagnosis"] is not None, text
    assert done.returncode == (1 if finding["diagnosis"]["id"] == "unknown" else 5), done.stderr
    diagnosis: dict[str, Any] = finding["diagnosis"]
    return diagnosis


@pytest.fixture(scope="module")
def weights(box: Box) -> str:
    """The folder of the small model on the machine, as bf16 weights."""
    if not box.machine.exec(f"find {MODELS} -name '*.safetensors' 2>/dev/null || true"):
        box.up().ended(0)
        box.down("vllm").ended(0)
    return box.machine.exec(f"dirname $(find {MODELS} -name '*.safetensors')").strip()


def start(box: Box, weights: str, options: str, arguments: str) -> str:
    """The output of a container that must fail; Docker's words too."""
    mounts = f"-v {weights}:/model:ro -v $(dirname {weights}):/beside:ro"
    run = f"docker run --rm {mounts} {options} {VLLM_IN_MACHINES} {arguments}"
    return box.machine.exec(f"{run} 2>&1 && echo IT STARTED || true")


CASES = {
    "unknown-argument": (SHM, "/model --foo-bar 3", "--foo-bar 3"),
    "removed-argument": (SHM, "/model --swap-space 4", "--swap-space"),
    "bad-argument": (SHM, "/model --max-num-seqs many", "--max-num-seqs"),
    "model-path-not-in-container": (SHM, f"/nowhere {SMALL}", "/nowhere"),
    "no-model-config": (SHM, f"/beside {SMALL}", "/beside"),
    "gguf-file-without-plugin": (SHM, f"/beside/SmolLM2-135M-Instruct.Q4_1.gguf --tokenizer /model {SMALL}", "plugin"),
    "offline-not-cached": (SHM, f"org/model {SMALL}", "may not use the network"),
    "heads-not-divisible": (SHM, f"/model {SMALL} -tp 2", "9 attention heads"),
    "bad-memory-share": (SHM, f"/model {SMALL} --gpu-memory-utilization 1.5", "less than or equal to 1"),
    "unknown-quantization": (SHM, f"/model {SMALL} -q foo", "foo"),
    "chat-template-file-missing": (SHM, f"/model {SMALL} --chat-template /nowhere.jinja", "/nowhere.jinja"),
    "tool-parser-missing": (SHM, f"/model {SMALL} --enable-auto-tool-choice", "Tool calls"),
    "ray-missing": (SHM, f"/model {SMALL} --distributed-executor-backend ray", "Ray"),
    "cpu-memory-not-free": (SHM, "/model --enforce-eager --gpu-memory-utilization 1.0", "GiB of RAM are asked for"),
    "shared-memory-too-small": (f"-e HF_HUB_OFFLINE=1 {KV}", f"/model {SMALL}", "64 MiB"),
    "context-exceeds-kv-cache": (
        SHM,
        "/model --enforce-eager --max-model-len 8192 --kv-cache-memory-bytes 20M",
        "A context of 8192 tokens",
    ),
    "container-memory-too-small": ("--memory 4m", "/model", "6MB"),
    "mount-source-missing": ("--mount type=bind,src=/nowhere,dst=/x", "/model", "/nowhere"),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.provokes(name)) for name in CASES])
def test_a_start_that_fails(box: Box, weights: str, name: str):
    options, arguments, said = CASES[name]
    text = start(box, weights, options, arguments)
    assert "IT STARTED" not in text
    found = explained(text)
    assert found["id"] == name and said in found["cause"], (found, text)
    if name == "context-exceeds-kv-cache":
        assert "--max-model-len 768 " in found["remedy"], "the number that the log names"


@pytest.mark.provokes("hub-unreachable")
def test_a_hub_that_cannot_be_reached(box: Box, weights: str):
    found = explained(start(box, weights, "--shm-size 1g --network none", f"org/model {SMALL}"))
    assert found["id"] == "hub-unreachable" and "https://huggingface.co is not reached" in found["cause"]


@pytest.mark.provokes("out-of-memory-limit")
def test_a_memory_limit_that_is_too_low(box: Box):
    """Docker kills it while it loads, again and again; only Docker and the kernel know why."""
    run = box.up("--memory", "500m", "--force").ended(5)  # else it is refused before
    (deployment,) = run.json()["deployments"]
    told = box.deployctl("diagnose", "--host", "gpu01", "--json").ended(5).json()["findings"][0]
    box.down("vllm").ended(0)
    assert deployment["health"]["diagnosis"]["id"] == "out-of-memory-limit", run
    assert told["diagnosis"]["id"] == "out-of-memory-limit" and "memory limit" in told["diagnosis"]["cause"]


@pytest.fixture(scope="module")
def served(box: Box, weights: str) -> Box:
    """Up and healthy."""
    box.up().ended(0)
    return box


def restarted(box: Box) -> dict[str, Any]:
    """What `up` says of it after a restart of the engine."""
    box.machine.exec(f"docker restart -t 0 {CONTAINER}")
    run = box.up().ended(5)
    return dict(run.json()["deployments"][0]["health"])


@pytest.mark.provokes("chat-template-missing")
def test_a_template_that_is_gone(served: Box, weights: str):
    """The start is green, and so is /health: only a chat tells."""
    served.machine.exec(f"mv {weights}/chat_template.jinja /tmp/")
    try:
        health = restarted(served)
    finally:
        served.machine.exec(f"mv /tmp/chat_template.jinja {weights}/")
    assert health["failed"] == "generates" and health["diagnosis"]["id"] == "chat-template-missing", health


@pytest.mark.provokes("weights-missing")
def test_weights_that_are_gone(served: Box, weights: str):
    served.machine.exec(f"mv {weights}/model.safetensors /tmp/")
    try:
        served.machine.exec(f"docker restart -t 0 {CONTAINER}")
        count = f"docker inspect -f '{{{{.RestartCount}}}}' {CONTAINER}"
        served.machine.exec(f"n=0; until [ $({count}) -gt 0 ] || [ $n = 200 ]; do sleep 1; n=$((n+1)); done")
        told = served.deployctl("diagnose", "--host", "gpu01", "--json").ended(5).json()["findings"][0]
    finally:
        served.machine.exec(f"mv /tmp/model.safetensors {weights}/")
    assert told["diagnosis"]["id"] == "weights-missing", told

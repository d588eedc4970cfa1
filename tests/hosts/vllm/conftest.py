"""One machine with its own Docker Engine that already holds the real vLLM (CPU build), and a real small model.

The machine's user `op` is not in Docker's group: everything goes through sudo. A start of vLLM takes half a minute, so
a module deploys once and its tests look at that in order; the model stays between modules, since dequantizing it takes
as long again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.support import Controller, Run, ask
from tests.lab import snapshot as snapshots
from tests.lab.images import VLLM_VERSION
from tests.lab.lab import VLLM_IN_MACHINES
from tests.lab.machines import Machine

HOST = "gpu01"
CONTAINER = "deployctl-vllm"
MODELS = "/var/lib/deployctl/models"
URL = "http://127.0.0.1:5000"
SMALL = {"max_model_len": 2048, "cpu_kv_cache_gib": 1, "served_name": "smol"}
"""What two cores and little memory serve at ease."""


@dataclass
class Box:
    """The machine, the controller that deploys to it, and the model's file on the controller."""

    machine: Machine
    deployctl: Controller
    gguf: Path
    before: snapshots.State = field(repr=False)

    @property
    def words(self) -> tuple[str, ...]:
        """The options of every `up vllm` here: no registry and no Hub are in reach."""
        image = ("--image", VLLM_IN_MACHINES, "--engine-version", VLLM_VERSION)
        small = ("--max-model-len", "2048", "--cpu-kv-cache", "1", "--served-name", "smol")
        return ("--device", "cpu", "--runner", "container", "--model", str(self.gguf), *image, *small)

    def up(self, *words: str | Path) -> Run:
        """`deployctl up vllm` as one JSON document; later words win over those of every `up`."""
        return self.deployctl("up", "vllm", "--host", HOST, "--yes", "--json", *self.words, *words)

    def ask(self, *words: str | Path) -> Run:
        """`deployctl up vllm` with nobody there to confirm: it shows the plan and changes nothing."""
        return self.deployctl("up", "vllm", "--host", HOST, *self.words, *words)

    def down(self, *words: str) -> Run:
        """`deployctl down`."""
        return self.deployctl("down", "--host", HOST, "--yes", *words)

    def status(self) -> dict[str, dict[str, Any]]:
        """The deployments that `deployctl status` shows, by name."""
        run = self.deployctl("status", "--host", HOST, "--json")
        assert run.exit == 0, run
        return {deployment["name"]: deployment for deployment in run.json()["deployments"]}

    def changed(self) -> list[str]:
        """What differs on the machine from how it was before the first test; empty is as before."""
        return snapshots.diff(self.before, self.machine.state())

    def inspect(self) -> dict[str, Any]:
        """What the machine's engine says of the one container, whichever of the two names it has."""
        (found,) = json.loads(self.machine.exec("docker inspect $(docker ps --all --quiet)"))
        return dict(found)

    def weights(self) -> str:
        """Path, inode and time of the dequantized weights: another conversion would make others."""
        return self.machine.exec(f"find {MODELS} -name '*.safetensors' -printf '%p %i %T@\\n'").strip()

    def chat(self, question: str) -> str:
        """The answer to a question, asked by curl on the machine. Raises CommandFailedError for an HTTP error."""
        messages = [{"role": "user", "content": question}]
        body = {"model": "smol", "max_tokens": 24, "temperature": 0, "messages": messages}
        answer = ask(self.machine, f"{URL}/v1/chat/completions", body, name="vllm")
        text: str = json.loads(answer)["choices"][0]["message"]["content"]
        return text


@pytest.fixture(scope="package")
def found(machine: Machine) -> tuple[Machine, snapshots.State]:
    """The machine, and its state before anything was deployed."""
    return machine, machine.state()


@pytest.fixture(scope="module")
def box(found: tuple[Machine, snapshots.State], deployctl: Controller, smollm2_gguf: Path) -> Iterator[Box]:
    """Everything in place, nothing running. What runs after the module is taken down; the model stays."""
    machine, before = found
    deployctl.knows([machine], user="op")
    box = Box(machine, deployctl, smollm2_gguf, before)
    yield box
    box.down()

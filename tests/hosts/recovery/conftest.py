"""A machine of its own, since these tests kill, cut, freeze and restart; and both runtimes in a shape that is quick.

Ollama is the double. vLLM is the real image's shape around a server of the standard library (see `fake_vllm`), whose
model is a folder of safetensors: no dequantizing.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.doubles.gguf import write_gguf
from tests.doubles.hub import FakeHub
from tests.doubles.ollama.archive import make_archive
from tests.hosts.recovery import fake_vllm, matrix
from tests.hosts.recovery.desk import desk
from tests.hosts.recovery.rig import FILE, HOST, REPO, Rig
from tests.hosts.support import Controller
from tests.lab.images import VLLM_VERSION
from tests.lab.lab import Lab

__all__ = ["desk"]


def pytest_unconfigure() -> None:
    """The last line of `make test-faults`."""
    if matrix.ALL and matrix.DONE:
        sys.stdout.write(matrix.totals())


@pytest.fixture(scope="package")
def rig(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The machine with nothing deployed, a controller that knows it, a Hub, and the options of each runtime."""
    machine = lab.machine(HOST)
    folder = tmp_path_factory.mktemp("recovery")
    deployctl = Controller(folder / "home")
    deployctl.knows([machine])
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    (model / "model.safetensors").write_bytes(bytes(range(256)) * 4096)
    engine = ("--runner", "container", "--device", "cpu", "--image", fake_vllm.TAG, "--engine-version", VLLM_VERSION)
    words = {
        "ollama": (
            "--archive",
            str(make_archive(folder / "ollama.tgz", format="tgz").path),
            "--model",
            f"hf:{REPO}:Q4_K_M",
        ),
        "vllm": (
            *(*engine, "--image-archive", str(fake_vllm.archive()), "--model", str(model)),
            *("--max-model-len", "2048", "--cpu-kv-cache", "1", "--served-name", "tiny"),
        ),
    }
    with FakeHub(machine.gateway) as hub:
        hub.add_repo(REPO, {FILE: write_gguf(folder / FILE)})
        deployctl.env["HF_ENDPOINT"] = hub.url
        rig = Rig(machine, deployctl, hub, words)
        yield rig
        rig.down()
    shutil.rmtree(folder)


@pytest.fixture
def clean(rig: Rig) -> Iterator[Rig]:
    """The machine with nothing deployed, before and after."""
    rig.down()
    yield rig
    rig.down()

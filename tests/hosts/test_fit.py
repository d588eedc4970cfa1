"""`deployctl fit` on real machines over SSH: the memory that they have, and the GPUs that their driver shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.docs.schemas import closed
from tests.doubles.gguf import qwen_14b, write_gguf
from tests.doubles.hub import FakeHub, Sparse
from tests.hosts.support import Controller
from tests.lab.machines import Machine

pytestmark = pytest.mark.hosts

RECORDED = Path(__file__).parents[1] / "facts" / "recorded" / "h100-idle"
REPO = "lmstudio-community/Qwen2.5-14B-Instruct-GGUF"
DRIVER = """#!/bin/sh
case $1 in
  -q) cat /opt/recorded/q.xml ;;
  --query-gpu=*) cat /opt/recorded/compute_cap.csv ;;
esac
"""


@pytest.fixture(scope="module", autouse=True)
def known(deployctl: Controller, bare_machine: Machine) -> None:
    deployctl.knows([bare_machine])


@pytest.fixture
def with_a_gpu(bare_machine: Machine) -> Iterator[None]:
    """An idle H100, as its driver really showed it."""
    bare_machine.exec("mkdir /opt/recorded")
    for path in RECORDED.iterdir():
        bare_machine.put(f"/opt/recorded/{path.name}", path.read_text())
    bare_machine.put("/usr/local/bin/nvidia-smi", DRIVER, mode="755")
    yield
    bare_machine.exec("rm -r /opt/recorded /usr/local/bin/nvidia-smi")


def test_main_memory_where_there_is_no_gpu(deployctl: Controller, tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "tiny.gguf")
    found = deployctl("fit", model, "--host", "bare", "--json").ended(0).json()
    jsonschema.validate(found, closed("deployctl.fit/1"))
    (target,) = found["targets"]
    assert (target["name"], target["cards"]) == ("bare", [])
    assert 0 < target["ram_free_bytes"] < target["ram_total_bytes"]
    assert [one["estimate"]["verdict"] for one in target["outlooks"]] == ["fits", "fits"]


def test_the_gpu_that_the_driver_shows(deployctl: Controller, hub: FakeHub, with_a_gpu: None) -> None:
    hub.add_repo(REPO, {"Qwen2.5-14B-Instruct-Q4_K_M.gguf": Sparse(*qwen_14b())})
    words = ("fit", f"hf:{REPO}:Q4_K_M", "--host", "bare", "--json")
    (target,) = deployctl(*words).ended(0).json()["targets"]
    (card,) = target["cards"]
    assert card["name"] == "NVIDIA H100 80GB HBM3"
    assert card["free_mib"] < card["total_mib"] == 81559
    assert [one["estimate"]["verdict"] for one in target["outlooks"]] == ["fits", "fits"]
    refused = deployctl(*words, "--gpus", "2").ended(4).json()
    assert (refused["targets"], refused["errors"][0]["host"]) == ([], "bare")


def test_one_machine_that_is_not_there_hides_no_other(deployctl: Controller, tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "tiny.gguf")
    found = deployctl("fit", model, "--host", "bare", "--host", "root@127.0.0.1:9", "--json").ended(3).json()
    assert [target["name"] for target in found["targets"]] == ["bare"]
    assert [error["exit_code"] for error in found["errors"]] == [3]

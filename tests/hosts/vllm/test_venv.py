"""`up vllm --runner venv` under systemd: the real engine within the unit's confinement, without Docker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from orchestrator.spec.catalogue import choose_vllm
from tests.hosts.support import WHEELS, Run, exposure, give_wheels
from tests.hosts.vllm.conftest import HOST, Box
from tests.lab import snapshot as snapshots
from tests.lab.lab import VLLM_IN_MACHINES

pytestmark = [pytest.mark.hosts, pytest.mark.vllm]
UNIT = "deployctl-vllm.service"
LIBRARY = "/usr/lib/x86_64-linux-gnu/libnuma.so.1"
slow = pytest.mark.skipif(
    os.environ.get("DEPLOYCTL_TEST_SLOW") != "1", reason="installs 600 MB: three minutes (DEPLOYCTL_TEST_SLOW=1)"
)


def up(box: Box) -> Run:
    small = ("--max-model-len", "2048", "--cpu-kv-cache", "1", "--served-name", "smol")
    words = ("--runner", "venv", "--device", "cpu", "--model", str(box.gguf), *small)
    return box.deployctl("up", "vllm", "--host", HOST, "--yes", "--json", *words, timeout_s=580)


def test_a_missing_library_is_refused_before_anything_is_installed(box: Box):
    before = box.machine.state()
    run = up(box)
    (error,) = run.json()["errors"]
    assert run.exit == 4 and "libnuma.so.1" in error["what"] and "apt-get install libnuma1" in error["remedy"], run
    assert snapshots.diff(before, box.machine.state()) == []


@pytest.fixture(scope="module")
def able(box: Box) -> Iterator[Box]:
    """A machine with the library, and with the wheels on its own disk; afterwards without."""
    steps = choose_vllm(
        model_format="gguf",
        device="cpu",
        driver=None,
        compute_capability=None,
        arch="amd64",
        version=None,
        runner="venv",
    ).pip_steps
    give_wheels(box.machine, "--no-deps", *(word for step in steps for word in step if "==" in word))
    box.machine.exec(f"docker run --rm --entrypoint cat {VLLM_IN_MACHINES} {LIBRARY} >{LIBRARY} && ldconfig")
    yield box
    box.machine.exec(f"rm -rf {LIBRARY} {WHEELS} /etc/pip.conf && ldconfig")


@pytest.fixture(scope="module")
def before(able: Box) -> snapshots.State:
    """The machine before it is deployed to."""
    return able.machine.state()


@pytest.fixture(scope="module")
def first(able: Box, before: snapshots.State) -> Run:
    """The first `up`."""
    return up(able)


@slow
def test_up_serves(able: Box, first: Run):
    assert first.exit == 0, first
    (deployment,) = first.json()["deployments"]
    assert deployment["health"]["healthy"] and "Paris" in deployment["health"]["answer_text"]
    assert "Paris" in able.chat("What is the capital of France?")
    assert able.status()["vllm"]["state"] == "serving"


@slow
def test_the_engine_runs_confined_as_an_account_of_its_own(able: Box, first: Run):
    shown = able.machine.exec(f"systemctl show -p User,NoNewPrivileges,ProtectSystem,PrivateDevices,Restart {UNIT}")
    assert sorted(shown.split()) == [
        "NoNewPrivileges=yes",
        "PrivateDevices=yes",
        "ProtectSystem=strict",
        "Restart=always",
        "User=vllm",
    ]
    assert exposure(able.machine, UNIT) <= 3.0
    owners = able.machine.exec("ps -o user= -p $(systemctl show -p MainPID --value deployctl-vllm)").split()
    assert owners == ["vllm"]
    log = able.deployctl("logs", "vllm", "--host", HOST, "-n", "400").stdout
    assert "Operation not permitted" not in log and "Permission denied" not in log


@slow
def test_an_engine_that_dies_is_started_again(able: Box, first: Run):
    able.machine.exec(
        f"systemctl kill -s KILL {UNIT}\n"
        f"until [ $(systemctl show -p NRestarts --value {UNIT}) = 1 ]; do sleep 0.2; done"
    )
    assert able.status()["vllm"]["service"]["restarts"] == 1
    again = up(able)
    assert again.exit == 0 and again.json()["deployments"][0]["health"]["healthy"], again


@slow
def test_purge_leaves_the_machine_as_it_was(able: Box, before: snapshots.State, first: Run):
    assert able.down("vllm", "--purge").exit == 0
    assert snapshots.diff(before, able.machine.state()) == []

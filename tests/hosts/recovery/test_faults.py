"""`up` killed by SIGKILL just before and just after each of its steps: run again, it ends as if nothing had been.

A sample of the steps in each run of the suite; every step with DEPLOYCTL_TEST_FAULTS=all (`make test-faults`), which
prints a table. The steps are those in the journal of a run that nobody disturbed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.hosts.recovery.matrix import ALL, DONE, Matrix
from tests.hosts.recovery.rig import Rig

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(5400)]
CHANGE = {"ollama": ("--num-parallel", "3"), "vllm": ("--max-model-len", "1024")}


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[Matrix], None]:
    """Kill everywhere, and print the table to the terminal where all of it was asked for."""

    def kill(matrix: Matrix) -> None:
        matrix.kill_everywhere()
        DONE.append(matrix)
        if ALL:
            with capsys.disabled():
                sys.stdout.write(str(matrix))
        assert matrix.failed == []

    return kill


@pytest.mark.parametrize("runtime", ["ollama", "vllm"])
def test_killed_in_a_first_deployment(clean: Rig, runtime: str, told: Callable[[Matrix], None]):
    told(Matrix(clean, runtime, clean.down))


@pytest.mark.parametrize("runtime", ["ollama", "vllm"])
def test_killed_in_an_update(clean: Rig, runtime: str, told: Callable[[Matrix], None]):
    """And what served before serves on in between."""

    def prepare() -> None:
        clean.down()
        clean.up(runtime).ended(0)

    told(Matrix(clean, runtime, prepare, CHANGE[runtime], serving=True))


@pytest.mark.parametrize(
    ("way_in", "left"),
    [((), ["created", "running"]), (("--expose", "direct"), ["created"])],
    ids=["the old one serves on behind the gateway", "without a gateway for a moment there is none"],
)
def test_killed_between_the_old_container_and_the_new(clean: Rig, way_in: tuple[str, ...], left: list[str]):
    rig, change = clean, (*CHANGE["vllm"], *way_in)
    rig.up("vllm", *way_in).ended(0)
    rig.up("vllm", *change).ended(0)
    undisturbed = rig.end()
    rig.down()
    rig.up("vllm", *way_in).ended(0)
    rig.killed("created", 0, "vllm", *change)
    assert sorted(rig.machine.exec("docker ps --all --format '{{.State}}'").split()) == left
    assert rig.status("vllm")["state"] == "unfinished"
    assert way_in or rig.answers("vllm"), "the old engine goes on"
    rig.up("vllm", *change).ended(0)
    assert undisturbed.differences(rig.end()) == []
    assert way_in or rig.answers("vllm")

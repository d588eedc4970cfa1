"""`up` killed by SIGKILL just before and just after each of its steps: run again, it ends as if nothing had been.

A sample of the steps in each run of the suite; every step with DEPLOYCTL_TEST_FAULTS=all (`make test-faults`), which
prints a table. The steps are those in the journal of a run that nobody disturbed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.hosts.recovery.rig import End, Rig

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(5400)]
ALL = os.environ.get("DEPLOYCTL_TEST_FAULTS") == "all"
SERVICES = ("unit", "container")


@dataclass(frozen=True)
class Step:
    """A step of an undisturbed run, as its journal tells it."""

    number: int
    action: str
    address: str

    @property
    def kind(self) -> str:
        return self.address.partition(":")[0]


def steps(rig: Rig, runtime: str) -> list[Step]:
    """All steps of the journal, each of which began and ended."""
    lines = rig.journal(runtime)
    began, ended = ([line for line in lines if line["phase"] == phase] for phase in ("begin", "end"))
    assert [line["step"] for line in began] == [line["step"] for line in ended] == list(range(1, len(began) + 1))
    return [Step(line["step"], line["action"], line["address"]) for line in began]


def chosen(found: list[Step]) -> list[Step]:
    """All, or a sample: the first, the one in the middle, and the one that starts the service."""
    if ALL:
        return found
    service = next(step for step in found if step.kind in SERVICES)
    return sorted({found[0], found[len(found) // 2], service}, key=lambda step: step.number)


def moments(found: list[Step]) -> Iterator[tuple[str, Step]]:
    """Each moment to be killed at; the last is when all steps are done and nobody has looked at the endpoint."""
    for step in chosen(found):
        yield "before", step
        yield "after", step
    yield "applied", found[-1]


def outcome(rig: Rig, runtime: str, when: str, step: Step, undisturbed: End) -> str:
    """Kill, run again, compare: `same`, or what is wrong."""
    rig.down()
    rig.killed(when, step.number, runtime)
    last = rig.journal(runtime)[-1]
    if when != "applied" and (last["step"], last["phase"], last["address"]) != (step.number, "begin", step.address):
        return f"killed elsewhere: {last}"
    again = rig.up(runtime)
    if again.exit != 0:
        return f"the next up ends with {again.exit}: {again.stderr[-1500:]}"
    wrong = [f"left behind: {path}" for path in rig.leftovers()]
    wrong += undisturbed.differences(rig.end())
    shown = rig.status(runtime)
    wrong += (
        [] if (shown["state"], shown["drift"]) == ("serving", []) else [f"status: {shown['state']}, {shown['drift']}"]
    )
    wrong += [] if rig.chat(runtime) else ["it says nothing"]
    return "; ".join(wrong) or "same"


@pytest.mark.parametrize("runtime", ["ollama", "vllm"])
def test_killed_at_every_step(clean: Rig, runtime: str, capsys: pytest.CaptureFixture[str]):
    rig = clean
    rig.up(runtime).ended(0)
    found, undisturbed = steps(rig, runtime), rig.end()
    rows: list[tuple[str, str, str]] = []
    for when, step in moments(found):
        result = outcome(rig, runtime, when, step, undisturbed)
        rows.append((f"{step.number:>2}/{len(found)} {step.action} {step.address}", when, result))
        if ALL:
            with capsys.disabled():
                told = f"  {runtime:<7} {rows[-1][0]:<88.88} {when:<8} {result}\n"
                sys.stdout.write(f"\n{told}" if len(rows) == 1 else told)
    failed = [row for row in rows if row[2] != "same"]
    if ALL:
        with capsys.disabled():
            totals = f"{len(rows)} kills at {len(found)} steps: {len(rows) - len(failed)} same, {len(failed)} other"
            sys.stdout.write(f"  {runtime}: {totals}\n")
    assert failed == []

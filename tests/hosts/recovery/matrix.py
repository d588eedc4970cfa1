"""The matrix of kills: each moment of a command at which its controller dies, and what came of the next run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.hosts.recovery.rig import End, Rig

ALL = os.environ.get("DEPLOYCTL_TEST_FAULTS") == "all"
"""Whether every step is to be killed at, or a sample."""
SERVICES = ("unit", "container")


@dataclass(frozen=True)
class Step:
    """A step of an undisturbed run, as its journal tells it."""

    number: int
    action: str
    address: str

    @property
    def serves(self) -> bool:
        """Whether it is the one that (re)starts the service."""
        return self.address.partition(":")[0] in SERVICES


def steps(rig: Rig, runtime: str) -> list[Step]:
    """The steps of the last run in the journal, each of which began and ended."""
    lines = rig.journal(runtime)
    lines = lines[max(index for index, line in enumerate(lines) if (line["step"], line["phase"]) == (1, "begin")) :]
    began, ended = ([line for line in lines if line["phase"] == phase] for phase in ("begin", "end"))
    assert [line["step"] for line in began] == [line["step"] for line in ended] == list(range(1, len(began) + 1))
    return [Step(line["step"], line["action"], line["address"]) for line in began]


def chosen(found: list[Step]) -> list[Step]:
    """All, or a sample: the first, the one in the middle, and the one that starts the service; of few, only that."""
    if ALL:
        return found
    service = next(step for step in found if step.serves)
    more = {found[0], found[len(found) // 2]} if len(found) > 3 else set()
    return sorted({service, *more}, key=lambda step: step.number)


def moments(found: list[Step]) -> Iterator[tuple[str, Step]]:
    """Each moment to be killed at; the last is when all steps are done and nobody has looked at the endpoint."""
    for step in chosen(found):
        yield "before", step
        yield "after", step
    yield "applied", found[-1]


@dataclass
class Matrix:
    """The kills of one command, from one state of the machine, with what came of each.

    `prepare` brings the machine to that state; `words` are those of the command beside the runtime's own.
    """

    rig: Rig
    runtime: str
    prepare: Callable[[], object]
    words: tuple[str, ...] = ()
    serving: bool = False
    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def kill_everywhere(self) -> None:
        """All chosen moments, each from the prepared state."""
        self.prepare()
        self.rig.up(self.runtime, *self.words).ended(0)
        found, undisturbed = steps(self.rig, self.runtime), self.rig.end()
        for when, step in moments(found):
            self.prepare()
            outcome = "; ".join(self._kill(when, step, undisturbed)) or "same"
            self.rows.append((f"{step.number:>2}/{len(found)} {step.action} {step.address}", when, outcome))

    def _kill(self, when: str, step: Step, undisturbed: End) -> list[str]:
        """What is wrong after the kill, and after the next run."""
        self.rig.killed(when, step.number, self.runtime, *self.words)
        last = self.rig.journal(self.runtime)[-1]
        if when != "applied" and (last["step"], last["phase"], last["address"]) != (step.number, "begin", step.address):
            return [f"killed elsewhere: {last}"]
        wrong = [] if not self.serving or self.rig.answers(self.runtime) else ["what served serves no more"]
        again = self.rig.up(self.runtime, *self.words)
        if again.exit != 0:
            return [*wrong, f"the next up ends with {again.exit}: {again.stderr[-1500:]}"]
        wrong += [f"left behind: {path}" for path in self.rig.leftovers()]
        wrong += undisturbed.differences(self.rig.end())
        shown = self.rig.status(self.runtime)
        if (shown["state"], shown["drift"]) != ("serving", []) or not self.rig.answers(self.runtime):
            wrong.append(f"status: {shown['state']}, {shown['drift']}")
        return wrong

    @property
    def failed(self) -> list[tuple[str, str, str]]:
        return [row for row in self.rows if row[2] != "same"]

    def __str__(self) -> str:
        table = "".join(f"  {step:<80.80} {when:<8} {outcome}\n" for step, when, outcome in self.rows)
        same = len(self.rows) - len(self.failed)
        name = " ".join(("up", self.runtime, *self.words))
        return f"\n{name}\n{table}{name}: {len(self.rows)} kills, {same} same, {len(self.failed)} other\n"


DONE: list[Matrix] = []
"""Those of this session, for the totals at its end."""


def totals() -> str:
    """One line over all matrices."""
    kills, other = (sum(len(rows) for rows in found) for found in zip(*((m.rows, m.failed) for m in DONE), strict=True))
    return (
        f"{len(DONE)} commands killed at {kills} moments: {kills - other} ended as if undisturbed, {other} otherwise\n"
    )

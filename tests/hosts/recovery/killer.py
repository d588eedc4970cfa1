"""Run deployctl until one moment of its run, and die there by SIGKILL. The product knows nothing of it.

    python killer.py before|after K -- up ollama …     K is a step of the journal, from 1
    python killer.py applied 0 -- up ollama …          all steps are done, nothing has been looked at yet
    python killer.py created 0 -- up vllm …            the container is there and not started

`before`: the step's beginning is in the journal, nothing of it is done. `after`: it is done, its end is not written.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def die() -> None:
    """As if the machine's owner had done `kill -9`: nothing is flushed, nothing is closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(when: str, number: int) -> None:
    """Put the moment into the product's own seam between steps."""
    from docker import APIClient

    from orchestrator.planning import carry_out
    from orchestrator.planning.journal import Journal

    step, apply_plan, create = Journal.step, carry_out.apply_plan, APIClient.create_container
    begun = 0

    @contextmanager
    def mortal(self: Journal, action: str, address: str) -> Iterator[None]:
        nonlocal begun
        begun += 1
        mine = begun == number
        with step(self, action, address):
            if mine and when == "before":
                die()
            yield
            if mine and when == "after":
                die()

    def apply_and_die(*given: Any, **named: Any) -> Any:
        apply_plan(*given, **named)
        die()

    def create_and_die(*given: Any, **named: Any) -> Any:
        create(*given, **named)
        die()

    changed: dict[str, Callable[[], None]] = {
        "created": lambda: setattr(APIClient, "create_container", create_and_die),
        "applied": lambda: setattr(carry_out, "apply_plan", apply_and_die),
        "before": lambda: setattr(Journal, "step", mortal),
        "after": lambda: setattr(Journal, "step", mortal),
    }
    changed[when]()


def main() -> None:
    when, number, _, *words = sys.argv[1:]
    arm(when, int(number))
    from orchestrator.cli.root import cli

    cli(words)


if __name__ == "__main__":
    main()

"""Ctrl+C while hosts are changed: once it stops at the next step, twice it cuts."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.cli.console import Console
    from orchestrator.planning.stop import Stop


@contextmanager
def stoppable(console: "Console") -> Iterator["Stop"]:
    """While the block runs, the first Ctrl+C asks to stop; the second is a KeyboardInterrupt, as outside of it."""
    from orchestrator.planning.stop import Stop

    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # only there do signals come
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.ask()
        console.tell("stopping after the step at work; a download stops now and keeps what it has; Ctrl+C again cuts")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)

"""Stopping a run that the user wants no more of: between two steps, or inside one that can be gone on with anywhere."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.errors import StoppedError
from orchestrator.progress import Progress, Task

GO_ON = "run the same command again: it goes on from here"


class Stop:
    """Whether the user asked. Any thread may ask, and look."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """End soon."""
        self._asked.set()

    def check(self, host: str, where: str) -> None:
        """Raises StoppedError when it was asked for; ``where`` says in words what is done, and what is not."""
        if self._asked.is_set():
            raise StoppedError("interrupted", host=host, why=where, remedy=GO_ON)


class Heeding:
    """A Progress through which a long step hears of the stop: whatever reports how far it is can be cut there.

    Downloads, pulls and conversions report each second; what they have stays. A step that reports nothing is short, or
    must not be cut.
    """

    def __init__(self, progress: Progress, stop: Stop, host: str) -> None:
        self._progress, self._stop, self._host = progress, stop, host

    def note(self, text: str) -> None:
        """Pass it on."""
        self._progress.note(text)

    def warn(self, text: str) -> None:
        """Pass it on."""
        self._progress.warn(text)

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        """Pass it on, and hear of the stop whenever it reports."""
        with self._progress.task(label, total=total, unit=unit) as task:
            where = f"{label}: what has come is kept" if unit == "bytes" else f"{label}: not waited for"
            yield _HeedingTask(task, lambda: self._stop.check(self._host, where))


class _HeedingTask:
    def __init__(self, task: Task, check: Callable[[], None]) -> None:
        self._task, self._check = task, check

    def update(self, done: int, total: int | None = None) -> None:
        self._check()
        self._task.update(done, total)

    def message(self, text: str) -> None:
        self._check()
        self._task.message(text)

"""How long work reports itself, without knowing who listens.

``cli/`` draws bars on a terminal and plain lines elsewhere; tests collect; libraries use ``Quiet``.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of work under way."""

    def update(self, done: int, total: int | None = None) -> None:
        """Set the absolute amount done (and, once known, the total), in the task's unit."""

    def message(self, text: str) -> None:
        """Say what is happening now ("loading weights", "verifying sha256")."""


class Progress(Protocol):
    """Where a host's run reports to. Safe to call from several threads."""

    def note(self, text: str) -> None:
        """Tell something worth a line."""

    def warn(self, text: str) -> None:
        """Tell something the user should act on, though the run goes on."""

    def task(self, label: str, *, total: int | None = None, unit: str = "") -> AbstractContextManager[Task]:
        """Begin a piece of work; ``unit`` is ``"bytes"`` for transfers, else empty. ``total`` is in that unit."""


class _QuietTask:
    def update(self, done: int, total: int | None = None) -> None:
        return

    def message(self, text: str) -> None:
        return


class Quiet:
    """A Progress that says nothing."""

    def note(self, text: str) -> None:
        """Drop the note."""

    def warn(self, text: str) -> None:
        """Drop the warning."""

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        """Do the work unseen."""
        yield _QuietTask()

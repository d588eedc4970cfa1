"""What people and programs get to see: results on stdout, everything else on stderr."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import DeployError
from orchestrator.progress import Progress, Task

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_PLAIN_EVERY_S = 5.0


class Console:
    """One command's voice. With ``json_mode`` stdout holds one JSON document and nothing else."""

    def __init__(self, *, json_mode: bool, color: bool, verbose: bool) -> None:
        self.json_mode = json_mode
        self.verbose = verbose
        self.color = color and sys.stderr.isatty()
        self._lock = threading.Lock()
        self._bars: Bars | None = None

    def say(self, text: str = "", **style: Any) -> None:
        """A line of the result, for people; nothing in JSON mode."""
        if not self.json_mode:
            click.echo(click.style(text, **style) if style else text, color=None if self.color else False)

    def tell(self, text: str, **style: Any) -> None:
        """A line beside the result: progress, warnings, errors."""
        with self._lock:
            line = click.style(text, **style) if style and self.color else text
            if self._bars is not None:
                self._bars.console.print(line, markup=False, highlight=False)
            else:
                click.echo(line, err=True)

    def document(self, value: Mapping[str, object]) -> None:
        """The JSON document (one of ``documents``), in JSON mode."""
        if self.json_mode:
            click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_json))

    def error(self, error: DeployError) -> None:
        """What, where, why and what to type next."""
        where = f" on {error.host}" if error.host else ""
        self.tell(f"error: {error.what}{where}", fg="red")
        for line in error.why.strip().splitlines():
            self.tell(f"  | {line}")
        for line in error.remedy.strip().splitlines():
            self.tell(f"  → {line}", bold=True)

    @contextmanager
    def progress(self) -> Iterator["Console"]:
        """Show bars while the block runs, where stderr is a terminal."""
        if not (sys.stderr.isatty() and self.color):
            yield self
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        )
        with RichProgress(*columns, console=RichConsole(stderr=True), transient=True) as bars:
            self._bars = bars
            try:
                yield self
            finally:
                self._bars = None

    def for_host(self, host: str) -> Progress:
        """Where the work on one host reports to."""
        return _HostProgress(self, host)

    def open_task(self, label: str, total: int | None, unit: str) -> "_BarTask | _PlainTask":
        """A bar where there are bars, else a line from time to time."""
        if self._bars is not None:
            return _BarTask(self._bars, self._bars.add_task(label, total=total, amount="", text=""), total, unit)
        return _PlainTask(self, label, total, unit)


def _json(value: "BaseModel") -> object:
    """A model inside a document."""
    return value.model_dump(mode="json")


class _HostProgress:
    """The Progress of one host."""

    def __init__(self, console: Console, host: str) -> None:
        self._console = console
        self._host = host

    def note(self, text: str) -> None:
        self._console.tell(f"[{self._host}] {text}")

    def warn(self, text: str) -> None:
        self._console.tell(f"[{self._host}] warning: {text}", fg="yellow")

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        task = self._console.open_task(f"[{self._host}] {label}", total, unit)
        try:
            yield task
        finally:
            task.close()


class _BarTask:
    def __init__(self, bars: "Bars", identifier: "TaskID", total: int | None, unit: str) -> None:
        self._bars, self._id, self._total, self._unit = bars, identifier, total, unit

    def update(self, done: int, total: int | None = None) -> None:
        self._total = total if total is not None else self._total
        self._bars.update(self._id, completed=done, total=self._total, amount=_amount(done, self._total, self._unit))

    def message(self, text: str) -> None:
        if text:
            self._bars.update(self._id, text=text[:60])

    def close(self) -> None:
        self._bars.remove_task(self._id)


class _PlainTask:
    """Lines instead of a bar: the beginning, the state every few seconds, and the end of what took long."""

    def __init__(self, console: Console, label: str, total: int | None, unit: str) -> None:
        self._console, self._label, self._total, self._unit = console, label, total, unit
        self._began = self._said = time.monotonic()
        self._text = ""
        console.tell(f"{label} …")

    def update(self, done: int, total: int | None = None) -> None:
        self._total = total if total is not None else self._total
        if self._unit:  # steps have names, which tell more than their count
            self._say(_amount(done, self._total, self._unit))

    def message(self, text: str) -> None:
        if text and text != self._text:
            self._text = text
            self._say(text)

    def _say(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said >= _PLAIN_EVERY_S:
            self._said = now
            self._console.tell(f"{self._label}: {text}")

    def close(self) -> None:
        took = time.monotonic() - self._began
        if took >= 1:
            self._console.tell(f"{self._label}: done in {took:.0f} s")


def _amount(done: int, total: int | None, unit: str) -> str:
    if unit != "bytes":
        return f"{done}/{total}" if total else str(done)
    share = f" ({100 * done // total} %)" if total else ""
    return f"{size(done)}{f' of {size(total)}' if total else ''}{share}"


def size(count: float) -> str:
    """Bytes for people, in powers of 1024."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"

"""The journal: each step of a run, written on the host before and after it is done.

What a run left half-done is found by looking at the host, not by believing a journal; the journal says what was going
on, for people and for the tests that cut runs at every step.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from orchestrator.errors import DeployError, StoppedError, UnreachableError
from orchestrator.hosts.base import Host, quote
from orchestrator.resources.files import run_or_fail

_KEEP_LINES = 2000


class Journal:
    """The journal of one run, which makes the generation of that number."""

    def __init__(self, host: Host, state: str, generation: int) -> None:
        self._host, self._file, self._generation = host, f"{state}/journal.jsonl", generation
        self._step = 0
        self._ended: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or (isinstance(error, DeployError) and not isinstance(error, UnreachableError)):
            self._write(self._ended)
        self._ended = []

    @contextmanager
    def step(self, action: str, address: str) -> Iterator[None]:
        """One step. Its beginning is on the host before it begins; its end goes there with the next beginning."""
        self._step += 1
        what = {"generation": self._generation, "step": self._step, "action": action, "address": address}
        self._write([*self._ended, _line({**what, "phase": "begin"})])
        self._ended = []
        try:
            yield
        except DeployError as error:
            phase = "stopped" if isinstance(error, StoppedError) else "failed"
            self._ended = [_line({**what, "phase": phase})]
            raise
        self._ended = [_line({**what, "phase": "end"})]

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        file, words = quote(self._file), " ".join(quote(line) for line in lines)
        script = (
            f"umask 022; printf '%s\\n' {words} >> {file} || exit 1\n"
            f'[ "$(wc -l < {file})" -le {2 * _KEEP_LINES} ] || '
            f"{{ tail -n {_KEEP_LINES} {file} > {file}.part && mv -f {file}.part {file}; }}\n"
        )
        run_or_fail(self._host, "cannot write the journal", script)


def _line(what: dict[str, object]) -> str:
    return json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **what}, ensure_ascii=False)

"""Lines of logs as their keepers print them, read into when and what."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from orchestrator.health.moments import engines_own, iso


class Line(NamedTuple):
    """A line of a log; ``at`` is None where nothing tells when it was written."""

    at: datetime | None
    text: str


Reader = Callable[[str], Line | None]
"""Reads one line after another; None for what is no line of the log."""

OFFSET = "deployctl: offset "
"""What a script prints before a file's lines: the host's offset from UTC (``date +%z``)."""

_JOURNAL = re.compile(r"(\d{4}-\d\d-\d\dT\S+) \S+ (?:[^:\n]*?): ?(.*)")


def journal(raw: str) -> Line:
    """A line of ``journalctl -o short-iso-precise``; what a message goes on with on further lines has no time."""
    found = _JOURNAL.fullmatch(raw)
    moment = iso(found[1]) if found else None
    return Line(moment, found[2]) if found and moment else Line(None, raw.lstrip())


def docker(raw: str) -> Line:
    """A line of ``docker logs --timestamps``."""
    stamp, space, text = raw.partition(" ")
    moment = iso(stamp)
    return Line(moment, text if space else "") if moment else Line(None, raw)


class FileReader:
    """Lines of a file that keeps no times: those that the engine writes itself count, also for the lines after it."""

    def __init__(self, since: datetime | None) -> None:
        """``since`` leaves out what is older."""
        self.since, self.now = since, datetime.now(UTC)
        self.offset = timedelta(0)
        self.last: datetime | None = None

    def __call__(self, raw: str) -> Line | None:
        """Read a line."""
        if raw.startswith(OFFSET):
            self.offset = _offset(raw.removeprefix(OFFSET))
            return None
        self.last = engines_own(raw, offset=self.offset, now=self.now) or self.last
        if self.since is not None and (self.last is None or self.last < self.since):
            return None
        return Line(self.last, raw)


def _offset(text: str) -> timedelta:
    """``+0130`` as a span of time."""
    found = re.fullmatch(r"([+-])(\d\d)(\d\d)", text.strip())
    span = timedelta(hours=int(found[2]), minutes=int(found[3])) if found else timedelta(0)
    return -span if found and found[1] == "-" else span

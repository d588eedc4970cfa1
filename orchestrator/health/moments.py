"""When a line of a log was written: as its keeper (journald, Docker) or the engine itself tells it."""

import re
from datetime import UTC, datetime, timedelta

_OLLAMA = re.compile(r"^time=(\S+)")
_GIN = re.compile(r"^\[GIN\] (\d{4})/(\d\d)/(\d\d) - (\d\d:\d\d:\d\d)")
_VLLM = re.compile(r"^(?:\([^)]*\)\s*)?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) (\d\d)-(\d\d) (\d\d:\d\d:\d\d)\b")
_AHEAD = timedelta(days=1)
"""How far ahead of ours a host's clock may be before a day without a year counts as last year's."""


def iso(text: str) -> datetime | None:
    """A moment in ISO 8601, fractions of any length included; None for what is none. Without a zone it is UTC."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?", text)
    if found is None:
        return None
    fraction = (found[2] or ".0")[:7]
    try:
        moment = datetime.fromisoformat(f"{found[1]}{fraction.ljust(7, '0')}{found[3] or '+00:00'}")
    except ValueError:
        return None
    return moment.astimezone(UTC)


def engines_own(line: str, *, offset: timedelta, now: datetime) -> datetime | None:
    """The moment that an engine writes into its own line; None where it writes none.

    ``offset`` is the host's from UTC: vLLM and Ollama's access log tell local time. ``now`` lends vLLM's lines a year.
    """
    if found := _OLLAMA.match(line):
        return iso(found[1])
    if found := _GIN.match(line):
        moment = iso(f"{found[1]}-{found[2]}-{found[3]}T{found[4]}Z")
        return moment - offset if moment else None
    if found := _VLLM.match(line):
        local = now + offset
        for year in (local.year, local.year - 1):
            moment = iso(f"{year}-{found[1]}-{found[2]}T{found[3]}Z")
            if moment and moment - offset <= now + _AHEAD:
                return moment - offset
    return None

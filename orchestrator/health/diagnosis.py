"""From the text of a failure to its cause and remedy.

The table is data: ``diagnoses/*.toml``, one file per subject. An entry has an id, a regular expression for the original
text, the cause, and the remedy; both may name the pattern's groups ("--max-model-len {estimated}"). The first line that
any entry matches wins, because engines report a cause once and its consequences many times after; within that line
the table's order decides, so the more specific entry stands first.
Entries with ``rank = "symptom"`` are such consequences, and count only where no cause is found.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.health.endpoint import Runtime
from orchestrator.health.text import plain, shorten, unprefixed

UNKNOWN = "unknown"
"""Id of a diagnosis that only shows the first error."""


class Diagnosis(BaseModel):
    """What went wrong and what to do about it. ``line`` is the telling line of the original text."""

    model_config = ConfigDict(frozen=True)

    id: str
    cause: str
    remedy: str
    line: str


class Entry(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    engines: frozenset[Runtime]
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    rank: Literal["cause", "symptom"] = "cause"


_SUBJECTS = ("ollama", "vllm", "hub", "machine")
"""The files of the table, from the most specific to what all engines have beneath them."""


@cache
def table() -> tuple[Entry, ...]:
    """All entries, in order."""
    folder = resources.files("orchestrator.health") / "diagnoses"
    return tuple(entry for subject in _SUBJECTS for entry in _read(folder / f"{subject}.toml"))


def _read(item: Traversable) -> Iterator[Entry]:
    document: dict[str, Any] = tomllib.loads(item.read_text("utf-8"))
    for row in document["entry"]:
        pattern = re.compile(row["pattern"], re.MULTILINE)
        yield Entry.model_validate({"engines": document["engines"]} | row | {"pattern": pattern})


def diagnose(text: str, runtime: Runtime) -> Diagnosis | None:
    """The cause that the text of a log or an error shows first; None where the table knows none of it."""
    text = unprefixed(plain(text))
    best: tuple[bool, int, int] | None = None
    found: tuple[Entry, re.Match[str]] | None = None
    for order, entry in enumerate(table()):
        match = entry.pattern.search(text) if runtime in entry.engines else None
        if match is None:
            continue
        place = (entry.rank == "symptom", text.count("\n", 0, match.start()), order)
        if best is None or place < best:
            best, found = place, (entry, match)
    return None if found is None else _filled(*found)


def _filled(entry: Entry, match: re.Match[str]) -> Diagnosis:
    values = {name: shorten(value or "?", 120) for name, value in match.groupdict().items()}
    return Diagnosis(
        id=entry.id,
        cause=entry.cause.format_map(values),
        remedy=entry.remedy.format_map(values),
        line=_line_at(match.string, match.start(), match.end()),
    )


def _line_at(text: str, start: int, end: int) -> str:
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    return shorten(text[first : last if last != -1 else len(text)], 400)


def explain(text: str, runtime: Runtime) -> Diagnosis | None:
    """``diagnose``, and for unknown failures the first error of the text; None where the text shows no error at all."""
    known = diagnose(text, runtime)
    if known is not None:
        return known
    line = first_error(text)
    if not line:
        return None
    return Diagnosis(
        id=UNKNOWN,
        cause="Not a failure that deployctl knows; this is the first error it reported.",
        remedy=f"Read the whole log: deployctl logs {runtime}",
        line=line,
    )


_USELESS = re.compile(r"See (?:root cause|stack trace) (?:\(?above)|Traceback \(most recent call last\)")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception|Interrupt)\b: ?\S")
_COMPLAINT = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b|^(?:[\w./-]+: )?(?:[Ff]atal|[Ee]rror|panic)(?: error)?:")


def first_error(text: str) -> str:
    """The first line that names an exception, else the first that complains; empty where none does.

    The last line of a failed vLLM start ("Engine core initialization failed. See root cause above.") never counts.
    """
    original = plain(text).split("\n")
    bare = [unprefixed(line) for line in original]
    for line in bare:
        if _EXCEPTION.search(line) and not _USELESS.search(line):
            return shorten(line, 400)
    for whole, line in zip(original, bare, strict=True):
        if _COMPLAINT.search(whole) and line.strip() and not _USELESS.search(line):
            return shorten(line, 400)
    return ""

"""From the text of a failure to its cause and remedy, by the table of ``orchestrator.health.table``.

The first line that any entry matches wins, because engines report a cause once and its consequences many times after;
within that line the table's order decides, so the more specific entry stands first. What the table does not know shows
the first error of the text, never its last line.
"""

import re

from pydantic import BaseModel, ConfigDict

from orchestrator.health.endpoint import Runtime
from orchestrator.health.table import RANKS, Entry, Rank, table, version_in
from orchestrator.health.text import plain, shorten, unprefixed

UNKNOWN = "unknown"
"""Id of a diagnosis that only shows the first error."""

_BEFORE, _AFTER = 3, 6
"""How many lines around the telling one are its context."""
_LONGEST = 6000
"""Characters of a line that are searched."""


class Diagnosis(BaseModel):
    """What went wrong and what to do about it. ``line`` is the telling line of the original text."""

    model_config = ConfigDict(frozen=True)

    id: str
    rank: Rank = "cause"
    cause: str
    remedy: str
    line: str
    number: int = 0
    """Number of the telling line in the text, from 1."""
    context: tuple[str, ...] = ()
    """The lines around the telling one, and itself."""

    @property
    def certain(self) -> bool:
        """Whether it is a cause that the table knows, neither a consequence nor only the first error."""
        return self.id != UNKNOWN and self.rank == "cause"


class _Match:
    """An entry that matches, and where."""

    def __init__(self, entry: Entry, order: int, found: re.Match[str]) -> None:
        self.entry, self.found = entry, found
        self.line = found.string.count("\n", 0, found.start())
        self.place = (RANKS.index(entry.rank), self.line, order)


def diagnose(text: str, runtime: Runtime | None, version: str = "") -> Diagnosis | None:
    """The cause that the text of a log or an error shows first; None where the table knows none of it.

    ``version`` is the engine's; where it is not given, what the text says of it counts.
    """
    matches = _matches(text, runtime, version)
    return _filled(min(matches, key=lambda match: match.place)) if matches else None


def remarks(text: str, runtime: Runtime | None, version: str = "") -> tuple[Diagnosis, ...]:
    """What the text shows that does not stop the engine, but makes it slower or worse than meant."""
    matches = [match for match in _matches(text, runtime, version) if match.entry.rank == "degraded"]
    return tuple(_filled(match) for match in sorted(matches, key=lambda match: match.place))


def _matches(text: str, runtime: Runtime | None, version: str) -> list[_Match]:
    text = "\n".join(_bounded(line) for line in unprefixed(plain(text)).split("\n"))
    version = version or version_in(text, runtime)
    found = []
    for order, entry in enumerate(table()):
        match = entry.pattern.search(text) if entry.fits(runtime, version) else None
        if match is not None:
            found.append(_Match(entry, order, match))
    return found


def _bounded(line: str) -> str:
    """The line, without the middle of one that is longer than any message: no pattern may search in that for ever."""
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def _filled(match: _Match) -> Diagnosis:
    entry, text, values = match.entry, match.found.string, _values(match.found)
    return Diagnosis(
        id=entry.id,
        rank=entry.rank,
        cause=entry.cause.format_map(values),
        remedy=entry.remedy.format_map(values),
        line=_line_at(text, match.found.start(), match.found.end()),
        number=match.line + 1,
        context=_around(text.split("\n"), match.line),
    )


def _values(found: re.Match[str]) -> dict[str, str]:
    """The pattern's groups; ``name2`` is what stands for ``name`` in another wording."""
    values: dict[str, str] = {}
    for name, value in found.groupdict().items():
        name = name.rstrip("0123456789")
        values[name] = shorten(value, 120) if value else values.get(name, "?")
    return values


def _line_at(text: str, start: int, end: int) -> str:
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    return shorten(text[first : last if last != -1 else len(text)], 400)


def _around(lines: list[str], index: int) -> tuple[str, ...]:
    near = lines[max(0, index - _BEFORE) : index + _AFTER + 1]
    return tuple(shorten(line, 200) for line in near if line.strip())


def named(entry: str) -> Entry:
    """The entry of the table with this id."""
    return next(item for item in table() if item.id == entry)


def explain(text: str, runtime: Runtime | None, version: str = "") -> Diagnosis | None:
    """``diagnose`` of a failure, and for unknown ones the first error; None where the text shows no error at all."""
    known = diagnose(text, runtime, version)
    if known is not None and known.rank != "degraded":
        return known
    index, line = _first_error(text)
    if not line:
        return None
    return Diagnosis(
        id=UNKNOWN,
        cause="Not a failure that deployctl knows; this is the first error it reported.",
        remedy=f"Read the whole log: deployctl logs {runtime or 'NAME'}",
        line=line,
        number=index + 1,
        context=_around(unprefixed(plain(text)).split("\n"), index),
    )


def better(one: Diagnosis | None, other: Diagnosis | None) -> Diagnosis | None:
    """The one that tells more: a cause before a consequence, and that before what is not known; else the first."""
    known = [item for item in (one, other) if item is not None]
    return min(known, key=lambda item: (item.id == UNKNOWN, not item.certain), default=None)


def advice(why: str, remedy: str = "") -> str:
    """What to do about a step that failed with these words; ``remedy`` where the table does not know them."""
    known = diagnose(why, None)
    return remedy if known is None or known.rank == "degraded" else f"{known.cause} {known.remedy}"


_USELESS = re.compile(r"See (?:root cause|stack trace) (?:\(?above)|Traceback \(most recent call last\)")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception|Interrupt)\b: ?\S")
_COMPLAINT = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b|^(?:[\w./-]+: )?(?:[Ff]atal|[Ee]rror|panic)(?: error)?:")


def first_error(text: str) -> str:
    """The first line that names an exception, else the first that complains; empty where none does.

    The last line of a failed vLLM start ("Engine core initialization failed. See root cause above.") never counts.
    """
    return _first_error(text)[1]


def _first_error(text: str) -> tuple[int, str]:
    original = plain(text).split("\n")
    bare = [unprefixed(line) for line in original]
    for index, line in enumerate(bare):
        if _EXCEPTION.search(line) and not _USELESS.search(line):
            return index, shorten(line, 400)
    for index, (whole, line) in enumerate(zip(original, bare, strict=True)):
        if _COMPLAINT.search(whole) and line.strip() and not _USELESS.search(line):
            return index, shorten(line, 400)
    return 0, ""

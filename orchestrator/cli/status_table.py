"""The table of ``deployctl status``, as lines."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import click

from orchestrator.errors import DeployError
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.text import plain
from orchestrator.planning.condition import Condition
from orchestrator.planning.truth import compared
from orchestrator.resources.base import Difference

Exposure = Literal["direct", "gateway", "tls", "loopback"]

NOTHING = "\N{EN DASH}"
"""Stands for what is not known, or is not to be known of this engine."""

_GIB = 1 << 30
_SHOWN = 40  # characters; more is a digest or a document
_NARROW = 20  # characters of a model's name, at least
_COLORS = {
    "serving": "green",
    "starting": "yellow",
    "drifted": "yellow",
    "unfinished": "yellow",
    "degraded": "red",
    "failed": "red",
    "stopped": "red",
    "unknown": "red",
}


@dataclass
class Shown:
    """What was found on all hosts: deployments, those that are down, and hosts with nothing or without an answer."""

    found: list[tuple[str, Condition]] = field(default_factory=list)
    down: list[tuple[str, str]] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    errors: list[DeployError] = field(default_factory=list)


class _Column(NamedTuple):
    """``rank``: the columns with the largest go first where there is no room, those with 0 never.

    ``least`` is how narrow it may get, where it may.
    """

    title: str
    rank: int
    value: Callable[[Condition], str]
    least: int = 0


def lines(found: Shown, width: int | None) -> list[str]:
    """The table within a width in characters (None: whatever it takes), and below it what is to be said of each."""
    said = [*_table(found, width)]
    for host, item in found.found:
        said += [f"  {item.manifest.name} on {_line(host)}: {line}" for line in _below(item)]
    said += [_line(f"{host}: nothing is deployed") for host in found.silent]
    said += [
        f"{_line(host)}: {name} is down, its models are kept (`deployctl down {name} --purge` deletes them)"
        for host, name in found.down
    ]
    return said


def told(errors: Sequence[DeployError]) -> Iterator[str]:
    """Failures, a line for each: what, where, and what to do."""
    for error in errors:
        where = f" on {error.host}" if error.host else ""
        yield _line(f"error: {error.what}{where} → {error.remedy}")


def _line(text: str) -> str:
    """The text as one line that moves no cursor, whoever wrote it."""
    return " ".join(plain(text).split())


def exposure(endpoint: Endpoint) -> Exposure:
    """Who reaches it: everybody without a key's being asked for, clients of the gateway, or only the host itself."""
    if endpoint.exposed:
        return "direct"
    if endpoint.gateway is None:
        return "loopback"
    return "gateway" if endpoint.gateway.tls == "none" else "tls"


def _table(found: Shown, width: int | None) -> Iterator[str]:
    if not found.found and not found.unknown:
        return
    hosts = [*(host for host, _ in found.found), *found.unknown]
    items: list[Condition | None] = [*(item for _, item in found.found), *([None] * len(found.unknown))]
    cells = {_HOST: [_line(host) for host in hosts]}
    for column in _COLUMNS:
        cells[column] = [_line(column.value(item)) if item else _of_nobody(column) for item in items]
    widths = _fitted(cells, width)
    yield "  ".join(_cut(column.title, size).ljust(size) for column, size in widths.items()).rstrip()
    for number in range(len(hosts)):
        row = [_painted(column, _cut(cells[column][number], size), size) for column, size in widths.items()]
        yield "  ".join(row).rstrip()


def _of_nobody(column: _Column) -> str:
    return "unknown" if column is _STATE else NOTHING


def _fitted(cells: dict[_Column, list[str]], width: int | None) -> dict[_Column, int]:
    """The columns that are shown, and how wide: what nobody has goes first, then the rest by rank; names get cut."""
    whole = {column: max(map(len, [column.title, *texts])) for column, texts in cells.items()}
    if width is None:
        return whole
    told = [column for column, texts in cells.items() if not column.rank or set(texts) != {NOTHING}]
    least = {column: min(whole[column], column.least or whole[column]) for column in told}
    for column in sorted(told, key=lambda column: -column.rank):
        if column.rank and _sum(least) > width:
            del least[column]
    for column in sorted(least, key=lambda column: -column.least):
        least[column] += max(0, min(whole[column] - least[column], width - _sum(least)))
    return least


def _sum(widths: dict[_Column, int]) -> int:
    return sum(widths.values()) + 2 * (len(widths) - 1)


def _painted(column: _Column, text: str, size: int) -> str:
    color = _COLORS.get(text.partition(" ")[0]) if column is _STATE else None
    color = "red" if text == "direct" else color
    return click.style(text.ljust(size), fg=color) if color else text.ljust(size)


def _cut(text: str, size: int) -> str:
    """The text within a size: names lose their middle, since models differ at the end."""
    if len(text) <= size:
        return text
    end = (size - 1) // 2
    return f"{text[: size - 1 - end]}…{text[-end:] if end else ''}"


def _context(item: Condition) -> str:
    """Context and how many requests of that length there is room for: Ollama's slots, or vLLM's own count."""
    known = item.manifest.summary.get("context", "")
    concurrency = item.load.concurrency if item.load else None
    return f"{known} x {int(concurrency)}" if known and concurrency and concurrency >= 1 else known or NOTHING


def _device(item: Condition) -> str:
    if item.devices.gpus:
        return f"GPU {','.join(str(number) for number in item.devices.gpus)}"
    in_ram = item.loaded and item.taken is not None and not item.taken.vram_bytes
    return "CPU" if item.devices.meant is None or in_ram else NOTHING


def _memory(item: Condition) -> str:
    """What it holds and what was predicted, in GiB: by the GPU's driver, else by the engine, else by the kernel."""
    taken, seen = item.taken if item.loaded is not False else None, item.devices
    by_engine = taken and (taken.gpu_bytes or taken.size_bytes or (taken.weights_bytes or 0) + (taken.kv_bytes or 0))
    real = seen.gpu_bytes or (by_engine if seen.meant is not None else None) or seen.ram_bytes
    if not real:
        return NOTHING
    foreseen = f"/{seen.predicted_high_bytes / _GIB:.1f}" if seen.predicted_high_bytes else ""
    return f"{real / _GIB:.1f}{foreseen}"


def _requests(item: Condition) -> str:
    """Running and waiting, by vLLM's own count; the gateway's does not tell them apart."""
    load = item.load
    if load is None or load.running is None:
        return NOTHING
    return str(load.running) if load.waiting is None else f"{load.running}+{load.waiting}"


def _cache(item: Condition) -> str:
    percent = item.load.kv_cache_percent if item.load else None
    return NOTHING if percent is None else f"{percent:.0f} %"


def _rate(item: Condition) -> str:
    rate = item.load.tokens_per_second if item.load else None
    return NOTHING if rate is None else f"{rate:.0f}"


def _state(item: Condition) -> str:
    if item.state != "starting" or item.phase is None:
        return item.state
    percent, step = item.phase.percent, f"{item.phase.index}/{item.phase.total}"
    return f"starting {step if percent is None else f'{percent} %'}"


_HOST = _Column("HOST", 0, lambda item: "", least=8)
_STATE = _Column("STATE", 0, _state)
_COLUMNS = (
    _Column("NAME", 0, lambda item: item.manifest.name, least=8),
    _STATE,
    _Column("MODEL", 0, lambda item: item.manifest.summary.get("model", "") or NOTHING, least=_NARROW),
    _Column("CONTEXT", 3, _context),
    _Column("ON", 9, _device),
    _Column("GIB", 4, _memory),
    _Column("REQ", 2, _requests),
    _Column("KV", 7, _cache),
    _Column("TOK/S", 5, _rate),
    _Column("UP", 8, lambda item: NOTHING if item.uptime_s is None else span(item.uptime_s)),
    _Column("RESTARTS", 12, lambda item: str(item.service.restarts)),
    _Column("ENDPOINT", 1, lambda item: item.manifest.endpoint.url, least=28),
    _Column("VIA", 6, lambda item: exposure(item.manifest.endpoint)),
    _Column("GEN", 11, lambda item: str(item.manifest.generation)),
    _Column("APPLIED", 10, lambda item: f"{span(_age(item.manifest.applied_at))} ago"),
)


def _below(item: Condition) -> Iterator[str]:
    """What is to be said of one deployment, below the table."""
    holds = item.service.running and item.loaded is not False
    if holds and (memory := compared(item.manifest.fit, item.taken)):
        yield memory
    if item.phase is not None and item.state == "starting":
        yield f"{item.phase} (phase {item.phase.index} of {item.phase.total})"
    for remark in item.remarks:
        text = _line(f"{remark.what} → {remark.remedy}")
        yield click.style(text, fg="red" if "OPEN" in text else "yellow")
    for drift in item.drift:
        what = ", ".join(_difference(difference) for difference in drift.differences) or "gone"
        text = f"{drift.title} {drift.identity} differs from what was applied, {drift.cause} ({what})"
        yield click.style(_line(f"{text}; `deployctl up` repairs it"), fg="yellow")


def _difference(difference: Difference) -> str:
    """A field, with its values where they say something to people."""
    before, now = difference.wanted, difference.observed
    short = all(isinstance(value, str) and 0 < len(value) <= _SHOWN for value in (before, now))
    return f"{difference.field} {before} → {now}" if short else difference.field


def _age(moment: str) -> int:
    """Seconds since a moment in ISO 8601."""
    return max(0, int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()))


def span(seconds: int) -> str:
    """A time in the largest unit that fits."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"

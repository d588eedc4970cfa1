"""What the GPUs of a host do during a load: nvidia-smi there, which reads NVML, twice a second until told to stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise

from orchestrator.bench.result import GpuUse
from orchestrator.hosts.base import Host, quote

_QUERY = "timestamp,index,name,memory.used,memory.total,utilization.gpu,power.draw"
_EVERY_MS = 500

# Ends with its standard input, so with the connection too; only who released it wants the file.
_SAMPLE = f"""\
f=
if command -v nvidia-smi >/dev/null 2>&1 && f=$(mktemp); then
  nvidia-smi --query-gpu={_QUERY} --format=csv,noheader,nounits -lms {_EVERY_MS} >"$f" 2>&1 </dev/null & p=$!
fi
printf '%s\\nwatching\\n' "$f"
c=$(cat)
[ -n "$f" ] || exit 0
kill $p 2>/dev/null; wait $p 2>/dev/null
case $c in *q) ;; *) rm -f -- "$f";; esac
"""
ABSENT = "the host has no nvidia-smi"


class Sampling:
    """What is being seen; ``use`` and ``note`` are filled when it is over."""

    def __init__(self) -> None:
        self.use: tuple[GpuUse, ...] = ()
        self.note = ""


@contextmanager
def watched(host: Host | None) -> Iterator[Sampling]:
    """Watch the GPUs of a host while the block runs; without a host, or a GPU, ``note`` says so."""
    seen = Sampling()
    if host is None:
        seen.note = "an endpoint given by URL: its host is not known"
        yield seen
        return
    held, file, text = host.hold(_SAMPLE), "", ""
    try:
        file = held.answer("watching").partition("\n")[0]
        yield seen
    finally:
        held.release()
        if file:
            text = host.run(f"cat -- {quote(file)}; rm -f -- {quote(file)}").stdout
    seen.use = read(text)
    if not seen.use:
        seen.note = (" ".join(text.split())[:200] or "nvidia-smi said nothing") if file else ABSENT


def read(text: str) -> tuple[GpuUse, ...]:
    """The samples, by GPU: largest memory, mean use, and power over time; None where the driver tells no power."""
    rows: dict[int, list[list[str]]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 7 and cells[1].isdecimal() and cells[3].isdecimal() and cells[4].isdecimal():
            rows.setdefault(int(cells[1]), []).append(cells)
    return tuple(_use(index, found) for index, found in sorted(rows.items()))


def _use(index: int, rows: list[list[str]]) -> GpuUse:
    uses = [float(row[5]) for row in rows if row[5].isdecimal()]
    return GpuUse(
        index=index,
        name=rows[0][2],
        memory_peak_mib=max(int(row[3]) for row in rows),
        memory_total_mib=int(rows[0][4]),
        use_percent=round(sum(uses) / len(uses), 1) if uses else 0.0,
        energy_j=_energy(rows),
    )


def _energy(rows: list[list[str]]) -> float | None:
    """Watts over seconds, by trapezoids."""
    try:
        points = [(datetime.strptime(row[0], "%Y/%m/%d %H:%M:%S.%f"), float(row[6])) for row in rows]
    except ValueError:  # "[N/A]", "[Not Supported]"
        return None
    if len(points) < 2:
        return None
    joules = sum((b[0] - a[0]).total_seconds() * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    return round(joules, 1)

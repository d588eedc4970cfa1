"""The processes of a host: who started whom, what they hold of main memory, since when they run."""

from collections.abc import Iterable
from dataclasses import dataclass, field

SCRIPT = r"""
conf() { getconf "$1" 2>/dev/null || echo "$2"; }
echo "$(cut -d ' ' -f 1 /proc/uptime) $(conf CLK_TCK 100) $(conf PAGESIZE 4096)"
cat /proc/[0-9]*/stat 2>/dev/null | awk '{ pid = $1; sub(/^.*\) /, ""); if ($22 > 0) print pid, $2, $20, $22 }'
"""
"""Prints uptime (s), ticks a second and bytes of a page; then pid, parent, start (ticks) and resident pages of each."""


@dataclass(frozen=True)
class Processes:
    """All that were seen: parent, age in seconds and resident bytes, by pid."""

    parents: dict[int, int] = field(default_factory=dict)
    ages_s: dict[int, float] = field(default_factory=dict)
    resident: dict[int, int] = field(default_factory=dict)

    def family(self, pid: int) -> frozenset[int]:
        """A process and all that descend from it; empty where it is not among them."""
        found = {pid} & set(self.parents)
        while more := {child for child, parent in self.parents.items() if parent in found} - found:
            found |= more
        return frozenset(found)

    def resident_bytes(self, pids: Iterable[int]) -> int:
        """What they hold of main memory; what they share is counted more than once."""
        return sum(self.resident[pid] for pid in pids)


def read(output: str) -> Processes:
    """What the script printed. What is no row of numbers is passed over."""
    rows = [row for row in map(_numbers, output.splitlines()) if row]
    if not rows or len(rows[0]) != 3:
        return Processes()
    uptime, ticks, page = rows[0]
    found = Processes()
    for row in rows[1:]:
        if len(row) == 4 and ticks > 0:
            pid, parent, started, pages = row
            found.parents[int(pid)] = int(parent)
            found.ages_s[int(pid)] = max(0.0, uptime - started / ticks)
            found.resident[int(pid)] = int(pages * page)
    return found


def _numbers(line: str) -> list[float]:
    try:
        return [float(word) for word in line.split() if len(word) < 25]
    except ValueError:
        return []

"""What is on a machine, so that a test can prove that it is as before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

ROOTS = ("/boot", "/etc", "/home", "/opt", "/root", "/srv", "/usr", "/var")

IGNORED = (
    # written by the machine itself while it runs, whatever is deployed
    *("/var/log", "/var/tmp", "/var/cache", "/var/lib/systemd/timers", "/var/lib/systemd/random-seed"),
    *("/etc/machine-id", "/etc/.pwd.lock", "/etc/.updated", "/var/.updated", "/var/lib/dbus/machine-id"),
    # Docker writes these into every container, and the engine inside keeps its own books (engine() compares those)
    *("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/mtab"),
    *("/var/lib/docker", "/var/lib/containerd", "/etc/docker/key.json", "/opt/containerd"),
    # backups that useradd and its kin keep of the file before
    *("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-"),
    # sudo remembers whom it has lectured; Python and the shell keep caches and histories
    *("/var/lib/sudo", "*/__pycache__", "*/.bash_history"),
)
"""Paths (or patterns) that two snapshots never compare, with all that is under them."""

_UNIT_KINDS = (".service", ".socket", ".timer", ".path")
_PASSING_UNITS = re.compile(
    r"(user(-runtime-dir)?@\d+|run-[\w-]+|systemd-(tmpfiles-clean|hostnamed|timedated|localed))\.\w+"
)


@dataclass(frozen=True)
class Entry:
    """One path: `f`ile, `d`irectory or `l`ink, octal mode, numeric owner, and sha256 or target; no times, no sizes."""

    kind: str
    mode: str
    owner: str
    content: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.mode} {self.owner} {self.content[:16]}".rstrip()


Snapshot = dict[str, Entry]
Shell = Callable[[str], str]


@dataclass(frozen=True)
class State:
    """All that `down` must put back: files, units, accounts, and what the Docker Engine holds."""

    files: Snapshot
    units: dict[str, str]
    accounts: dict[str, str]
    engine: dict[str, str]


def take(shell: Shell, roots: Iterable[str] = ROOTS) -> Snapshot:
    """Everything under `roots` but IGNORED, by a root shell on the machine."""
    where = " ".join(roots)
    prune = " -o ".join(f"-path '{pattern}'" for pattern in IGNORED)
    find = f"find {where} -xdev \\( {prune} \\) -prune -o"
    listing = shell(f"{find} -printf '%y\\t%m\\t%U:%G\\t%l\\t%p\\0'")
    sums = dict(
        _sum(line) for line in shell(f"{find} -type f -print0 | xargs -0 -r sha256sum -z --").split("\0") if line
    )
    found: Snapshot = {}
    for line in filter(None, listing.split("\0")):
        kind, mode, owner, target, path = line.split("\t", 4)
        found[path] = Entry(kind, mode, owner, sums.get(path, target))
    return found


def units(shell: Shell) -> dict[str, str]:
    """Unit -> "enabled/active": what starts at boot and what runs now, without units that come and go by themselves."""
    enabled = _columns(shell("systemctl list-unit-files --no-legend --no-pager --plain"), 1)
    active = _columns(shell("systemctl list-units --all --no-legend --no-pager --plain"), 2)
    names = sorted(
        name for name in {*enabled, *active} if name.endswith(_UNIT_KINDS) and not _PASSING_UNITS.fullmatch(name)
    )
    return {name: f"{enabled.get(name, '-')}/{active.get(name, 'inactive')}" for name in names}


def accounts(shell: Shell) -> dict[str, str]:
    """Users and groups, with their line of /etc/passwd or /etc/group."""
    lines = shell("sed 's/^/user /' /etc/passwd; sed 's/^/group /' /etc/group").splitlines()
    return {line.partition(":")[0]: line for line in lines}


def engine(shell: Shell) -> dict[str, str]:
    """Containers, images, volumes and networks of the machine's own Docker Engine; nothing where there is none."""
    command = """
        docker info >/dev/null 2>&1 || exit 0
        docker ps --all --no-trunc --format 'container {{.Names}}\t{{.Image}} {{.State}}'
        docker images --format 'image {{.Repository}}:{{.Tag}}\t{{.ID}}'
        docker volume ls --format 'volume {{.Name}}\t{{.Driver}}'
        docker network ls --format 'network {{.Name}}\t{{.Driver}}'
    """
    return dict(line.split("\t", 1) for line in shell(command).splitlines())


def diff(before: State | Snapshot, after: State | Snapshot, ignore: Iterable[str] = ()) -> list[str]:
    """What differs, a line each: `added /etc/x`, `removed …`, `changed …: 644 -> 755`; empty when it is as before.

    `ignore` are paths or patterns that the test can justify, with all that is under them.
    """
    pairs: list[tuple[str, Mapping[str, object], Mapping[str, object]]]
    if isinstance(before, State) and isinstance(after, State):
        pairs = [
            ("", before.files, after.files),
            ("unit ", before.units, after.units),
            ("", before.accounts, after.accounts),
            ("", before.engine, after.engine),
        ]
    elif isinstance(before, dict) and isinstance(after, dict):
        pairs = [("", before, after)]
    else:
        raise TypeError("a State is compared with a State, a Snapshot with a Snapshot")
    patterns = tuple(ignore)
    return [line for label, old, new in pairs for line in _differences(label, old, new, patterns)]


def _differences(
    label: str, old: Mapping[str, object], new: Mapping[str, object], ignore: tuple[str, ...]
) -> Iterable[str]:
    for name in sorted({*old, *new}):
        if any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*") for pattern in ignore):
            continue
        if name not in old:
            yield f"added {label}{name}: {new[name]}"
        elif name not in new:
            yield f"removed {label}{name}"
        elif old[name] != new[name]:
            yield f"changed {label}{name}: {old[name]} -> {new[name]}"


def _sum(line: str) -> tuple[str, str]:
    digest, _, path = line.partition("  ")
    return path, digest


def _columns(listing: str, column: int) -> dict[str, str]:
    rows = (line.split() for line in listing.splitlines())
    return {row[0]: row[column] for row in rows if len(row) > column}

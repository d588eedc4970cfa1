"""One run at a time per deployment and host, by a lock on the host (DESIGN 5.18).

The lock is an open file of a script that lives as long as this run: when the run is killed, or its connection is
cut, the script's standard input ends and the lock with it. A controller that vanishes without a word is noticed by
its missing heartbeat. So no lock is ever left behind, and what a dead run left is told to the next.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orchestrator.errors import DeployError, LockedError
from orchestrator.hosts.base import Held, Host
from orchestrator.progress import Progress
from orchestrator.resources.scripts import script

_LOOKED = "looked"
HEARTBEAT_S = 5.0
PATIENCE_S = 60
"""Seconds without a heartbeat after which the host takes the run for dead."""


Owner = dict[str, Any]
"""Who held a lock: ``by``, ``command``, ``since``."""


@dataclass(frozen=True)
class Taken:
    """What came with the locks: what ``look`` printed, and whose runs ended without finishing, by deployment."""

    seen: str
    cut: Mapping[str, Owner]


@contextmanager
def locked(
    host: Host, names: tuple[str, ...], *, by: str, command: str, wait_s: float, progress: Progress, look: str
) -> Iterator[Taken]:
    """Hold the locks of these deployments on a host while the block runs.

    ``look`` is a script that runs there once all are held, so that what is known of the host is known under them.
    ``by`` and ``command`` are shown to whoever is refused; ``wait_s`` is how many seconds to queue for each.
    Raises LockedError, which names the owner; UnreachableError.
    """
    owner = json.dumps({"by": by, "command": command, "since": datetime.now(UTC).isoformat(timespec="seconds")})
    with ExitStack() as stack:
        *first, last = sorted(names)
        taken = [stack.enter_context(_one(host, name, owner, wait_s, progress, ":")) for name in first]
        taken.append(stack.enter_context(_one(host, last, owner, wait_s, progress, look)))
        cut = {name: one.cut[name] for one in taken for name in one.cut}
        yield Taken(taken[-1].seen, cut)


@contextmanager
def _one(host: Host, name: str, owner: str, wait_s: float, progress: Progress, look: str) -> Iterator[Taken]:
    settings = {"name": name, "owner": owner, "wait": str(int(wait_s)), "patience": str(PATIENCE_S), "look": look}
    held = host.hold(script("lock", **settings), timeout=wait_s + PATIENCE_S + 30)
    stop = threading.Event()
    beats = threading.Thread(target=_beat, args=(held, stop), daemon=True)
    try:
        said, _, seen = held.answer(_LOOKED).partition("\n")
        before = _check(host, name, said, progress)
        beats.start()
        yield Taken(seen.removesuffix(f"{_LOOKED}\n"), {name: before} if before else {})
    finally:
        stop.set()
        if beats.is_alive():
            beats.join()
        held.release()


def _beat(held: Held, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S) and held.beat():
        pass


def _check(host: Host, name: str, line: str, progress: Progress) -> Owner:
    """The owner whose run has ended without finishing, if there is one. Raises LockedError, DeployError."""
    said, _, rest = line.partition("\t")
    if said == "acquired":
        before = _owner(rest)
        if before:
            progress.warn(f"{_words(before)} ended without finishing; its lock is taken over")
        return before
    if said == "held":
        age, _, text = rest.partition("\t")
        raise LockedError(
            f"another run is at work on {name}",
            host=host.name,
            why=f"{_words(_owner(text))}; last heartbeat {age} s ago",
            remedy="wait for it (--wait SECONDS queues), or end it where it runs: its lock ends with it",
        )
    raise DeployError(
        f"the lock of {name} cannot be taken", host=host.name, why=rest, remedy="is flock (util-linux) there?"
    )


def _owner(text: str) -> Owner:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _words(owner: Owner) -> str:
    return (
        f"`{owner.get('command', 'a run')}` of {owner.get('by', 'somebody')}, since {owner.get('since', 'some time')}"
    )

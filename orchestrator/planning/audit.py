"""The audit trail of a host: who changed what, from where, by which command, and how it ended."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from orchestrator.errors import UnreachableError
from orchestrator.facts import Layout
from orchestrator.hosts.base import Host, quote


def record(host: Host, layout: Layout, *, by: str, command: str, name: str, result: str) -> None:
    """Append a line to ``audit.jsonl``. It never fails a run that is over: a lost line is told by its absence."""
    what = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": by, "command": command}
    line = json.dumps({**what, "deployment": name, "result": result}, ensure_ascii=False)
    file = f"{layout.state}/audit.jsonl"
    with suppress(UnreachableError):
        host.run(f"umask 022; mkdir -p -- {quote(layout.state)} && printf '%s\\n' {quote(line)} >> {quote(file)}")


def record_cut(host: Host, layout: Layout, *, by: str, owners: Mapping[str, Mapping[str, str]]) -> None:
    """Append what became of runs that could not do so themselves: each deployment's lock has told its ``owners``.

    Where such a run was is in the journal. ``by`` is who found it.
    """
    for name, owner in owners.items():
        journal = quote(f"{layout.deployment_state(name)}/journal.jsonl")
        last = host.run(f"tail -n 1 {journal} 2>/dev/null").stdout
        result = f"{reached(last, str(owner.get('since', '')))}; found by {by}"
        who, command = str(owner.get("by", "somebody")), str(owner.get("command", "a run"))
        record(host, layout, by=who, command=command, name=name, result=result)


def reached(line: str, since: str) -> str:
    """How far the run that began at ``since`` came, in words, by the last line of the journal."""
    try:
        said = json.loads(line)
        begun = datetime.fromisoformat(said["at"]) >= datetime.fromisoformat(since)
        step = f"step {said['step']} of generation {said['generation']}: {said['action']} {said['address']}"
        phase = said["phase"]
    except (ValueError, KeyError, TypeError):  # none, or half a line
        begun = False
    if not begun:
        return "cut before its first step"
    return f"cut in {step}" if phase == "begin" else f"cut after {step}"

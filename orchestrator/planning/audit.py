"""The audit trail of a host: who changed what, from where, by which command, and how it ended."""

import json
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

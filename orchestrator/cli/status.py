"""``deployctl status``: every deployment of the hosts, as it is now."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError, ExitStatus

if TYPE_CHECKING:
    from orchestrator.cli.documents import Running, StatusDocument
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host
    from orchestrator.planning.condition import Condition
    from orchestrator.resources.base import Difference

_COLORS = {"serving": "green", "starting": "yellow", "unfinished": "yellow", "failed": "red", "stopped": "red"}

_SHOWN = 40  # characters; more is a digest or a document

_EPILOG = """\b
Examples:
  deployctl status
  deployctl status --host gpus --json
  deployctl status --watch
"""


@click.command(epilog=_EPILOG)
@click.option("--watch", is_flag=True, help="Look again every two seconds, until interrupted.")
@click.option("--exit-code", is_flag=True, help="Exit with 7 when something is not as it was applied, or not serving.")
@host_options
@common_options
def status(watch: bool, exit_code: bool, **options: Any) -> int:
    """Show every deployment: state, model, context, endpoint, age, and what differs from what was applied."""
    from orchestrator.cli.session import Session

    session = Session(options)
    hosts = session.open(session.entries())
    try:
        while True:
            result = _once(session, hosts, exit_code=exit_code, clear=watch)
            if not watch:
                return int(result)
            _pause(2.0)
    finally:
        for host in hosts:
            host.close()


def _pause(seconds: float) -> None:
    from orchestrator.health.clock import SystemClock

    SystemClock().sleep(seconds)


def _once(session: "Session", hosts: "list[Host]", *, exit_code: bool, clear: bool) -> ExitStatus:
    from orchestrator.cli.session import error_document, worst
    from orchestrator.planning.condition import conditions
    from orchestrator.planning.deploy import glance

    def look(host: "Host") -> "tuple[list[Condition], tuple[str, ...], list[str]]":
        seen = glance(host, session.scope)
        down = [manifest.name for manifest in seen.manifests if manifest.status == "down"]
        return conditions(host, seen.manifests), seen.problems, down

    outcomes = session.on_each(hosts, look)
    seen = [(outcome.host.name, *outcome.value) for outcome in outcomes if outcome.value is not None]
    found = [(host, item) for host, items, *_ in seen for item in items]
    unknown = [DeployError(problem, host=host) for host, _, problems, _ in seen for problem in problems]
    if clear and not session.console.json_mode:
        click.clear()
    _table(session, found, silent=[host for host, items, problems, _ in seen if not items and not problems])
    for host, name in ((host, name) for host, *_, down in seen for name in down):
        session.console.say(
            f"{host}: {name} is down, its models are kept (`deployctl down {name} --purge` deletes them)"
        )
    for error in unknown:
        session.console.error(error)
    failures = [*(outcome.error for outcome in outcomes if outcome.error is not None), *unknown]
    statuses = [error.status for error in failures]
    if exit_code and any(item.state != "serving" or item.drift for _, item in found):
        statuses.append(ExitStatus.DIFFERENT)
    document: StatusDocument = {
        "schema": "deployctl.status/1",
        "exit_code": int(worst(statuses)),
        "deployments": [_json(host, item) for host, item in found],
        "errors": [error_document(error) for error in failures],
    }
    session.console.document(document)
    return worst(statuses)


def _table(session: "Session", found: "list[tuple[str, Condition]]", silent: list[str]) -> None:
    from orchestrator.planning.truth import compared

    console = session.console
    if console.json_mode:
        return
    rows: list[tuple[str, ...]] = [("HOST", "NAME", "STATE", "MODEL", "CONTEXT", "ENDPOINT", "APPLIED")]
    rows += [_row(host, item) for host, item in found]
    if found:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            if number:
                cells[2] = click.style(cells[2], fg=_COLORS.get(found[number - 1][1].state))
            console.say("  ".join(cells).rstrip())
    for host, item in found:
        if memory := compared(item.manifest.fit, item.taken):
            console.say(f"  {item.manifest.name} on {host}: {memory}")
        for line in _remarks(item):
            console.say(f"  {item.manifest.name} on {host}: {line}", fg="red" if "OPEN" in line else "yellow")
    for host in silent:
        console.say(f"{host}: nothing is deployed")


def _row(host: str, item: "Condition") -> tuple[str, ...]:
    summary = item.manifest.summary
    return (
        host,
        item.manifest.name,
        item.state,
        summary.get("model", ""),
        summary.get("context", ""),
        item.manifest.endpoint.url,
        _age(item.manifest.applied_at),
    )


def _remarks(item: "Condition") -> list[str]:
    from orchestrator.planning.truth import spilled

    lines = []
    if warning := spilled(item.manifest.fit, item.taken):
        lines.append(warning)
    if item.manifest.endpoint.exposed:
        lines.append("OPEN: other machines reach the engine itself, without the gateway (--expose direct)")
    if item.state == "unfinished":
        lines.append("a run began and did not finish: `deployctl up` goes on, `deployctl down` clears away")
    if item.state in ("failed", "stopped"):
        name = item.manifest.name
        lines.append(f"{item.service.detail}: `deployctl logs {name}` says more, `deployctl up` starts it again")
    if item.service.restarts:
        lines.append(f"restarted by itself {item.service.restarts} times since it was applied")
    for drift in item.drift:
        what = ", ".join(_told(difference) for difference in drift.differences) or "gone"
        lines.append(
            f"{drift.title} {drift.identity} differs from what was applied, {drift.cause} ({what}); "
            "`deployctl up` repairs it"
        )
    return lines


def _told(difference: "Difference") -> str:
    """A field, with its values where they say something to people."""
    before, now = difference.wanted, difference.observed
    plain = all(isinstance(value, str) and 0 < len(value) <= _SHOWN for value in (before, now))
    return f"{difference.field} {before} → {now}" if plain else difference.field


def _age(moment: str) -> str:
    """How long ago, in the largest unit that fits."""
    from datetime import UTC, datetime

    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{max(0, seconds)} s ago"


def _json(host: str, item: "Condition") -> "Running":
    manifest = item.manifest
    return {
        "host": host,
        "name": manifest.name,
        "runtime": manifest.runtime,
        "state": item.state,
        "generation": manifest.generation,
        "endpoint": manifest.endpoint,
        "exposed": manifest.endpoint.exposed,
        "summary": manifest.summary,
        "fit": manifest.fit,
        "taken": item.taken,
        "applied_at": manifest.applied_at,
        "applied_by": manifest.applied_by,
        "service": item.service,
        "drift": list(item.drift),
    }

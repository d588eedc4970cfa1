"""``deployctl status``: every deployment of the hosts, as it is now."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError, ExitStatus

if TYPE_CHECKING:
    from orchestrator.cli.console import Console
    from orchestrator.cli.documents import Running, StatusDocument
    from orchestrator.cli.session import Session
    from orchestrator.cli.status_table import Shown
    from orchestrator.hosts.base import Host
    from orchestrator.planning.condition import Condition

_WIDTH = 100
_EVERY_S = 2.0

_EPILOG = """\b
Examples:
  deployctl status
  deployctl status --host gpus --json
  deployctl status --watch
"""


@click.command(epilog=_EPILOG)
@click.option("--watch", is_flag=True, help="Look again every two seconds, until interrupted.")
@click.option("--wide", is_flag=True, help="Show every column, however wide the table gets.")
@click.option("--exit-code", is_flag=True, help="Exit with 7 when something is not as it was applied, or not serving.")
@host_options
@common_options
def status(watch: bool, wide: bool, exit_code: bool, **options: Any) -> int:
    """Show every deployment: state, model, memory, load, endpoint, age, what is wrong with it and what to do."""
    from orchestrator.cli.session import Session

    session = Session(options)
    hosts = session.open(session.entries())
    try:
        if watch:
            _watch(session, hosts, wide=wide)
        found = _look(session, hosts)
        _print(session.console, found, wide=wide)
        return _ended(session, found, exit_code=exit_code)
    finally:
        for host in hosts:
            host.close()


def _look(session: "Session", hosts: "list[Host]") -> "Shown":
    """Look at all hosts at once: each takes two round trips, and those that are dead no longer than the connection."""
    from orchestrator.cli.status_table import Shown
    from orchestrator.hosts.connect import on_each
    from orchestrator.planning.condition import conditions
    from orchestrator.planning.deploy import Survey, glance

    def look(host: "Host") -> "tuple[Survey, list[Condition]]":
        seen = glance(host, session.scope)
        return seen, conditions(host, seen, session.addresses.get(host.name, ()))

    shown = Shown()
    limit = session.options.get("parallel_hosts") or len(hosts)
    for outcome in on_each(hosts, look, limit=limit):
        host = outcome.host.name
        if outcome.error is not None:
            shown.errors.append(outcome.error)
        if outcome.value is None:
            shown.unknown.append(host)
            continue
        seen, found = outcome.value
        shown.errors += [DeployError(problem, host=host) for problem in seen.problems]
        shown.found += [(host, item) for item in found]
        shown.down += [(host, manifest.name) for manifest in seen.manifests if manifest.status == "down"]
        if not found and not seen.problems:
            shown.silent.append(host)
    return shown


def _print(console: "Console", found: "Shown", *, wide: bool) -> None:
    from orchestrator.cli.status_table import lines

    if not console.json_mode:
        for line in lines(found, None if wide else _width()):
            console.say(line)
    for error in found.errors:
        console.error(error)


def _width() -> int:
    """As wide as the terminal; where there is none, what fits most."""
    import shutil
    import sys

    return shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH


def _watch(session: "Session", hosts: "list[Host]", *, wide: bool) -> None:
    """Look again and again, until interrupted: in place on a terminal, else one answer after the other."""
    from orchestrator.health.clock import SystemClock

    with _screen(session, wide=wide) as show:
        while True:
            show(_look(session, hosts))
            SystemClock().sleep(_EVERY_S)


@contextmanager
def _screen(session: "Session", *, wide: bool) -> "Iterator[Callable[[Shown], None]]":
    """Where ``--watch`` shows what it finds."""
    import sys

    console = session.console
    if console.json_mode or not sys.stdout.isatty():

        def plainly(found: "Shown") -> None:
            _print(console, found, wide=wide)
            _ended(session, found, exit_code=False)

        yield plainly
        return
    from rich.console import Console as RichConsole
    from rich.live import Live
    from rich.text import Text

    from orchestrator.cli.status_table import lines, told

    with Live(console=RichConsole(no_color=not console.color), auto_refresh=False, screen=False) as live:

        def in_place(found: "Shown") -> None:
            all_lines = [*lines(found, None if wide else _width()), *told(found.errors)]
            live.update(Text.from_ansi("\n".join(all_lines)), refresh=True)

        yield in_place


def _ended(session: "Session", found: "Shown", *, exit_code: bool) -> ExitStatus:
    from orchestrator.cli.session import error_document, worst

    statuses = [error.status for error in found.errors]
    if exit_code and any(item.state != "serving" for _, item in found.found):
        statuses.append(ExitStatus.DIFFERENT)
    document: StatusDocument = {
        "schema": "deployctl.status/1",
        "exit_code": int(worst(statuses)),
        "deployments": [_json(host, item) for host, item in found.found],
        "errors": [error_document(error) for error in found.errors],
    }
    session.console.document(document)
    return worst(statuses)


def _json(host: str, item: "Condition") -> "Running":
    from orchestrator.cli.status_table import exposure

    manifest = item.manifest
    return {
        "host": host,
        "name": manifest.name,
        "runtime": manifest.runtime,
        "state": item.state,
        "phase": item.phase,
        "remarks": list(item.remarks),
        "generation": manifest.generation,
        "endpoint": manifest.endpoint,
        "exposed": manifest.endpoint.exposed,
        "exposure": exposure(manifest.endpoint),
        "summary": manifest.summary,
        "fit": manifest.fit,
        "taken": item.taken,
        "loaded": item.loaded,
        "devices": item.devices,
        "load": item.load,
        "uptime_s": item.uptime_s,
        "applied_at": manifest.applied_at,
        "applied_by": manifest.applied_by,
        "service": item.service,
        "drift": list(item.drift),
    }

"""``deployctl logs``: what an engine says, from wherever its supervisor keeps it."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError, RefusedError

if TYPE_CHECKING:
    from orchestrator.cli.documents import LogsDocument
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host

_FOLLOW_S = 24 * 3600.0
_TIME_IS_UP = 124

_EPILOG = """\b
Examples:
  deployctl logs vllm --host gpu01 -n 500
  deployctl logs ollama --follow
"""


@click.command(epilog=_EPILOG)
@click.argument("name", metavar="ollama|vllm|NAME")
@click.option(
    "--lines", "-n", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Last lines to show."
)
@click.option("--follow", "-f", is_flag=True, help="Go on as new lines come, until interrupted.")
@host_options
@common_options
def logs(name: str, lines: int, follow: bool, **options: Any) -> int:
    """Show an engine's log: of journald, Docker or a file alike, with secrets masked."""
    from orchestrator.cli.session import Session, error_document, worst

    session = Session(options)
    hosts = session.open(session.entries())
    prefix = len(hosts) > 1

    def show(host: "Host") -> list[str]:
        return _show(session, host, name, lines, follow=follow, prefix=prefix)

    try:
        outcomes = session.on_each(hosts, show)
    finally:
        for host in hosts:
            host.close()
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    status = worst([error.status for error in failures])
    document: LogsDocument = {
        "schema": "deployctl.logs/1",
        "exit_code": int(status),
        "logs": [
            {"host": outcome.host.name, "name": name, "lines": outcome.value}
            for outcome in outcomes
            if outcome.value is not None
        ],
        "errors": [error_document(error) for error in failures],
    }
    session.console.document(document)
    return int(status)


def _show(session: "Session", host: "Host", name: str, lines: int, *, follow: bool, prefix: bool) -> list[str]:
    from orchestrator.health.mask import mask
    from orchestrator.planning.deploy import glance

    seen = glance(host, session.scope)
    manifest = next(
        (item for item in seen.manifests if name in (item.name, item.runtime) and item.status != "down"), None
    )
    service = manifest.running_service if manifest else None
    if service is None:
        raise RefusedError(f"{name} is not deployed", host=host.name, remedy="deployctl status")
    shown: list[str] = []

    def line(text: str) -> None:
        text = mask(text, ())
        shown.append(text)
        session.console.say(f"{host.name} | {text}" if prefix else text)

    follow = follow and not session.console.json_mode
    script = service.log_script(lines=lines, follow=follow)
    result = host.run(script, timeout=_FOLLOW_S if follow else 60.0, on_line=line)
    if not result and result.exited != _TIME_IS_UP:
        why = "" if shown else result.tail()
        raise DeployError(f"the log of {name} cannot be read", host=host.name, why=why, remedy="deployctl status")
    return [] if follow else shown

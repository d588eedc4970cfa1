"""``deployctl history`` and ``deployctl rollback``: the generations of a deployment, and the way back to one."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import change_options, common_options, host_options, start_options
from orchestrator.errors import RefusedError

if TYPE_CHECKING:
    from orchestrator.cli.documents import HistoryDocument, Past
    from orchestrator.hosts.base import Host
    from orchestrator.planning.generation import Generation
    from orchestrator.planning.manifest import Manifest

_HISTORY_EPILOG = """\b
Example:
  deployctl history vllm --host gpu01
"""

_ROLLBACK_EPILOG = """\b
Examples:
  deployctl rollback vllm --host gpu01           to the last healthy generation before this one
  deployctl rollback vllm --host gpu01 --to 3
"""


@click.command(epilog=_HISTORY_EPILOG)
@click.argument("name", metavar="ollama|vllm|NAME")
@host_options
@common_options
def history(name: str, **options: Any) -> int:
    """List the generations that are kept on the host: when, by whom, by which command, healthy or not."""
    from orchestrator.cli.session import Session, error_document, worst
    from orchestrator.planning.deploy import survey
    from orchestrator.planning.generation import read_generations

    session = Session(options)
    hosts = session.open(session.entries())

    def one(host: "Host") -> "tuple[int, tuple[Generation, ...]]":
        seen = survey(host, session.scope)
        manifest = seen.deployed(name)
        return manifest.generation, read_generations(host, seen.facts.layout.deployment_state(manifest.name))

    try:
        outcomes = session.on_each(hosts, one)
    finally:
        for host in hosts:
            host.close()
    found = [(outcome.host.name, *outcome.value) for outcome in outcomes if outcome.value is not None]
    rows = [_row(host, current, item) for host, current, kept in found for item in kept]
    for row in rows:
        session.console.say(_line(row))
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    status = worst([error.status for error in failures])
    document: HistoryDocument = {
        "schema": "deployctl.history/1",
        "exit_code": int(status),
        "name": name,
        "generations": rows,
        "errors": [error_document(error) for error in failures],
    }
    session.console.document(document)
    return int(status)


def _row(host: str, current: int, item: "Generation") -> "Past":
    return {
        "host": host,
        "generation": item.number,
        "current": item.number == current,
        "applied_at": item.manifest.applied_at,
        "applied_by": item.manifest.applied_by,
        "cause": item.cause,
        "healthy": item.healthy,
        "seconds": item.seconds,
        "summary": item.manifest.summary,
        "evidence": item.evidence,
    }


def _line(row: "Past") -> str:
    health = {True: "healthy", False: "unhealthy", None: "unknown"}[row["healthy"]]
    served = " ".join(row["summary"].get(key, "") for key in ("model", "version")).strip()
    mark = "*" if row["current"] else " "
    when = f"{row['applied_at']}  {health:<9}"
    return f"{row['host']} {mark}{row['generation']:>4}  {when}  {served}  by {row['applied_by']}: {row['cause']}"


@click.command(epilog=_ROLLBACK_EPILOG)
@click.argument("name", metavar="ollama|vllm|NAME")
@click.option(
    "--to",
    "number",
    type=click.IntRange(1),
    metavar="N",
    help="Generation to return to (default: the last healthy one).",
)
@start_options
@change_options
@host_options
@common_options
def rollback(name: str, number: int | None, **options: Any) -> int:
    """Return to an earlier generation, after checking that all its parts still exist."""
    from orchestrator.cli.execute import Execution, Locks, Work, command_line
    from orchestrator.cli.session import Session
    from orchestrator.planning.deploy import survey
    from orchestrator.planning.recall import return_to

    session = Session({**options, "no_rollback": True})
    command = command_line(["rollback", name, *(["--to", str(number)] if number else [])])
    hosts = session.open(session.entries())
    try:
        with Locks(session, command, options["lock_wait"]) as locks:

            def one(host: "Host") -> Work:
                manifest = survey(host, session.scope).deployed(name)
                seen = locks.take(host, (manifest.name,))  # anew: another run may just have ended
                manifest = seen.deployed(name)
                target = number or _healthy_before(manifest, host.name)
                return Work(host, seen, [return_to(host, seen, manifest, target)])

            outcomes = session.on_each(hosts, one)
            works = [outcome.value for outcome in outcomes if outcome.value is not None]
            failures = [outcome.error for outcome in outcomes if outcome.error is not None]
            return int(Execution(session, command, "deployctl.rollback/1").run(works, failures))
    finally:
        for host in hosts:
            host.close()


def _healthy_before(manifest: "Manifest", host: str) -> int:
    from orchestrator.planning.generation import last_healthy

    unfinished = manifest.status == "applying"  # then it is the last one itself that is to come back
    target = last_healthy(manifest.kept, before=manifest.generation + unfinished)
    if target is None:
        raise RefusedError(
            f"{manifest.name} has no earlier healthy generation", host=host, remedy=f"deployctl history {manifest.name}"
        )
    return target.number

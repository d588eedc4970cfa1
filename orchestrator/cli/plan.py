"""``deployctl plan`` and ``deployctl apply``: see it before it happens, then do exactly that."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import (
    change_options,
    common_options,
    force_option,
    host_options,
    spec_options,
    start_options,
)
from orchestrator.errors import DeployError, ExitStatus

if TYPE_CHECKING:
    from orchestrator.cli.execute import Work
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host

_PLAN_EPILOG = """\b
Examples:
  deployctl plan vllm --host gpu01
  deployctl plan ollama --host gpu01 --num-parallel 8 --out change.json
  deployctl plan --exit-code                     all that deployctl.yaml names; 7 when there is something to do
"""

_APPLY_EPILOG = """\b
Example:
  deployctl apply change.json
"""


@click.command(epilog=_PLAN_EPILOG)
@click.argument("runtime", required=False, metavar="[ollama|vllm]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Save it for `apply`.")
@click.option("--exit-code", is_flag=True, help="Exit with 7 when there is something to do.")
@spec_options
@force_option
@host_options
@common_options
def plan(runtime: str | None, out: Path | None, exit_code: bool, **options: Any) -> int:
    """Show what `up` would change, value by value, and what that means for clients. Changes nothing."""
    from orchestrator.cli.planner import Planner
    from orchestrator.cli.session import Session, error_document, runtime_argument, worst
    from orchestrator.planning.deploy import operator, survey
    from orchestrator.planning.saved import HostPlans, Trouble, saved_plan

    session = Session(options)
    planner = Planner(session, runtime_argument(runtime))
    hosts = session.open(planner.entries)
    try:
        works, failures = planner.plans(hosts, lambda host, names: survey(host, session.scope))
    finally:
        for host in hosts:
            host.close()
    _show(session, works)
    statuses = [error.status for error in failures]
    if exit_code and any(made.work for work in works for made in work.plans):
        statuses.append(ExitStatus.DIFFERENT)
    entries = {entry.name: entry for entry in planner.entries}
    saved = saved_plan(
        [HostPlans(entry=entries[work.host.name], plans=tuple(work.plans), impact=_impacts(work)) for work in works],
        [Trouble(**error_document(error)) for error in failures],
        by=operator(),
        scope=session.scope,
        exit_code=worst(statuses),
    )
    if out is not None and failures:
        session.console.tell("nothing is saved: there is no plan for every host", fg="yellow")
    elif out is not None:
        _write(out, saved.document())
        session.console.say(f"saved: deployctl apply {quote(str(out))}")
    session.console.document(saved.document())
    return int(worst(statuses))


def _impacts(work: "Work") -> dict[str, str]:
    from orchestrator.planning.show import impact

    running = {made.deployment.name: work.seen.manifest(made.deployment.name) for made in work.plans}
    before = {name: manifest.summary if manifest else {} for name, manifest in running.items()}
    return {made.deployment.name: impact(made, before[made.deployment.name]) for made in work.plans}


def _write(out: Path, document: dict[str, Any]) -> None:
    import json

    try:
        out.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise DeployError(f"cannot write {out}", why=str(error.strerror)) from error


def _show(session: "Session", works: "list[Work]") -> None:
    from orchestrator.planning.show import details, headline

    colors = {"+": "green", "-": "red", "@": "cyan"}
    for work in works:
        impacts = _impacts(work)
        for made in work.plans:
            session.console.say(
                f"{made.deployment.name} on {work.host.name}: {len(made.work) or 'no'} changes", bold=True
            )
            for change in made.work:
                session.console.say(f"  {headline(change)}")
                for line in details(change):
                    session.console.say(f"      {line}", fg=colors.get(line[:1]))
            session.console.say(f"  impact: {impacts[made.deployment.name]}")


@click.command(epilog=_APPLY_EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@start_options
@change_options
@host_options
@common_options
def apply(file: Path, **options: Any) -> int:
    """Carry out a saved plan exactly, or refuse when the host or the files to send have changed since."""
    from orchestrator.cli.execute import Execution, Locks, Work, command_line
    from orchestrator.cli.session import Session
    from orchestrator.planning.deploy import plan as compare
    from orchestrator.planning.saved import check_unchanged, read_plan

    saved = read_plan(file)
    session = Session({**options, "scope": saved.scope})
    by_name = {item.entry.name: item for item in saved.hosts}
    command = command_line(["apply", file.name])
    hosts = session.open([item.entry for item in saved.hosts])

    try:
        with Locks(session, command, options["lock_wait"]) as locks:

            def one(host: "Host") -> Work:
                mine = by_name[host.name].plans
                seen = locks.take(host, tuple(made.deployment.name for made in mine))
                plans = [compare(host, made.deployment, seen) for made in mine]
                for before, now in zip(mine, plans, strict=True):
                    check_unchanged(before, now)
                return Work(host, seen, plans)

            outcomes = session.on_each(hosts, one)
            works = [outcome.value for outcome in outcomes if outcome.value is not None]
            failures = [outcome.error for outcome in outcomes if outcome.error is not None]
            return int(Execution(session, command, "deployctl.apply/1").run(works, failures))
    finally:
        for host in hosts:
            host.close()

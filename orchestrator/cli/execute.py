"""Carrying plans out on several hosts: show, confirm, apply, report. What ``up``, ``apply`` and ``rollback`` share."""

from contextlib import ExitStack
from dataclasses import dataclass
from shlex import join
from typing import TYPE_CHECKING

import click

from orchestrator.errors import DeployError, ExitStatus, StoppedError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.documents import Applied, AppliedDocument
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host
    from orchestrator.hosts.secret import Secret
    from orchestrator.planning.carry_out import Outcome
    from orchestrator.planning.deploy import Survey
    from orchestrator.planning.lock import Owner
    from orchestrator.planning.plan import Plan
    from orchestrator.planning.stop import Stop
    from orchestrator.spec.models import HooksSpec


@dataclass(frozen=True)
class Work:
    """What is to be done on one host, as it was when looked at.

    ``hooks`` are the user's commands around it, and ``secrets`` the names of variables that they must not see.
    """

    host: "Host"
    seen: "Survey"
    plans: "list[Plan]"
    hooks: "HooksSpec | None" = None
    secrets: tuple[str, ...] = ()


class Locks:
    """The locks of a command on its hosts, held until it ends."""

    def __init__(self, session: "Session", command: str, wait_s: float) -> None:
        self.session, self.command, self.wait_s = session, command, wait_s
        self._stack = ExitStack()

    def take(self, host: "Host", names: tuple[str, ...]) -> "Survey":
        """Take the locks of these deployments, and observe the host under them. Safe from several threads, one a host.

        Raises LockedError, and what ``survey`` raises.
        """
        from orchestrator.hosts.base import Result
        from orchestrator.planning.audit import record_cut
        from orchestrator.planning.deploy import operator, survey
        from orchestrator.planning.lock import locked

        progress, wait_s, me = self.session.console.for_host(host.name), self.wait_s, operator()
        cut: dict[str, Owner] = {}

        def ask(look: str) -> Result:
            held = locked(host, names, by=me, command=self.command, wait_s=wait_s, progress=progress, look=look)
            taken = self._stack.enter_context(held)
            cut.update(taken.cut)
            return Result(0, taken.seen)

        seen = survey(host, self.session.scope, ask)
        record_cut(host, seen.facts.layout, by=me, owners=cut)
        return seen

    def __enter__(self) -> "Locks":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def command_line(words: list[str]) -> str:
    """The command as typed, for the lock, the generation and the audit; its options hold no secrets."""
    return join(["deployctl", *words])


class Execution:
    """One command that changes hosts. ``cause`` is how it is remembered there."""

    def __init__(self, session: "Session", cause: str, schema: str) -> None:
        self.session, self.cause, self.schema = session, cause, schema
        self.console = session.console
        self._first_keys: dict[tuple[str, str], Secret] = {}

    def run(self, works: list[Work], failures: list[DeployError]) -> ExitStatus:
        """Show what is to be done, ask, do it on every host, and report. ``failures`` are those of planning."""
        from orchestrator.cli import hooks
        from orchestrator.cli.interrupt import stoppable
        from orchestrator.cli.session import worst

        self._show(works)
        if any(plan.work for work in works for plan in work.plans):
            self._confirm()
        hooks.before(self.session, works, self.cause)
        by_host = {work.host.name: work for work in works}
        with self.console.progress(), stoppable(self.console) as stop:
            hosts = [work.host for work in works]
            done = self.session.on_each(hosts, lambda host: self._carry_out(by_host[host.name], stop))
        failures = [*failures, *(outcome.error for outcome in done if outcome.error is not None)]
        results = [result for outcome in done for result in outcome.value or ()]
        statuses = [error.status for error in failures]
        statuses += [ExitStatus.UNHEALTHY for result in results if not result.report.healthy]
        for result in results:
            self._report(result)
        hooks.after(self.session, works, results, self.cause)
        self.console.document(self._document(results, failures, worst(statuses)))
        return worst(statuses)

    def _show(self, works: list[Work]) -> None:
        from orchestrator.planning.show import headline, impact

        for work in works:
            for plan in work.plans:
                name = f"{plan.deployment.name} on {work.host.name}"
                if not plan.work:
                    self.console.say(f"{name}: nothing to change")
                    continue
                manifest = work.seen.manifest(plan.deployment.name)
                self.console.say(f"{name}: {len(plan.work)} changes", bold=True)
                for change in plan.work:
                    self.console.say(f"  {headline(change)}")
                self.console.say(f"  impact: {impact(plan, manifest.summary if manifest else {})}")

    def _confirm(self) -> None:
        import sys

        if self.session.options.get("yes"):
            return
        if self.console.json_mode or not sys.stdin.isatty():
            raise UsageError("nobody is there to confirm the changes", remedy="add --yes")
        click.confirm("Apply these changes?", abort=True, err=True)

    def _carry_out(self, work: Work, stop: "Stop") -> "list[Outcome]":
        from orchestrator.health.clock import SystemClock
        from orchestrator.planning.audit import record
        from orchestrator.planning.carry_out import Run, carry_out
        from orchestrator.planning.deploy import operator, survey
        from orchestrator.planning.deploy import plan as compare

        option, seen = self.session.options.get, work.seen
        run = Run(
            host=work.host,
            layout=seen.facts.layout,
            scope=self.session.scope,
            by=operator(),
            cause=self.cause,
            progress=self.console.for_host(work.host.name),
            clock=SystemClock(),
            stop=stop,
            deadline_s=option("deadline"),
            returns=not option("no_rollback"),
            addresses=self.session.addresses.get(work.host.name, ()),
        )
        results = []
        for number, made in enumerate(work.plans):
            if number:  # what the first has made since, the others may share
                seen = survey(work.host, self.session.scope)
            plan = compare(work.host, made.deployment, seen) if number else made
            name, result = plan.deployment.name, "failed"
            try:
                outcome = carry_out(run, plan, seen.manifest(name))
                results.append(outcome)
                self._remember_first_key(work.host, plan)
                result = _result(outcome)
            except StoppedError as error:
                result = f"interrupted; {error.why}"
                raise
            finally:
                if plan.work:
                    record(work.host, run.layout, by=run.by, command=self.cause, name=name, result=result)
        return results

    def _remember_first_key(self, host: "Host", plan: "Plan") -> None:
        """A key that was just made is shown once, to people."""
        from orchestrator.resources.gateway_keys import GatewayKeys, usable

        for change in plan.work:
            if isinstance(change.resource, GatewayKeys) and change.action == "create" and not self.console.json_mode:
                key = usable(change.resource.read(host), "user", 0.0)
                if key is not None:
                    self._first_keys[host.name, plan.deployment.name] = key

    def _report(self, result: "Outcome") -> None:
        from orchestrator.cli.usage import usage
        from orchestrator.health.format import lines
        from orchestrator.planning.truth import compared, spilled

        fit = result.plan.deployment.fit
        self.console.say(f"\n{result.plan.deployment.name} on {result.plan.host}:", bold=True)
        for line in lines(result.report):
            self.console.say(f"  {line}")
        if result.steps:
            self.console.say(f"  took    {_took(result)}")
        if memory := compared(fit, result.taken):
            self.console.say(f"  memory  {memory}")
        if warning := spilled(fit, result.taken):
            self.console.say(f"  warning: {warning}", fg="yellow")
        if result.report.healthy:
            key = self._first_keys.get((result.plan.host, result.plan.deployment.name))
            for line in usage(result.plan, "" if self.session.scope is None else f" --{self.session.scope}", key):
                self.console.say(line)
        if result.returned is not None:
            word = "serves again" if result.returned.report.healthy else "is not healthy either"
            self.console.say(
                f"  returned to what was healthy before, as generation {result.returned.generation}: it {word}"
            )

    def _document(self, results: "list[Outcome]", failures: list[DeployError], status: ExitStatus) -> "AppliedDocument":
        from orchestrator.cli.session import error_document

        return {
            "schema": self.schema,
            "exit_code": int(status),
            "deployments": [_json(result) for result in results],
            "errors": [error_document(error) for error in failures],
        }


def _result(outcome: "Outcome") -> str:
    state = "healthy" if outcome.report.healthy else "unhealthy"
    return f"{state}; returned, as generation {outcome.returned.generation}" if outcome.returned else state


def _took(outcome: "Outcome") -> str:
    """How long it all took, and what of it took longer than a second."""
    long = [f"{step.what} {step.seconds:.0f} s" for step in outcome.steps if step.seconds >= 1]
    return ": ".join([f"{sum(step.seconds for step in outcome.steps):.0f} s", *([", ".join(long)] if long else [])])


def _json(outcome: "Outcome") -> "Applied":
    plan = outcome.plan
    return {
        "host": plan.host,
        "name": plan.deployment.name,
        "runtime": plan.deployment.runtime,
        "generation": outcome.generation,
        "endpoint": plan.deployment.endpoint,
        "exposed": plan.deployment.endpoint.exposed,
        "changes": [
            {
                "action": change.action,
                "kind": change.resource.kind,
                "identity": change.resource.identity,
                "fields": [difference.field for difference in change.differences],
            }
            for change in plan.work
        ],
        "notes": list(plan.deployment.notes),
        "warnings": list(plan.deployment.warnings),
        "health": outcome.report,
        "fit": plan.deployment.fit,
        "taken": outcome.taken,
        "returned": _json(outcome.returned) if outcome.returned else None,
    }

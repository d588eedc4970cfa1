"""``deployctl up``: plan, confirm, apply, check, and say how to use it."""

import json
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options, seconds, spec_options
from orchestrator.errors import DeployError, ExitStatus, UnhealthyError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.health.report import HealthReport
    from orchestrator.hosts.base import Host
    from orchestrator.planning.deploy import Survey
    from orchestrator.planning.plan import Change, Plan
    from orchestrator.planning.resolve import Resolver
    from orchestrator.spec import Spec

_EPILOG = """\b
Examples:
  deployctl up ollama                                   the worked example, on this machine
  deployctl up vllm --gpu-mem 1.0 --max-model-len 24576
  deployctl up ollama --host gpu01 --model hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M
  deployctl up vllm --host gpu01 --host gpu02 --yes
  deployctl up                                          all that deployctl.yaml names
"""


@click.command(epilog=_EPILOG)
@click.argument("runtime", required=False, metavar="[ollama|vllm]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option(
    "--wait",
    "deadline",
    type=seconds,
    metavar="SECONDS",
    help="How long the engine may take to start [default: 600, vLLM 1800].",
)
@spec_options
@host_options
@common_options
def up(runtime: str | None, yes: bool, deadline: float | None, **options: Any) -> int:
    """Deploy a runtime (or all that the spec names) and prove that the endpoint generates.

    Run it again at any time: what is already as wanted is left alone.
    """
    from orchestrator.cli.session import Session, runtime_argument

    session = Session(options)
    return int(_Up(session, runtime_argument(runtime), yes, deadline).run())


class _Up:
    def __init__(self, session: "Session", runtime: str | None, yes: bool, deadline: float | None) -> None:
        self.session, self.runtime, self.yes, self.deadline = session, runtime, yes, deadline
        self.console = session.console

    def run(self) -> ExitStatus:
        from orchestrator.cli.session import worst

        spec = self._checked_spec()
        entries = self.session.entries(spec.hosts)
        specs = {entry.name: self.session.spec(self.runtime, entry) for entry in entries}
        hosts = self.session.open(entries)
        try:
            with self.console.progress():
                resolvers = self._resolvers(specs)
                surveyed = self.session.on_each(
                    hosts, lambda host: self._plan(host, specs[host.name], resolvers[host.name])
                )
            plans = [outcome.value for outcome in surveyed if outcome.value is not None]
            self._show(plans)
            if any(plan.work for _, seen in plans for plan in seen):
                self._confirm()
            ready = [outcome.host for outcome in surveyed if outcome.value is not None]
            by_host = {survey.facts.host: (survey, made) for survey, made in plans}
            with self.console.progress():
                applied = self.session.on_each(ready, lambda host: self._apply(host, *by_host[host.name]))
        finally:
            for host in hosts:
                host.close()
        failures = [error for outcomes in (surveyed, applied) for item in outcomes if (error := item.error)]
        results = [result for outcome in applied for result in outcome.value or ()]
        statuses = [error.status for error in failures]
        statuses += [ExitStatus.UNHEALTHY for _, report in results if not report.healthy]
        for plan, report in results:
            self._report(plan, report)
        self.console.document(_document(results, failures, worst(statuses)))
        return worst(statuses)

    def _checked_spec(self) -> "Spec":
        spec = self.session.spec(self.runtime)
        if not spec.runtimes():
            raise UsageError(
                "no runtime is named",
                remedy="say `deployctl up ollama` or `deployctl up vllm`, or name them in a deployctl.yaml",
            )
        return spec

    def _resolvers(self, specs: "dict[str, Spec]") -> "dict[str, Resolver]":
        """One for all hosts of the same spec, so that nothing is looked up or hashed twice."""
        from orchestrator.planning.resolve import Resolver

        made: dict[str, Resolver] = {}
        keys = {host: spec.model_dump_json() for host, spec in specs.items()}
        for host, key in keys.items():
            made.setdefault(key, Resolver(specs[host], self.console.for_host("here")))
        return {host: made[key] for host, key in keys.items()}

    def _plan(self, host: "Host", spec: "Spec", resolver: "Resolver") -> "tuple[Survey, list[Plan]]":
        from orchestrator.planning.deploy import plan, survey, want

        progress = self.console.for_host(host.name)
        seen = survey(host, self.session.scope)
        for problem in seen.problems:
            progress.warn(problem)
        runtimes = (self.runtime,) if self.runtime else spec.runtimes()
        wanted = [want(spec, runtime, seen, resolver, self.session.templates) for runtime in runtimes]
        for deployment in wanted:
            for note in deployment.notes:
                progress.note(note)
            for warning in deployment.warnings:
                progress.warn(warning)
        return seen, [plan(host, deployment, seen) for deployment in wanted]

    def _show(self, plans: "list[tuple[Survey, list[Plan]]]") -> None:
        for survey, made in plans:
            for plan in made:
                name = f"{plan.deployment.name} on {survey.facts.host}"
                if not plan.work:
                    self.console.say(f"{name}: nothing to change")
                    continue
                self.console.say(f"{name}: {len(plan.work)} changes", bold=True)
                signs = {"create": "+", "update": "~", "remove": "-"}
                for change in plan.work:
                    self.console.say(f"  {signs[change.action]} {_in_words(change)}")

    def _confirm(self) -> None:
        import sys

        if self.yes:
            return
        if self.console.json_mode or not sys.stdin.isatty():
            raise UsageError("nobody is there to confirm the changes", remedy="add --yes")
        click.confirm("Apply these changes?", abort=True, err=True)

    def _apply(self, host: "Host", seen: "Survey", plans: "list[Plan]") -> "list[tuple[Plan, HealthReport]]":
        from orchestrator.health.clock import SystemClock
        from orchestrator.health.ladder import check
        from orchestrator.planning.apply import apply_plan
        from orchestrator.planning.deploy import operator, survey
        from orchestrator.planning.deploy import plan as compare

        progress = self.console.for_host(host.name)
        results = []
        for number, made in enumerate(plans):
            if number:  # what the first has made since, the others may share
                seen = survey(host, self.session.scope)
            plan = compare(host, made.deployment, seen) if number else made
            before = seen.manifest(plan.deployment.name)
            silent: UnhealthyError | None = None
            deadline = self.deadline or {"ollama": 600.0, "vllm": 1800.0}[plan.deployment.runtime]
            try:
                apply_plan(host, plan, seen.facts.layout, before, operator(), progress)
            except UnhealthyError as error:  # it was waited for: only see why it does not answer
                silent, deadline = error, 0.0
            report = check(
                host,
                plan.deployment.endpoint,
                plan.service,
                deadline_s=deadline,
                progress=progress,
                clock=SystemClock(),
            )
            if silent and report.healthy:
                raise silent
            results.append((plan, report))
        return results

    def _report(self, plan: "Plan", report: "HealthReport") -> None:
        from orchestrator.health.format import lines

        self.console.say(f"\n{plan.deployment.name} on {plan.host}:", bold=True)
        for line in lines(report):
            self.console.say(f"  {line}")
        if report.healthy:
            for line in _usage(plan, "" if self.session.scope is None else f" --{self.session.scope}"):
                self.console.say(line)


def _in_words(change: "Change") -> str:
    """What is changed, and in which fields."""
    fields = ", ".join(item.field for item in change.differences) if change.action == "update" else ""
    return f"{change.resource.title} {change.resource.identity}{f'  ({fields})' if fields else ''}"


def _usage(plan: "Plan", scope: str) -> list[str]:
    """How to call the endpoint, and what to type next, ready to paste."""
    deployment, endpoint = plan.deployment, plan.deployment.endpoint
    key = f' \\\n    -H "Authorization: Bearer $(sudo cat {quote(endpoint.key_file)})"' if endpoint.key_file else ""
    message = {"role": "user", "content": "Hello!"}
    body = quote(json.dumps({"model": endpoint.model, "max_tokens": 64, "messages": [message]}, ensure_ascii=False))
    lines = ["", f"  endpoint  {endpoint.url}", f"  model     {endpoint.model}"]
    if plan.host != "local" and not deployment.exposed:
        port = endpoint.probe_url.rpartition(":")[2]
        lines.append(f"  it listens on {plan.host} only; from here: ssh -N -L {port}:127.0.0.1:{port} {plan.host}")
    where = scope if plan.host == "local" else f" --host {plan.host}{scope}"
    return [
        *lines,
        f"  curl {endpoint.url}/chat/completions -H 'Content-Type: application/json'{key} \\\n    -d {body}",
        "  next",
        *(f"    deployctl {verb}{where}" for verb in ("status", f"logs {deployment.name}", f"down {deployment.name}")),
    ]


def _document(
    results: "list[tuple[Plan, HealthReport]]", failures: list[DeployError], status: ExitStatus
) -> dict[str, Any]:
    from orchestrator.cli.session import error_document

    return {
        "schema": "deployctl.up/1",
        "exit_code": int(status),
        "deployments": [
            {
                "host": plan.host,
                "name": plan.deployment.name,
                "runtime": plan.deployment.runtime,
                "endpoint": plan.deployment.endpoint.model_dump(),
                "exposed": plan.deployment.exposed,
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
                "health": report.model_dump(mode="json"),
            }
            for plan, report in results
        ],
        "errors": [error_document(error) for error in failures],
    }

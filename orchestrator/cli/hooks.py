"""The user's own commands around a run: ``hooks:`` of the spec, and ``--on-done``.

They run on this machine, by /bin/sh, with facts in the environment. Secrets that deployctl was given never go there,
and no value is ever put into a command's text.
"""

import os
import re
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from orchestrator.errors import DeployError, ExitStatus, RefusedError

if TYPE_CHECKING:
    from orchestrator.cli.execute import Work
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Result
    from orchestrator.planning.carry_out import Outcome
    from orchestrator.planning.plan import Plan

_LIMIT_S = 600.0
_SECRET = ("DEPLOYCTL_SUDO_PASSWORD", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")


def before(session: "Session", works: "Iterable[Work]", cause: str) -> None:
    """Run the hooks of all that is to be changed. Raises RefusedError at the first that fails."""
    for work in works:
        for plan in (plan for plan in work.plans if plan.work):
            for command in work.hooks.before if work.hooks else ():
                result = _run(session, command, {**_facts(work, plan), **_about("before", cause)}, work.secrets)
                if not result:
                    raise RefusedError(
                        f"the hook {command!r} says no to {plan.deployment.name}: nothing was changed",
                        host=work.host.name,
                        why=result.tail() or f"it exited with {result.exited}",
                        remedy="see to what it checks, or correct hooks.before in the spec",
                    )


def after(session: "Session", works: "Iterable[Work]", results: "Iterable[Outcome]", cause: str) -> None:
    """Run the hooks of all that was changed, or was to be; one that fails is a warning."""
    done = {(result.plan.host, result.plan.deployment.name): result for result in results}
    for work in works:
        for plan in (plan for plan in work.plans if plan.work):
            outcome = done.get((plan.host, plan.deployment.name))
            result = "failed" if outcome is None else "healthy" if outcome.report.healthy else "unhealthy"
            seconds = sum(step.seconds for step in outcome.steps) if outcome else 0.0
            ended = {"DEPLOYCTL_RESULT": result, "DEPLOYCTL_SECONDS": f"{seconds:.0f}"}
            for command in work.hooks.after if work.hooks else ():
                facts = {**_facts(work, plan), **_about("after", cause), **ended}
                _warn(session, command, _run(session, command, facts, work.secrets))


class OnDone:
    """Runs a command when the block ends, however it ends. ``secrets`` are names of variables that it must not see."""

    def __init__(self, session: "Session", command: str | None, cause: str) -> None:
        self.session, self.command, self.cause = session, command, cause
        self.secrets: tuple[str, ...] = ()
        self.status, self.began = ExitStatus.FAILED, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.command is None:
            return
        if isinstance(error, DeployError):
            self.status = error.status
        elif isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
            self.status = ExitStatus.INTERRUPTED
        ended = {
            "DEPLOYCTL_EXIT_CODE": str(int(self.status)),
            "DEPLOYCTL_RESULT": self.status.name.lower(),
            "DEPLOYCTL_SECONDS": f"{time.monotonic() - self.began:.0f}",
            "DEPLOYCTL_ERROR": error.what if isinstance(error, DeployError) else "",
        }
        result = _run(self.session, self.command, {**_about("done", self.cause), **ended}, self.secrets)
        _warn(self.session, self.command, result)


def _about(hook: str, cause: str) -> dict[str, str]:
    return {"DEPLOYCTL_HOOK": hook, "DEPLOYCTL_COMMAND": cause}


def _facts(work: "Work", plan: "Plan") -> dict[str, str]:
    """What a hook may want to know. ``DEPLOYCTL_GPUS`` has a GPU on each line: number, name, MiB."""
    deployment, facts = plan.deployment, work.seen.facts
    return {
        "DEPLOYCTL_HOST": plan.host,
        "DEPLOYCTL_NAME": deployment.name,
        "DEPLOYCTL_RUNTIME": deployment.runtime,
        "DEPLOYCTL_MODEL": deployment.endpoint.model,
        "DEPLOYCTL_ENDPOINT": deployment.endpoint.url,
        "DEPLOYCTL_EXPOSED": "yes" if deployment.endpoint.exposed else "no",
        "DEPLOYCTL_GENERATION": str(plan.generation),
        "DEPLOYCTL_CHANGES": str(len(plan.work)),
        "DEPLOYCTL_OS": facts.os,
        "DEPLOYCTL_ARCH": facts.arch,
        "DEPLOYCTL_GPUS": "\n".join(f"{gpu.index} {gpu.name} {gpu.memory_total_mib}" for gpu in facts.gpus),
    }


def _run(session: "Session", command: str, facts: Mapping[str, str], secrets: Iterable[str]) -> "Result":
    """Run it here, as whoever runs deployctl; what it prints goes to stderr, line by line."""
    from orchestrator.health.mask import mask
    from orchestrator.health.text import plain
    from orchestrator.hosts.base import quote
    from orchestrator.hosts.local import LocalHost

    hidden = sorted({*_SECRET, *secrets} & set(os.environ))
    lines = [f"unset {name}" for name in hidden if re.fullmatch(r"[A-Za-z_]\w*", name)]
    lines += [f"export {name}={quote(value.replace(chr(0), ''))}" for name, value in facts.items()]
    script = "\n".join([*lines, f"sh -c {quote(command)} 2>&1"])

    def say(line: str) -> None:
        session.console.tell(f"[hook] {mask(plain(line))}")

    return LocalHost().run(script, timeout=_LIMIT_S, on_line=say, privileged=False)


def _warn(session: "Session", command: str, result: "Result") -> None:
    if not result:
        session.console.tell(f"warning: the hook {command!r} exited with {result.exited}", fg="yellow")

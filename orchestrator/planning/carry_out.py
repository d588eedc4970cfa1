"""Carry a plan out to its end: apply it, prove that the endpoint generates, keep the generation, or return."""

from dataclasses import dataclass, field, replace

from orchestrator.errors import DeployError, ExitStatus, StoppedError, UnhealthyError, UnreachableError
from orchestrator.facts import Layout, Scope
from orchestrator.health.clock import Clock
from orchestrator.health.ladder import check
from orchestrator.health.report import HealthReport
from orchestrator.health.taken import Taken
from orchestrator.hosts.base import Host
from orchestrator.planning.apply import Step, apply_plan
from orchestrator.planning.deploy import survey
from orchestrator.planning.generation import Generation, last_healthy, write_generation
from orchestrator.planning.manifest import Manifest, write_manifest
from orchestrator.planning.plan import Plan
from orchestrator.planning.recall import return_to
from orchestrator.planning.stop import Heeding, Stop
from orchestrator.planning.truth import read_back
from orchestrator.progress import Progress

DEADLINE_S = {"ollama": 600.0, "vllm": 1800.0}
"""How long an engine may take to start, unless told."""


@dataclass(frozen=True)
class Run:
    """How plans are carried out. ``cause`` is the command; ``returns`` says whether to go back from a failure.

    ``addresses`` are those by which the controller knows the host.
    """

    host: Host
    layout: Layout
    scope: Scope | None
    by: str
    cause: str
    progress: Progress
    clock: Clock
    stop: Stop = field(default_factory=Stop)
    deadline_s: float | None = None
    returns: bool = True
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a plan. ``returned`` is the generation that was returned to, with how that ended.

    ``steps`` are what was done, the wait for the engine last. ``taken`` is what the engine holds of the memory.
    """

    plan: Plan
    report: HealthReport
    generation: int
    returned: "Outcome | None" = None
    steps: tuple[Step, ...] = ()
    taken: Taken | None = None


def carry_out(run: Run, made: Plan, before: Manifest | None) -> Outcome:
    """Apply the plan and check the endpoint; when it fails, return to the last generation that was healthy.

    Raises DeployError when a step fails, after returning where there is something to return to; StoppedError when the
    user wants no more: then nothing is returned to.
    """
    run, steps = replace(run, progress=Heeding(run.progress, run.stop, run.host.name)), list[Step]()
    try:
        manifest = apply_plan(run.host, made, run.layout, before, run.by, run.progress, run.stop, steps)
    except (UnreachableError, StoppedError):
        raise
    except UnhealthyError:  # it was waited for in vain: only see why it does not answer
        report = _look(replace(run, deadline_s=0.0), made)
        if report.healthy:
            raise
        _keep_unfinished(run, made, report)
        return Outcome(made, report, made.generation, returned=_return(run, made), steps=tuple(steps))
    except DeployError as error:
        raise _told(error, _return(run, made) if before else None) from error
    began = run.clock.now()
    report = _look(run, made)
    waited = run.clock.now() - began
    if made.work and report.healthy:
        manifest = manifest.model_copy(update={"taken": read_back(run.host, run.scope, made, before)})
    _keep(run, made, manifest, report, waited)
    done = (*steps, Step("until it answered", waited)) if made.work else ()
    outcome = Outcome(made, report, manifest.generation, steps=done, taken=manifest.taken)
    return outcome if report.healthy or not made.work else replace(outcome, returned=_return(run, made))


def _look(run: Run, made: Plan) -> HealthReport:
    deadline = DEADLINE_S[made.deployment.runtime] if run.deadline_s is None else run.deadline_s
    endpoint = made.deployment.endpoint
    return check(
        run.host,
        endpoint,
        made.service,
        deadline_s=deadline,
        progress=run.progress,
        clock=run.clock,
        addresses=run.addresses,
    )


def _keep(run: Run, made: Plan, manifest: Manifest, report: HealthReport, seconds: float) -> None:
    """Remember how the generation did; a new one is kept with what it was made of."""
    mine = next((item for item in manifest.kept if item.number == manifest.generation), None)
    if mine is None or (not made.work and mine.healthy == report.healthy):
        return
    kept = tuple(
        item.model_copy(update={"healthy": report.healthy}) if item is mine else item for item in manifest.kept
    )
    summary = {**manifest.summary, "seconds": f"{seconds:.0f}"} if made.work and report.healthy else manifest.summary
    known = manifest.model_copy(update={"kept": kept, "summary": summary})
    state = run.layout.deployment_state(manifest.name)
    generation = Generation(
        number=manifest.generation,
        cause=run.cause,
        manifest=known.model_copy(update={"entries": made.entries}),
        healthy=report.healthy,
        seconds=round(seconds, 1),
        evidence="" if report.healthy else report.log,
    )
    write_generation(run.host, state, generation, keep=tuple(item.number for item in kept))
    write_manifest(run.host, state, known)


def _keep_unfinished(run: Run, made: Plan, report: HealthReport) -> None:
    """Remember why an engine died before all was applied: there is a generation of it, though only to look at."""
    begun = survey(run.host, run.scope).manifest(made.deployment.name)
    if begun is not None:
        _keep(run, made, begun.model_copy(update={"generation": made.generation}), report, 0.0)


def _return(run: Run, made: Plan) -> Outcome | None:
    """Go back to the last healthy generation before this plan, where there is one and the run may."""
    if not run.returns:
        return None
    seen = survey(run.host, run.scope)
    failed = seen.manifest(made.deployment.name)
    target = last_healthy(failed.kept, before=made.generation) if failed else None
    if failed is None or target is None:
        return None
    run.progress.warn(f"{failed.name} failed: returning to generation {target.number}")
    back_run = replace(run, returns=False, cause=f"return to generation {target.number}")
    try:
        back = return_to(run.host, seen, failed, target.number)
        return carry_out(back_run, back, failed)
    except DeployError as error:
        run.progress.warn(f"cannot return to generation {target.number}: {error.what} {error.why}")
        return None


def _told(error: DeployError, back: Outcome | None) -> DeployError:
    """The failure of a step, told together with the return from it."""
    if back is None:
        return error
    word = "serves again" if back.report.healthy else "is not healthy either"
    note = f"returned to what was healthy before, as generation {back.generation}: it {word}"
    told = type(error)(error.what, host=error.host, why=f"{error.why}\n{note}".strip(), remedy=error.remedy)
    told.status = ExitStatus.UNHEALTHY
    return told

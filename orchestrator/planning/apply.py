"""Apply a plan, and take a deployment away again: the two things that change a host."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from orchestrator import __version__
from orchestrator.facts import Layout
from orchestrator.hosts.base import Host
from orchestrator.planning.journal import Journal
from orchestrator.planning.manifest import (
    Entry,
    Manifest,
    delete_manifest,
    forget_history,
    last_made_first,
    owned_elsewhere,
    write_manifest,
)
from orchestrator.planning.plan import Plan
from orchestrator.planning.stop import Stop
from orchestrator.progress import Progress
from orchestrator.resources.files import Directory


class Step(NamedTuple):
    """Something that was done, and how many seconds that took."""

    what: str
    seconds: float


def apply_plan(
    host: Host,
    plan: Plan,
    layout: Layout,
    before: Manifest | None,
    by: str,
    progress: Progress,
    stop: Stop,
    steps: list[Step],
) -> Manifest:
    """Carry out every change in order, unless ``stop`` is asked for between two; what was done goes to ``steps``.

    The manifest is written first, with all that will be made and all that is not yet gone, so that whatever happens
    afterwards, ``up`` can go on and ``down`` can clear away. Raises DeployError at the first change that fails;
    StoppedError.
    """
    state = layout.deployment_state(plan.deployment.name)
    stop.check(host.name, f"{plan.deployment.name}: nothing was changed")
    if not plan.work and before is not None and before.status == "applied":
        return before
    listed = {entry.resource.address for entry in (*plan.entries, *plan.retained)}
    leaving = tuple(entry for entry in (before.all_entries if before else ()) if entry.resource.address not in listed)
    begun = _manifest(plan, "applying", by)
    number = before.generation if before else 0  # what is applied until all is done
    write_manifest(host, state, begun.model_copy(update={"generation": number, "entries": (*leaving, *plan.entries)}))
    with Journal(host, state, plan.generation) as journal:
        for done, change in enumerate(plan.work):
            stop.check(host.name, f"{plan.deployment.name}: {done} of {len(plan.work)} steps are done")
            progress.note(f"{_VERBS[change.action]} {change.resource.title} {change.resource.identity}")
            began = monotonic()
            with journal.step(change.action, change.resource.address):
                if change.action == "remove":
                    change.resource.remove(host, progress)
                else:
                    change.resource.apply(host, change.observed, progress)
            steps.append(Step(change.resource.title, monotonic() - began))
    applied = _manifest(plan, "applied", by)
    write_manifest(host, state, applied)
    return applied


_VERBS = {"create": "create", "update": "update", "remove": "remove", "none": "keep"}


def _manifest(plan: Plan, status: str, by: str) -> Manifest:
    deployment = plan.deployment
    return Manifest.model_validate(
        {
            "name": deployment.name,
            "runtime": deployment.runtime,
            "status": status,
            "applied_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "applied_by": by,
            "tool": __version__,
            "summary": deployment.summary,
            "endpoint": deployment.endpoint,
            "service": deployment.service,
            "entries": plan.entries,
            "generation": plan.generation,
            "kept": plan.kept,
            "retained": plan.retained,
            "fit": deployment.fit,
        }
    )


def take_down(
    host: Host,
    manifest: Manifest,
    others: Sequence[Manifest],
    layout: Layout,
    progress: Progress,
    stop: Stop,
    *,
    purge: bool,
) -> tuple[str, ...]:
    """Remove what the manifest says was made, last made first, unless ``stop`` is asked for; return what is kept.

    What existed before deployctl, and what another deployment of the host still uses, is left alone. Models and data
    stay unless ``purge``; then the manifest stays too, so that a later purge finds them, and nothing else of the books:
    what is down has no generation to return to. Raises DeployError, StoppedError.
    """
    state = layout.deployment_state(manifest.name)
    shared = owned_elsewhere(others, manifest.name)
    kept: list[Entry] = []
    for entry in last_made_first(manifest.all_entries):
        resource = entry.resource
        if not entry.removable or resource.address in shared:
            continue
        if resource.keep and not purge:
            kept.append(entry)
            continue
        stop.check(host.name, f"{manifest.name}: stopped before the {resource.title} {resource.identity} was removed")
        progress.note(f"remove {resource.title} {resource.identity}")
        resource.remove(host, progress)
        if isinstance(resource, Directory):
            kept.append(entry)  # a directory goes only when nothing kept is in it
    data = [] if purge else [entry for entry in kept if entry.resource.keep]
    if data:
        stays = {"status": "down", "entries": tuple(reversed(kept)), "kept": (), "retained": ()}
        left = manifest.model_copy(update=stays)
        write_manifest(host, state, left)
        forget_history(host, state)
    else:
        delete_manifest(host, state, layout.state)
    return tuple(f"{entry.resource.title} {entry.resource.identity}" for entry in data)

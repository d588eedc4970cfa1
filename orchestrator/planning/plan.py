"""The plan: ordered differences between what is wanted and what was observed. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.generation import part_addresses, still_kept
from orchestrator.planning.manifest import Entry, Kept, Manifest, last_made_first, owned_elsewhere
from orchestrator.resources.base import Difference, Observed
from orchestrator.resources.container import Container
from orchestrator.resources.files import Content, Directory
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.service import Service
from orchestrator.runtimes.deployment import Deployment

Action = Literal["create", "update", "remove", "none"]


class Change(BaseModel):
    """What is to be done to one resource; ``none`` where it already is as wanted."""

    model_config = ConfigDict(frozen=True)

    action: Action
    resource: AnyResource
    observed: Observed
    differences: tuple[Difference, ...] = ()


class Plan(BaseModel):
    """Everything that is to be done on one host for one deployment, in order.

    It makes the generation of that number; ``kept`` are those that can be returned to afterwards (itself among
    them), and ``retained`` what only they still need.
    """

    model_config = ConfigDict(frozen=True)

    host: str
    deployment: Deployment
    changes: tuple[Change, ...]
    entries: tuple[Entry, ...]
    generation: int = 1
    kept: tuple[Kept, ...] = ()
    retained: tuple[Entry, ...] = ()

    @property
    def work(self) -> tuple[Change, ...]:
        """The changes that change something."""
        return tuple(change for change in self.changes if change.action != "none")

    @property
    def service(self) -> Service:
        """The resource that serves."""
        found = (item for item in self.deployment.resources if item.address == self.deployment.service)
        return next(item for item in found if isinstance(item, Service))


def make_plan(
    host: str,
    deployment: Deployment,
    observed: Mapping[str, Observed],
    manifests: Sequence[Manifest],
) -> Plan:
    """Compare. ``observed`` covers the wanted resources and those of the deployment's manifest, by address.

    Of what an earlier run applied and is no longer wanted, services and their files go first: what takes their place
    may need the same port or name, unless it is made to start beside them. Engines, models and directories go once all
    else is done, so that a run that fails has destroyed nothing, and only where no kept generation needs them. What
    others made is never changed: ``foreign`` tells it.
    """
    mine = next((manifest for manifest in manifests if manifest.name == deployment.name), None)
    shared = owned_elsewhere(manifests, deployment.name)
    kept = _kept(deployment, mine, observed)
    wanted = {resource.address for resource in deployment.resources}
    leaving = [entry for entry in (mine.all_entries if mine else ()) if entry.resource.address not in wanted]
    retained = _retained(leaving, {address for item in kept for address in item.parts})
    removals = [
        Change(action="remove", resource=entry.resource, observed=observed[entry.resource.address])
        for entry in last_made_first(leaving)
        if entry.removable and entry.resource.address not in shared and entry not in retained
    ]
    changes = _compare_all(deployment.resources, observed, {change.resource.address for change in removals})
    first = [change for change in removals if _in_the_way(change.resource, deployment)]
    last = [change for change in removals if change not in first]
    return Plan(
        host=host,
        deployment=deployment,
        changes=(*first, *changes, *last),
        entries=tuple(
            Entry(resource=resource, existed=_existed(resource.address, observed[resource.address], mine, shared))
            for resource in deployment.resources
        ),
        generation=kept[-1].number,
        kept=kept,
        retained=retained,
    )


def _in_the_way(resource: AnyResource, deployment: Deployment) -> bool:
    """Whether it must go before what takes its place can come: but for an engine beside which the new one starts."""
    beside = any(isinstance(item, Container) and item.beside(resource) for item in deployment.resources)
    return isinstance(resource, Service | Content) and not beside


def _retained(leaving: Sequence[Entry], needed: set[str]) -> tuple[Entry, ...]:
    """What is no longer wanted but needed by a kept generation, with the directories that lead to it."""
    parts = [entry.resource.identity for entry in leaving if entry.resource.address in needed]

    def leads(resource: AnyResource) -> bool:
        return isinstance(resource, Directory) and any(part.startswith(f"{resource.path}/") for part in parts)

    return tuple(entry for entry in leaving if entry.resource.address in needed or leads(entry.resource))


def _kept(deployment: Deployment, mine: Manifest | None, observed: Mapping[str, Observed]) -> tuple[Kept, ...]:
    """The generations that can be returned to once this deployment is applied, which is the last of them.

    What is applied already stays the generation that it is, so that looking twice never makes an older one expire.
    """
    if mine is not None and mine.status == "applied" and mine.kept:
        same = {entry.resource.address for entry in mine.entries} == {item.address for item in deployment.resources}
        if same and all(item.action == "none" for item in _compare_all(deployment.resources, observed, set())):
            return mine.kept
    number = mine.generation + 1 if mine else 1
    earlier = tuple(item for item in (mine.kept if mine else ()) if item.number < number)
    return still_kept((*earlier, Kept(number=number, parts=part_addresses(deployment.resources))))


def foreign(plan: Plan) -> tuple[AnyResource, ...]:
    """What the plan would change although somebody else made it: files, containers, models of the same name."""
    existed = {entry.resource.address for entry in plan.entries if entry.existed}
    return tuple(
        change.resource
        for change in plan.changes
        if change.action == "update" and change.resource.exclusive and change.resource.address in existed
    )


def _compare_all(resources: Sequence[AnyResource], observed: Mapping[str, Observed], changed: set[str]) -> list[Change]:
    """Compare in order; a service is started anew when something that it follows changes before it."""
    changes = []
    for resource in resources:
        change = _compare(resource, observed[resource.address], changed)
        changes.append(change)
        if change.action != "none":
            changed.add(resource.address)
    return changes


def _compare(resource: AnyResource, observed: Observed, changed: set[str]) -> Change:
    if isinstance(resource, Service) and changed.intersection(resource.follows):
        observed = resource.stale(observed)
    differences = resource.compare(observed)
    action: Action = "none" if observed.exists and not differences else "update" if observed.exists else "create"
    return Change(action=action, resource=resource, observed=observed, differences=differences)


def _existed(address: str, observed: Observed, mine: Manifest | None, shared: Mapping[str, bool]) -> bool:
    """Whether it was there before deployctl: as an earlier manifest says, else as it was observed."""
    entry = mine.find(address) if mine else None
    if entry is not None:
        return entry.existed
    return shared.get(address, observed.exists)

"""How the deployments of a host are doing, from their manifests: what ``status`` shows."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import Host, HttpRequest
from orchestrator.planning.manifest import Manifest
from orchestrator.resources.base import Difference, Observed, Resource
from orchestrator.resources.observe import observe
from orchestrator.resources.service import Service

State = Literal["serving", "starting", "failed", "stopped", "unfinished"]

_STATE_FIELDS = ("running", "active")


class Drift(BaseModel):
    """A resource that is not as it was applied; ``cause`` says how it came to differ, as far as can be told."""

    model_config = ConfigDict(frozen=True)

    title: str
    identity: str
    cause: str
    differences: tuple[Difference, ...]


class Condition(BaseModel):
    """One deployment, as it is now. ``memory`` is what the engine says it holds, in words; empty where it does not."""

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    state: State
    service: ServiceState
    drift: tuple[Drift, ...] = ()


def conditions(host: Host, manifests: Sequence[Manifest]) -> list[Condition]:
    """Look at every deployment: one round trip for all their resources, and two for each engine."""
    alive = [manifest for manifest in manifests if manifest.status != "down"]
    resources = {entry.resource.address: entry.resource for manifest in alive for entry in manifest.entries}
    observed = observe(host, list(resources.values()))
    found = []
    for manifest in alive:
        drifts = (drift_of(entry.resource, observed[entry.resource.address]) for entry in manifest.entries)
        service = manifest.running_service
        doing = service.state(host) if service else ServiceState(running=False, detail="never applied")
        state = _state(host, manifest, doing)
        found.append(Condition(manifest=manifest, state=state, service=doing, drift=tuple(filter(None, drifts))))
    return found


def drift_of(resource: Resource, observed: Observed) -> Drift | None:
    """How it differs. Of a service, whether it is there and runs is its state, which is told apart."""
    service = isinstance(resource, Service)
    differences = resource.compare(observed)
    if service:
        differences = tuple(item for item in differences if observed.exists and item.field not in _STATE_FIELDS)
    if not differences and (service or observed.exists):
        return None
    cause = resource.changed_by(observed)
    return Drift(title=resource.title, identity=resource.identity, cause=cause, differences=differences)


def _state(host: Host, manifest: Manifest, doing: ServiceState) -> State:
    if manifest.status == "applying":
        return "unfinished"
    if not doing.running:
        return "failed" if doing.restarts else "stopped"
    path = "/api/version" if manifest.runtime == "ollama" else "/health"
    answer = host.http(HttpRequest(f"{manifest.endpoint.probe_url}{path}", timeout=5))
    return "serving" if answer.status == 200 else "starting"

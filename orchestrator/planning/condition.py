"""How the deployments of a host are doing, from their manifests: what ``status`` shows."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.health.service import ServiceState
from orchestrator.health.taken import Taken, of_ps
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
    """One deployment, as it is now. ``taken`` is what its engine holds of the memory: Ollama as it says now, while the
    model is loaded, else as it was read back after the start."""

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    state: State
    service: ServiceState
    drift: tuple[Drift, ...] = ()
    taken: Taken | None = None


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
        state, taken = _state(host, manifest, doing)
        found.append(
            Condition(manifest=manifest, state=state, service=doing, drift=tuple(filter(None, drifts)), taken=taken)
        )
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


def _state(host: Host, manifest: Manifest, doing: ServiceState) -> tuple[State, Taken | None]:
    """How it does, and what it holds: one round trip where it runs."""
    if manifest.status == "applying":
        return "unfinished", manifest.taken
    if not doing.running:
        return "failed" if doing.restarts else "stopped", manifest.taken
    paths = ("/api/version", "/api/ps") if manifest.runtime == "ollama" else ("/health",)
    answers = host.http_all([HttpRequest(f"{manifest.endpoint.probe_url}{path}", timeout=5) for path in paths])
    now = of_ps(answers[1].body, manifest.endpoint.model) if len(answers) > 1 else None
    return "serving" if answers[0].status == 200 else "starting", now or manifest.taken

"""How the deployments of a host are doing, from their manifests: what ``status`` shows."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from orchestrator.facts import Facts
from orchestrator.health import engine, entrance, processes
from orchestrator.health.engine import Engine, Load
from orchestrator.health.entrance import Leak
from orchestrator.health.phases import Phase
from orchestrator.health.processes import Processes
from orchestrator.health.service import ServiceState
from orchestrator.health.taken import Taken
from orchestrator.hosts.base import UNKNOWN, Host, Result
from orchestrator.hosts.together import at_once
from orchestrator.planning.deploy import Survey
from orchestrator.planning.devices import Devices, devices, meant_for
from orchestrator.planning.manifest import Manifest
from orchestrator.planning.standing import Drift, Remark, Sight, State, standing
from orchestrator.resources.base import Observed, Resource
from orchestrator.resources.observe import Question
from orchestrator.resources.service import Service

_STATE_FIELDS = ("running", "active")
_LOG_LINES = 400
_PROBES_S, _QUESTION_S = 120.0, 20.0
"""How long the host may take for all resources, and for each other question, in seconds."""


class Condition(BaseModel):
    """One deployment, as it is now.

    ``phase`` is how far a start has come. ``remarks`` say what is not as it should be, each with what to do. ``load``
    is what the engine has to do: by vLLM's own count, or by the gateway's. ``taken`` is what the engine says it holds
    of the memory: Ollama now, while the model is ``loaded`` (None where it always is), else as it was read back after
    the start; ``devices`` what is seen from outside.
    """

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    state: State
    service: ServiceState
    phase: Phase | None = None
    remarks: tuple[Remark, ...] = ()
    drift: tuple[Drift, ...] = ()
    load: Load | None = None
    taken: Taken | None = None
    loaded: bool | None = None
    devices: Devices = Devices()
    uptime_s: int | None = None


def conditions(host: Host, seen: Survey, addresses: Sequence[str] = ()) -> list[Condition]:
    """Look at every deployment that was surveyed, all in one round trip. Raises UnreachableError, DeployError.

    Meanwhile the controller tries to get in at the ``addresses`` by which it knows the host, without a right key.
    """
    alive = [manifest for manifest in seen.manifests if manifest.status != "down"]
    if not alive:
        return []
    resources = {entry.resource.address: entry.resource for manifest in alive for entry in manifest.entries}
    asked = Question(list(resources.values()))
    scripts = [(asked.script, _PROBES_S), (processes.SCRIPT, _QUESTION_S)]
    for manifest in alive:
        scripts += [(script, _QUESTION_S) for script in _questions(manifest, seen.facts)]
    with ThreadPoolExecutor(len(alive)) as pool:
        outside = [pool.submit(_leaks, manifest, host, addresses) for manifest in alive]
        probed, running, *answers = at_once(host, scripts)
    observed, running_now = asked.read(host.name, probed), processes.read(running.stdout)
    looks = [tuple(answers[start : start + 3]) for start in range(0, len(answers), 3)]
    return [
        _condition(manifest, look, leaks.result(), observed, running_now, seen)
        for manifest, look, leaks in zip(alive, looks, outside, strict=True)
    ]


def _leaks(manifest: Manifest, host: Host, addresses: Sequence[str]) -> tuple[Leak, ...]:
    """What answers the controller, where that is another machine and nobody is meant to be let in."""
    if host.is_local or manifest.endpoint.exposed:
        return ()
    return entrance.from_here(entrance.known_addresses(manifest.endpoint, addresses), manifest.endpoint)


def _questions(manifest: Manifest, facts: Facts) -> tuple[str, str, str]:
    """What is asked for one deployment: its service, its engine, and who gets in."""
    service, endpoint = manifest.running_service, manifest.endpoint
    if service is None:
        return ":", ":", ":"
    log = f"( {service.evidence_script()}\n)\n( {service.tail_script(_LOG_LINES)}\n)"
    asked = engine.script(endpoint, log, meant_for_gpu=meant_for(manifest, facts) is not None)
    return service.state_script(), asked, ":" if endpoint.exposed else entrance.script(endpoint, 0)


def _condition(
    manifest: Manifest,
    look: Sequence[Result],
    leaks: tuple[Leak, ...],
    observed: dict[str, Observed],
    running: Processes,
    seen: Survey,
) -> Condition:
    service, endpoint = manifest.running_service, manifest.endpoint
    told, said, asked = look
    doing = service.read_state(told.stdout) if service else ServiceState(running=False, detail="never applied")
    found = engine.read(said.stdout, endpoint)
    family = running.family(doing.pid) if doing.pid else frozenset()
    alone = sum(item.runtime == manifest.runtime for item in seen.manifests if item.status != "down") == 1
    held = devices(manifest, seen.facts, running, family, alone=alone)
    drifts = (drift_of(entry.resource, observed[entry.resource.address]) for entry in manifest.entries)
    sight = Sight(
        manifest=manifest,
        service=doing,
        engine=found,
        devices=held,
        entrance=None if endpoint.exposed or service is None else entrance.read(asked.stdout, seen.facts.host, leaks),
        drift=tuple(filter(None, drifts)),
        gpu_problem="" if seen.facts.gpus else seen.facts.gpu_problem,
        late=any(result.exited in (UNKNOWN, 124, 137) for result in look),
    )
    state, phase, remarks = standing(sight)
    return Condition(
        manifest=manifest,
        state=state,
        phase=phase,
        remarks=remarks,
        service=doing,
        drift=sight.drift,
        load=found.load,
        taken=found.loaded or manifest.taken,
        loaded=found.loaded is not None if manifest.runtime == "ollama" else None,
        devices=held,
        uptime_s=_uptime(doing, running, found),
    )


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


def _uptime(doing: ServiceState, running: Processes, found: Engine) -> int | None:
    """Since when the engine runs, in seconds: by the host's own clock where its first process is seen."""
    if not doing.running and found.health != 200:
        return None
    if doing.pid in running.ages_s:
        return int(running.ages_s[doing.pid])
    if doing.started_at is None:
        return None
    return max(0, int((datetime.now(UTC) - doing.started_at).total_seconds()))

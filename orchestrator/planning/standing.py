"""What is to be made of how a deployment looks: its state, and what to do about it. Pure."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.health.diagnosis import Diagnosis, advice, explain, named, remarks
from orchestrator.health.engine import Engine
from orchestrator.health.entrance import Seen
from orchestrator.health.mask import mask
from orchestrator.health.phases import Phase, phase
from orchestrator.health.service import ServiceState
from orchestrator.planning.devices import Devices
from orchestrator.planning.manifest import Manifest
from orchestrator.resources.base import Difference

State = Literal["serving", "starting", "degraded", "drifted", "failed", "stopped", "unfinished", "unknown"]

_DIED = ("failed", "auto-restart", "FATAL", "BACKOFF", "EXITED", "OOM killed", "restarting")
"""What supervisors say of a service that did not end as it was told to."""

_KEEPS_DYING = 3
"""Restarts after which a service that does not answer counts as failed, not as starting."""

_GATEWAY_LOG = "deployctl logs --gateway says why"

_NO_GPU = ("ollama-driver-too-old", "ollama-gpu-discovery-failed", "ollama-no-gpu-found", "ollama-on-cpu")


class Drift(BaseModel):
    """A resource that is not as it was applied; ``cause`` says how it came to differ, as far as can be told."""

    model_config = ConfigDict(frozen=True)

    title: str
    identity: str
    cause: str
    differences: tuple[Difference, ...]


class Remark(BaseModel):
    """What is not as it should be, and what to do about it."""

    model_config = ConfigDict(frozen=True)

    what: str
    remedy: str


class Sight(BaseModel):
    """All that was seen of one deployment.

    ``entrance`` is None where nobody is to be kept out; ``late`` says that an answer did not come in time.
    """

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    service: ServiceState
    engine: Engine
    devices: Devices = Devices()
    entrance: Seen | None = None
    drift: tuple[Drift, ...] = ()
    gpu_problem: str = ""
    late: bool = False


def standing(sight: Sight) -> tuple[State, Phase | None, tuple[Remark, ...]]:
    """The state, how far a start has come, and the remarks, the worst first."""
    name, service = sight.manifest.name, sight.service
    reached = _phase(sight)
    if sight.manifest.status == "applying":
        ways = f"deployctl up {sight.manifest.runtime} goes on, deployctl down {name} clears away"
        said = Remark(what="a run began and did not finish", remedy=ways)
        return "unfinished", reached, (said,)
    if sight.late:
        said = Remark(
            what="the host did not answer all questions in time", remedy="see its load, and whether Docker answers"
        )
        return "unknown", None, (said, *_open(sight))
    if not service.running:
        return ("failed" if _died(service) else "stopped"), None, (_why(sight), *_open(sight))
    if sight.engine.health != 200:
        was_ready = reached is None and not service.restarts  # after a restart the log still tells of the run before
        if was_ready or service.restarts >= _KEEPS_DYING:
            return "failed", None, (_why(sight), *_open(sight))
        return "starting", reached, (*_restarted(sight), *_open(sight))
    wrong = (*_gpu(sight), *_entrance(sight))
    state: State = "degraded" if wrong else "drifted" if sight.drift else "serving"
    return state, None, (*wrong, *_restarted(sight), *_open(sight))


def _phase(sight: Sight) -> Phase | None:
    """How far its start is; None where it does not start: it was ready already, or does not run."""
    if not sight.service.running or sight.engine.health == 200:
        return None
    reached = phase(sight.engine.log, sight.manifest.runtime)
    return None if reached.index == reached.total else reached


def _died(service: ServiceState) -> bool:
    return bool(service.restarts) or any(word in service.detail for word in _DIED)


def _why(sight: Sight) -> Remark:
    """Why it does not serve: by its log where it tells, else in the supervisor's words."""
    name, service, status = sight.manifest.name, sight.service, sight.engine.health
    said = " ".join(service.detail.split()) or "it does not run"
    if service.running:
        said = f"it runs, but answers {status or 'nothing'}"
    known = _explained(sight)
    if known is not None and known.certain and (service.running or _died(service)):
        return Remark(what=f"{said}: {known.cause}", remedy=known.remedy)
    again = f"deployctl up {sight.manifest.runtime} starts it again"
    if service.running or _died(service):
        return Remark(what=said, remedy=f"deployctl diagnose {name} looks for the cause, {again}")
    return Remark(what=said, remedy=again)


def _explained(sight: Sight) -> Diagnosis | None:
    manifest = sight.manifest
    log = mask(f"{sight.service.detail}\n{sight.engine.log}")
    return explain(log, manifest.runtime, manifest.endpoint.expected_version or "")


def _restarted(sight: Sight) -> tuple[Remark, ...]:
    """That it was restarted by itself, and why where its log tells."""
    count = sight.service.restarts
    if not count:
        return ()
    what = f"restarted by itself {count} time{'s' if count > 1 else ''} since it was applied"
    known = _explained(sight) if sight.engine.log and sight.engine.health != 200 else None
    if known is not None and known.certain:
        return (Remark(what=f"{what}: {known.cause}", remedy=known.remedy),)
    return (Remark(what=what, remedy=f"deployctl logs {sight.manifest.name}"),)


def _open(sight: Sight) -> tuple[Remark, ...]:
    if not sight.manifest.endpoint.exposed:
        return ()
    what = "OPEN: other machines reach the engine itself, without the gateway (--expose direct)"
    return (Remark(what=what, remedy=f"deployctl up {sight.manifest.runtime} --expose gateway"),)


def _gpu(sight: Sight) -> tuple[Remark, ...]:
    """What does not compute where it was meant to."""
    meant, on = sight.devices.meant, sight.devices.gpus
    name, loaded = sight.manifest.name, sight.engine.loaded
    if meant is None:
        return ()
    if sight.gpu_problem:
        remedy = advice(sight.gpu_problem, "see nvidia-smi and dmesg on the host; deployctl doctor says more")
        return (Remark(what=f"the GPU is gone: {sight.gpu_problem}", remedy=remedy),)
    if loaded is not None and loaded.size_bytes and not loaded.vram_bytes:
        return (_on_cpu(sight),)
    taken = loaded or sight.manifest.taken
    if taken is not None and taken.on_cpu:
        return (
            Remark(what=taken.on_cpu, remedy=f"deployctl fit names what would make room; then deployctl up {name}"),
        )
    at_work = loaded is not None or sight.manifest.runtime == "vllm"
    if on == () and at_work:
        remedy = f"see nvidia-smi on the host; deployctl down {name} and deployctl up start it anew"
        return (Remark(what="the GPU's driver lists none of its processes: it computes on the CPU", remedy=remedy),)
    if on and meant and not set(on) <= set(meant):
        what = f"it computes on GPU {_listed(on)}, and was meant for {_listed(meant)}"
        return (Remark(what=what, remedy="give --gpus; deployctl plan shows what it would change"),)
    return ()


def _on_cpu(sight: Sight) -> Remark:
    """A model that lies in main memory whole, with what Ollama's log says of it."""
    manifest = sight.manifest
    found = remarks(mask(sight.engine.log), manifest.runtime, manifest.endpoint.expected_version or "")
    known = next((item for item in found if item.id in _NO_GPU), None) or named("ollama-gpu-discovery-failed")
    return Remark(what=f"the model runs on the CPU, not on the GPU: {known.cause}", remedy=known.remedy)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in numbers)


def _entrance(sight: Sight) -> tuple[Remark, ...]:
    """A gateway that does not lead in, and what lets in whom it should not."""
    seen, endpoint, runtime = sight.entrance, sight.manifest.endpoint, sight.manifest.runtime
    if seen is None:
        return ()
    gateway, found = endpoint.gateway, list[Remark]()
    leaks = [str(leak) for leak in seen.leaks]
    if gateway is not None and not seen.without_key:
        what = f"the gateway does not answer at {gateway.url}, while the engine serves"
        found.append(Remark(what=what, remedy=f"deployctl up {runtime} starts it again; {_GATEWAY_LOG}"))
    elif gateway is not None:
        leaks = seen.faults(endpoint)
        if not seen.key:
            what = f"nobody gets in: {gateway.keys} holds no key for users that may be used"
            found.append(Remark(what=what, remedy=f"deployctl keys create {sight.manifest.name} KEY"))
        elif seen.with_key != 200:
            what = f"the gateway answers {seen.with_key or 'nothing'} with a key, while the engine serves"
            found.append(Remark(what=what, remedy=f"deployctl up {runtime} repairs it; {_GATEWAY_LOG}"))
    remedy = f"see what listens there (ss -ltnp on the host); deployctl up {runtime} renews the gateway's part"
    return (*found, *(Remark(what=f"OPEN: {leak}", remedy=remedy) for leak in leaks))

"""What an engine really took, beside what was foreseen of it."""

from orchestrator.facts import Scope
from orchestrator.fit.decided import Decided
from orchestrator.fit.memory import GIB, MIB, Estimate
from orchestrator.health.taken import Taken, of_log, of_ps
from orchestrator.hosts.base import Host, HttpRequest
from orchestrator.planning.deploy import glance
from orchestrator.planning.manifest import Manifest
from orchestrator.planning.plan import Plan
from orchestrator.planning.room import engine_mib

_LOG_LINES = 2000
"""Enough for the start of an engine, which tells its figures then."""


def read_back(host: Host, scope: Scope | None, made: Plan, before: Manifest | None) -> Taken | None:
    """Ask an engine that has just answered what it took: one round trip, and on GPUs another to their driver.

    An engine that was not started anew has told before. Raises UnreachableError.
    """
    deployment = made.deployment
    estimate = deployment.fit.estimate if deployment.fit else None
    if deployment.runtime == "ollama":
        answer = host.http(HttpRequest(f"{deployment.endpoint.probe_url}/api/ps", timeout=10))
        found = of_ps(answer.body, deployment.endpoint.model) if answer.status == 200 else None
    else:
        found = of_log(made.service.log_tail(host, _LOG_LINES))
    if found is None:
        return before.taken if before else None
    if estimate is None or not _gpus(estimate):
        return found
    return found.model_copy(update={"gpu_bytes": _held(host, scope, made, estimate)})


def _held(host: Host, scope: Scope | None, made: Plan, estimate: Estimate) -> int | None:
    """What the driver counts for the engine; None where it does not tell, or another one of its kind runs there."""
    seen, mine = glance(host, scope), made.deployment
    if any(item.runtime == mine.runtime and item.name != mine.name for item in seen.manifests if item.status != "down"):
        return None
    sizes = [engine_mib(gpu, mine.runtime) for gpu in seen.facts.gpus if gpu.index in _gpus(estimate)]
    known = [size for size in sizes if size is not None]
    return sum(known) * MIB if known and len(known) == len(sizes) else None


def _gpus(estimate: Estimate) -> set[int]:
    return {place.gpu for place in estimate.placed if place.gpu is not None}


def spilled(fit: Decided | None, taken: Taken | None) -> str:
    """A warning where part of an Ollama model that was meant for a GPU runs on the CPU; else empty."""
    estimate = fit.estimate if fit else None
    meant = bool(_gpus(estimate)) if estimate else bool(taken and taken.vram_bytes)
    if taken is None or not meant or not taken.on_cpu:
        return ""
    return f"{taken.on_cpu}; `deployctl fit` names what would make room"


def compared(fit: Decided | None, taken: Taken | None) -> str:
    """What was taken, each figure with what was predicted of it, in one line; empty where nothing is known."""
    if taken is None:
        return ""
    found = fit.estimate if fit else None
    each = max(1, len(found.placed)) if found else 1  # vLLM tells of one GPU
    parts = {part.name: (part.low_bytes, part.high_bytes) for part in found.parts} if found else {}
    weights = parts.get("weights")
    figures = [
        _figure("weights", taken.weights_bytes, (weights[0] // each, weights[1] // each) if weights else None),
        _figure("kv", taken.kv_bytes, (found.kv_low_bytes // each, found.kv_high_bytes // each) if found else None),
        _figure("model", taken.size_bytes, _model(found) if found else None),
        _figure("GPU", taken.gpu_bytes, _on_gpus(found) if found else None),
    ]
    tokens = [f"room for {taken.kv_tokens} tokens"] if taken.kv_tokens else []
    return "; ".join([figure for figure in figures if figure] + tokens)


def _model(found: Estimate) -> tuple[int, int]:
    """What Ollama calls the size of a model: all but what its process takes beside."""
    parts = [part for part in found.parts if part.name != "overhead"]
    return sum(part.low_bytes for part in parts), sum(part.high_bytes for part in parts)


def _on_gpus(found: Estimate) -> tuple[int, int]:
    size = sum(place.need_bytes for place in found.placed if place.gpu is not None)
    return size, size


def _figure(name: str, size: int | None, foreseen: tuple[int, int] | None) -> str:
    if size is None:
        return ""
    told = f"{name} {size / GIB:.2f} GiB"
    if foreseen is None:
        return told
    low, high = f"{foreseen[0] / GIB:.2f}", f"{foreseen[1] / GIB:.2f}"
    return f"{told}, predicted {low if low == high else f'{low} to {high}'}"

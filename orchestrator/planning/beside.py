"""Replace an engine without a gap, where memory allows two: the new one starts beside the old one, and once it answers
the gateway leads to it."""

from pathlib import Path

from orchestrator.facts import Facts
from orchestrator.hosts.base import Host
from orchestrator.planning.deploy import Survey, plan, want
from orchestrator.planning.plan import Plan
from orchestrator.planning.resolve import Resolver
from orchestrator.resources.container import Container
from orchestrator.resources.model_files import ModelFiles
from orchestrator.runtimes import gpu as gpus
from orchestrator.runtimes.deployment import Deployment
from orchestrator.spec import Spec, VllmSpec

_CPU_SPARE = 2 << 30  # bytes that Python, torch and requests take beside weights and cache
_DEQUANTIZED = 4  # times the size of a GGUF of 4 bits


def planned(
    host: Host, spec: Spec, runtime: str, seen: Survey, resolver: Resolver, templates: Path | None, wanted: Deployment
) -> Plan:
    """The plan for what is wanted; for an engine that would be cut, the one that replaces it without a gap if it can.

    Raises RefusedError, UsageError, DeployError.
    """
    made = plan(host, wanted, seen)
    section = spec.for_runtime(runtime)
    if not isinstance(section, VllmSpec) or not _cuts(made, seen):
        return made
    short = no_room(section, seen.facts, wanted)
    if short:
        noted = wanted.model_copy(update={"notes": (*wanted.notes, f"replaced with a gap: {short}")})
        return made.model_copy(update={"deployment": noted})
    other = want(spec, runtime, seen, resolver, templates, other_copy=True)
    note = "the new engine starts beside the old one, which serves until it answers"
    return plan(host, other.model_copy(update={"notes": (*other.notes, note)}), seen)


def _cuts(made: Plan, seen: Survey) -> bool:
    """Whether a running container behind a gateway would be made anew. One without holds the port of the gateway."""
    change = next(item for item in made.changes if item.resource.address == made.deployment.service)
    before = next((item for item in seen.manifests if item.name == made.deployment.name), None)
    behind = all(one is not None and one.endpoint.gateway is not None for one in (before, made.deployment))
    running = change.action == "update" and change.observed.fields.get("running") is True
    return behind and running and isinstance(change.resource, Container)


def no_room(section: VllmSpec, facts: Facts, wanted: Deployment) -> str:
    """Why a second copy of the engine has no room beside the first, in words; empty where it has."""
    if wanted.summary.get("device") == "cuda":
        share = float(wanted.summary.get("gpu_utilization", section.gpu_mem))
        for card in gpus.chosen(facts.gpus, section.gpus, facts.host):
            needed = int(card.memory_total_mib * share)
            if card.memory_free_mib < needed:
                return f"GPU {card.index} has {card.memory_free_mib} MiB free, a second copy takes {needed} MiB"
        return ""
    container = next(item for item in wanted.resources if item.address == wanted.service)
    assert isinstance(container, Container), "only containers are replaced so"
    cache = int(container.spec.environment.get("VLLM_CPU_KVCACHE_SPACE", "4")) << 30
    models = [item for item in wanted.resources if isinstance(item, ModelFiles)]
    weights = sum(
        file.size * (_DEQUANTIZED if file.path.endswith(".gguf") else 1) for item in models for file in item.files
    )
    needed = weights + cache + _CPU_SPARE
    if facts.memory_available < needed:
        free, wants = facts.memory_available >> 20, needed >> 20
        return f"the host has {free} MiB of memory available, a second copy takes {wants} MiB"
    return ""

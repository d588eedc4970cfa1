"""What memory of a host a deployment may count on: what is free, what it holds itself, less others' promises."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.facts import Facts, Gpu
from orchestrator.fit.ledger import Claim, claims, left
from orchestrator.fit.memory import MIB, Card
from orchestrator.planning.manifest import Manifest

ENGINES = {"ollama": ("ollama", "llama"), "vllm": ("vllm",)}
"""Words by which the processes of a runtime are known to a GPU's driver."""


@dataclass(frozen=True)
class Room:
    """The host's facts with the memory that a deployment may take.

    ``now`` are those that its engine would find: what others were promised and do not use at the moment is free there.
    ``others`` are their claims.
    """

    facts: Facts
    now: Facts
    others: tuple[Claim, ...]


def room(facts: Facts, manifests: Sequence[Manifest], name: str, beside: Sequence[Claim] = ()) -> Room:
    """The room for the deployment of that name. ``beside`` are claims of those that are planned in the same run."""
    planned = {claim.deployment for claim in beside}
    alive = [item for item in manifests if item.status != "down" and item.name not in planned]
    others = [claim for item in alive if item.name != name for claim in claimed(item)]
    mine = next((item for item in alive if item.name == name), None)
    own = _own(facts, mine, alone=all(item is mine or mine is None or item.runtime != mine.runtime for item in alive))
    sliced = {gpu.index for gpu in facts.gpus if gpu.mig}  # nobody knows on which slice a deployment is
    everyone = tuple(claim for claim in (*others, *beside) if claim.gpu not in sliced)
    memory = min(facts.memory_total, facts.memory_available + _own_memory(facts, mine))
    now = facts.model_copy(update={"gpus": _with(facts.gpus, (), own), "memory_available": memory})
    return Room(now.model_copy(update={"gpus": _with(facts.gpus, everyone, own)}), now, everyone)


def claimed(manifest: Manifest) -> tuple[Claim, ...]:
    """What a deployment was promised of the GPUs."""
    estimate = manifest.fit.estimate if manifest.fit else None
    return claims(manifest.name, estimate) if estimate else ()


def engine_mib(gpu: Gpu, runtime: str) -> int | None:
    """What the processes of a runtime hold of a GPU, in MiB; None where the driver does not tell."""
    words = ENGINES[runtime]
    held = [process.memory_mib for process in gpu.processes if any(word in process.name.lower() for word in words)]
    known = [size for size in held if size is not None]
    return sum(known) if known and len(known) == len(held) else None


def _own(facts: Facts, mine: Manifest | None, *, alone: bool) -> tuple[Claim, ...]:
    """What the deployment itself holds now, which it gives back when it is replaced."""
    if mine is None or not _runs(facts, mine):
        return ()
    promised = {claim.gpu: claim.size_bytes for claim in claimed(mine)}
    found = []
    for gpu in facts.gpus:
        seen = engine_mib(gpu, mine.runtime) if alone else None
        size = promised.get(gpu.index, 0) if seen is None else seen * MIB
        found.append(Claim(mine.name, gpu.index, min(size, gpu.memory_used_mib * MIB)))
    return tuple(found)


def _own_memory(facts: Facts, mine: Manifest | None) -> int:
    """Bytes of main memory that it holds, as far as they were foreseen."""
    estimate = mine.fit.estimate if mine and mine.fit else None
    if mine is None or estimate is None or not _runs(facts, mine):
        return 0
    return sum(place.need_bytes for place in estimate.placed if place.gpu is None)


def _runs(facts: Facts, mine: Manifest) -> bool:
    port = mine.endpoint.probe_url.rpartition(":")[2]
    return port.isdigit() and facts.listening("127.0.0.1", int(port))


def _with(gpus: Sequence[Gpu], others: Sequence[Claim], own: Sequence[Claim]) -> tuple[Gpu, ...]:
    """The GPUs with what is left of them; those that are shared out by MIG stay as they are."""
    cards = [Card(gpu.name, gpu.memory_total_mib, gpu.memory_free_mib, gpu.index) for gpu in gpus]
    return tuple(
        gpu if gpu.mig else gpu.model_copy(update={"memory_free_mib": card.free_mib})
        for gpu, card in zip(gpus, left(cards, others, own), strict=True)
    )

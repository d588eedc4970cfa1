"""What of a host counts for whether a model fits."""

from orchestrator.facts import Facts, Gpu
from orchestrator.fit.memory import Card, Machine


def machine_of(facts: Facts) -> Machine:
    """The GPUs as they are now, slices of them where they are shared out by MIG, and main memory."""
    cards = tuple(card for gpu in facts.gpus for card in _cards(gpu))
    return Machine(cards, facts.memory_total, facts.memory_available)


def _cards(gpu: Gpu) -> tuple[Card, ...]:
    if not gpu.mig:
        return (Card(gpu.name, gpu.memory_total_mib, gpu.memory_free_mib, gpu.index),)
    return tuple(
        Card(f"{gpu.name} MIG {one.profile}".rstrip(), one.memory_total_mib, one.memory_free_mib, gpu.index)
        for one in gpu.mig_instances
    )

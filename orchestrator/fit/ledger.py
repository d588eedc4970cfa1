"""What deployments on the same GPUs hold together: each as much as was promised to it, whether or not it runs now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.fit.memory import MIB, Card, Estimate


@dataclass(frozen=True)
class Claim:
    """What a deployment holds of a GPU, or will once its model is loaded: the GPU's number and bytes."""

    deployment: str
    gpu: int
    size_bytes: int


def claims(deployment: str, found: Estimate) -> tuple[Claim, ...]:
    """What a deployment claims by the estimate it was made with."""
    return tuple(Claim(deployment, place.gpu, place.need_bytes) for place in found.placed if place.gpu is not None)


def left(cards: Sequence[Card], others: Iterable[Claim], own: Iterable[Claim] = ()) -> tuple[Card, ...]:
    """The cards with what others claim taken off, also where an idle engine holds nothing at the moment.

    ``others`` are the claims of all other deployments. ``own`` is what a deployment that is changed holds now, as the
    driver shows it: its successor gets that back.
    """
    claimed: dict[int, int] = {}
    for claim in others:
        claimed[claim.gpu] = claimed.get(claim.gpu, 0) + max(0, claim.size_bytes)
    returned: dict[int, int] = {}
    for claim in own:
        returned[claim.gpu] = returned.get(claim.gpu, 0) + max(0, claim.size_bytes)
    return tuple(_left(card, claimed.get(card.index, 0) // MIB, returned.get(card.index, 0) // MIB) for card in cards)


def _left(card: Card, claimed_mib: int, returned_mib: int) -> Card:
    """Others that run are missing from the free memory already, those that sleep are not: the smaller figure counts."""
    free = min(card.free_mib + returned_mib, card.usable_mib)
    return replace(card, free_mib=max(0, min(free, card.usable_mib - claimed_mib)))


def pushed_out(cards: Sequence[Card], claimed: Iterable[Claim]) -> tuple[str, ...]:
    """The deployments on GPUs that are promised more than they have."""
    sums: dict[int, int] = {}
    everyone = tuple(claimed)
    for claim in everyone:
        sums[claim.gpu] = sums.get(claim.gpu, 0) + max(0, claim.size_bytes)
    full = {card.index for card in cards if sums.get(card.index, 0) > card.usable_mib * MIB}
    return tuple(dict.fromkeys(claim.deployment for claim in everyone if claim.gpu in full))

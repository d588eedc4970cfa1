"""What of a host's facts counts for memory."""

from orchestrator.facts.model import Gpu, MigInstance
from orchestrator.fit.memory import Card
from orchestrator.planning.machine import machine_of
from orchestrator.planning.nominal import nominal_facts

CARD = Gpu(index=3, uuid="GPU-1", name="A100", memory_total_mib=40960, memory_free_mib=30000, driver="580")


def test_cards_and_main_memory() -> None:
    facts = nominal_facts(16384, gpu=False, systemd=True).model_copy(update={"gpus": (CARD,)})
    machine = machine_of(facts)
    assert machine.cards == (Card("A100", 40960, 30000, 3),)
    assert (machine.ram_total_bytes, machine.ram_free_bytes) == (facts.memory_total, facts.memory_available)


def test_a_shared_out_card_is_its_slices() -> None:
    slices = tuple(
        MigInstance(index=n, profile="1g.10gb", memory_total_mib=9728, memory_used_mib=0, memory_free_mib=9000 + n)
        for n in range(2)
    )
    shared = CARD.model_copy(update={"mig": True, "mig_instances": slices})
    facts = nominal_facts(16384, gpu=False, systemd=True).model_copy(update={"gpus": (shared,)})
    assert machine_of(facts).cards == (
        Card("A100 MIG 1g.10gb", 9728, 9000, 3),
        Card("A100 MIG 1g.10gb", 9728, 9001, 3),
    )


def test_without_gpus_there_is_main_memory() -> None:
    assert machine_of(nominal_facts(16384, gpu=False, systemd=True)).cards == ()

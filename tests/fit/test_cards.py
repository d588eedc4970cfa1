"""GPUs by name, however the name is written."""

import pytest

from orchestrator.errors import UsageError
from orchestrator.fit.cards import TOTAL_MIB, card_named, idle_card


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("RTX 4060 Ti 16GB", "RTX 4060 Ti 16GB"),
        ("rtx4060ti-16gb", "RTX 4060 Ti 16GB"),
        ("NVIDIA GeForce RTX 3060", "RTX 3060 12GB"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti SUPER"),
        ("Tesla T4", "T4"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
    ],
)
def test_a_name_as_people_or_drivers_write_it(written: str, name: str) -> None:
    card = card_named(written)
    assert (card.name, card.total_mib) == (name, TOTAL_MIB[name])
    assert card.free_mib == card.usable_mib < card.total_mib


@pytest.mark.parametrize("name", TOTAL_MIB)
def test_every_name_means_its_own_card(name: str) -> None:
    assert card_named(name).name == name


@pytest.mark.parametrize("written", ["RTX 4060 Ti", "A100", "v100"])
def test_a_card_with_several_memories_has_to_be_told_apart(written: str) -> None:
    with pytest.raises(UsageError, match="several memories") as caught:
        card_named(written)
    assert "GB" in caught.value.remedy


@pytest.mark.parametrize("written", ["", "Voodoo 2", "GPU", ".*", "RTX 4060 Ti (16"])
def test_an_unknown_name_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="is not known here") as caught:
        card_named(written)
    assert "--vram" in caught.value.remedy


def test_an_idle_card_has_what_the_driver_leaves() -> None:
    """An RTX 4060 Ti 16GB shows 16380 MiB, of which llama.cpp sees 15831 after its own context of 245."""
    assert idle_card("x", 16380).free_mib == pytest.approx(15831 + 245, abs=5)

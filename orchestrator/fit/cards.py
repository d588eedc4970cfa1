"""GPUs by name, for those who have none at hand: what nvidia-smi shows as their total, in MiB, with nothing on them."""

import re
from difflib import get_close_matches

from orchestrator.errors import UsageError
from orchestrator.fit.memory import Card

TOTAL_MIB = {
    "GTX 1080 Ti": 11264, "RTX 2060": 6144, "RTX 2070": 8192, "RTX 2080": 8192, "RTX 2080 Ti": 11264,
    "RTX 3050": 8192, "RTX 3060 12GB": 12288, "RTX 3060 Ti": 8192, "RTX 3070": 8192, "RTX 3070 Ti": 8192,
    "RTX 3080 10GB": 10240, "RTX 3080 12GB": 12288, "RTX 3080 Ti": 12288, "RTX 3090": 24576, "RTX 3090 Ti": 24564,
    "RTX 4060": 8188, "RTX 4060 Ti 8GB": 8188, "RTX 4060 Ti 16GB": 16380, "RTX 4070": 12282, "RTX 4070 SUPER": 12282,
    "RTX 4070 Ti": 12282, "RTX 4070 Ti SUPER": 16376, "RTX 4080": 16376, "RTX 4080 SUPER": 16376, "RTX 4090": 24564,
    "RTX 5060": 8151, "RTX 5060 Ti 8GB": 8151, "RTX 5060 Ti 16GB": 16311, "RTX 5070": 12227, "RTX 5070 Ti": 16303,
    "RTX 5080": 16303, "RTX 5090": 32607,
    "RTX A4000": 16376, "RTX A4500": 20470, "RTX A5000": 24564, "RTX A6000": 49140, "RTX 4000 Ada": 20475,
    "RTX 6000 Ada": 49140, "RTX PRO 6000 Blackwell": 97887,
    "T4": 15360, "V100 16GB": 16384, "V100 32GB": 32768, "A10": 23028, "A10G": 23028, "A30": 24576, "A40": 46068,
    "A100 40GB": 40960, "A100 80GB": 81920, "L4": 23034, "L40": 46068, "L40S": 46068, "H100 80GB": 81559,
    "H100 NVL": 95830, "H200": 143771, "B200": 183359,
}  # fmt: skip
"""Cards with error correction are told as they come, with it on."""


def card_named(name: str) -> Card:
    """The idle card of that name, however it is written ("rtx 4060ti 16 gb").

    Raises UsageError, with the names that come close, for one that is not known.
    """
    plain = {_plain(known): known for known in TOTAL_MIB}
    asked = _plain(name)
    found = (
        [asked] if asked in plain else [known for known in plain if re.fullmatch(rf"{re.escape(asked)}\d+gb", known)]
    )
    if len(found) == 1:
        return idle_card(plain[found[0]], TOTAL_MIB[plain[found[0]]])
    offered = [plain[known] for known in found or get_close_matches(asked, plain, n=5, cutoff=0.5)] or list(TOTAL_MIB)
    which = "is made with several memories" if found else "is not known here"
    raise UsageError(
        f"The GPU {name!r} {which}", remedy=f"Name one of: {', '.join(offered)}; or give its memory with --vram."
    )


def idle_card(name: str, total_mib: int) -> Card:
    """A card with nothing on it but what its driver keeps back."""
    return Card(name, total_mib, Card(name, total_mib, total_mib).usable_mib)


def _plain(name: str) -> str:
    """Letters and digits alone, without what drivers add to the name and people leave out."""
    added = r"nvidia|geforce|tesla|quadro|generation|edition|workstation|server|pcie|sxm\d?|hbm\d?e?"
    return re.sub(rf"{added}|[^a-z0-9]", "", name.lower())

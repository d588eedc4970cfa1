"""Sizes of memory and numbers of tokens, as they are typed."""

import re

from orchestrator.errors import UsageError


def mib(option: str, text: str) -> int:
    """A size such as 16GiB or 16384MiB, in MiB. Raises UsageError, with the option's name, for anything else."""
    match = re.fullmatch(r"(\d{1,7}(?:\.\d{1,6})?)\s*(GiB|MiB)", text, re.ASCII)
    if match is None:
        raise UsageError(f"{option} takes a size such as 16GiB or 16384MiB, got {text!r}")
    return int(float(match[1]) * (1024 if match[2] == "GiB" else 1))


def tokens(text: str) -> int:
    """A number of tokens: 24576, 24k (24000) or 24K (24576). Raises ValueError, which Click tells as it should be."""
    from orchestrator.spec.tokens import human_tokens

    number = human_tokens(text)
    if not 1 <= number <= 1 << 30:
        raise ValueError(text)
    return number

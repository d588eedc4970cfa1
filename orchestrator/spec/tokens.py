"""Numbers of tokens, as people and vLLM write them."""

import re
from decimal import Decimal

_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_NUMBER = re.compile(r"([0-9]{1,15})(\.[0-9]{1,9})?([kKmMgGtT]?)", re.ASCII)


def human_tokens(text: str) -> int:
    """A number of tokens from ``24576``, ``24k`` (24000), ``24K`` (24576) or ``25.6k`` (25600).

    The rules are vLLM's for ``--max-model-len`` (its ``argparse_utils``): a small suffix counts in thousands and may
    have decimals, a capital one counts in 1024s and may not. Raises ValueError with what was expected.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError("a number of tokens such as 24576, 24k (24000) or 24K (24576)")
    whole, decimals, suffix = match[1], match[2] or "", match[3]
    if not decimals:
        return int(whole) * (_DECIMAL | _BINARY).get(suffix, 1)
    if suffix in _BINARY:
        raise ValueError(
            f"a whole number before {suffix}. Decimals are not allowed with binary suffixes; "
            f"{whole}{decimals}{suffix.lower()} counts in thousands"
        )
    if not suffix:
        raise ValueError("a whole number of tokens")
    return int(Decimal(whole + decimals) * _DECIMAL[suffix])

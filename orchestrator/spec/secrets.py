"""What looks like a secret, so that it is neither accepted where it does not belong nor echoed."""

import re

_ALWAYS = frozenset({"secret", "secrets", "password", "passwd", "passphrase", "credential", "credentials", "apikey"})
_LAST = frozenset({"token", "key", "auth"})
_VALUE = re.compile(
    r"hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|-----BEGIN|://[^/\s]*@|bearer\s+\S",
    re.IGNORECASE,
)


def secret_name(name: str) -> bool:
    """Whether a key or variable of this name holds a secret (``HF_TOKEN`` does, ``max_tokens`` does not)."""
    words = re.split(r"[^a-z0-9]+", name.lower().removesuffix("_env"))
    return words[-1] in _LAST or not _ALWAYS.isdisjoint(words)


def secret_value(value: object) -> bool:
    """Whether this text looks like a token, a private key, or a URL with a password."""
    return isinstance(value, str) and _VALUE.search(value) is not None

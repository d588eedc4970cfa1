"""How a machine is written: ``gpu01``, ``10.0.0.5``, ``user@host:22``, ``[::1]:22``."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

_USER = r"[A-Za-z0-9_][A-Za-z0-9_.+\\-]{0,63}"
_HOST = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}"
_WRITTEN = re.compile(
    rf"(?:(?P<user>{_USER})@)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>{_HOST}))(?::(?P<port>[0-9]{{1,5}}))?"
)
EXPECTED = "a name, an address, user@host:port or [IPv6]:port, without spaces and without a dash at the beginning"


@dataclass(frozen=True)
class Address:
    """Where to connect; what is not said is None."""

    host: str
    user: str | None = None
    port: int | None = None


def parse_address(text: str) -> Address:
    """Read a machine as a user writes it. Raises ValueError with what was expected."""
    if _is_six(text):
        return Address(text)
    match = _WRITTEN.fullmatch(text)
    if match is None or (match["six"] is not None and not _is_six(match["six"])):
        raise ValueError(EXPECTED)
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("a port from 1 to 65535")
    return Address(match["six"] or match["host"], match["user"], port)


def check_host(text: str) -> str:
    """A bare host name or address. Raises ValueError."""
    if parse_address(text) != Address(text):
        raise ValueError("a name or an address alone; user and port have keys of their own")
    return text


def check_user(text: str) -> str:
    """A login name. Raises ValueError."""
    if re.fullmatch(_USER, text) is None:
        raise ValueError("a login name")
    return text


def check_hop(text: str) -> str:
    """A jump host, as ``parse_address`` reads it. Raises ValueError."""
    parse_address(text)
    return text


def _is_six(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text

"""Whether those get in who should, and nobody else.

The host asks at its gateway as clients do: with a key, without one, with a wrong one. Then it asks itself at each of
its addresses that is not loopback, and the controller asks at the addresses it knows. Every port is tried; what answers
with content to somebody without a right key is a leak.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from orchestrator.health.endpoint import Endpoint
from orchestrator.hosts.base import Host, HttpRequest, quote
from orchestrator.hosts.local import LocalHost

WRONG_KEY = "sk-deployctl-this-is-no-key"
"""What nobody may come in with."""

_PATHS = {"ollama": ("/v1/models", "/api/tags", "/"), "vllm": ("/v1/models", "/metrics", "/invocations")}
"""What tells most: routes that answer a mere GET."""

_REMOTE_S = 2.0
"""How long the controller waits for one answer, in seconds."""

_CONNECT_S = 0.75
"""How long it waits for a connection: a firewall that drops lets it wait for nothing."""


class Leak(BaseModel):
    """A port that answered somebody whom it should have refused."""

    model_config = ConfigDict(frozen=True)

    place: str
    """``ADDRESS:PORT``."""
    key: str
    """``without a key`` or ``with a wrong key``."""
    status: int
    seen_from: str

    def __str__(self) -> str:
        address, _, port = self.place.rpartition(":")
        return f"{port} answers {self.key} on {address} ({self.status}, asked from {self.seen_from})"


class Seen(BaseModel):
    """What the host saw when it asked itself. Statuses are HTTP's, 0 where nothing answered."""

    model_config = ConfigDict(frozen=True)

    key: bool = False
    """Whether there is a key for users that has not ended."""
    with_key: int = 0
    without_key: int = 0
    with_wrong_key: int = 0
    leaks: tuple[Leak, ...] = ()

    def faults(self, endpoint: Endpoint) -> list[str]:
        """What somebody without a right key gets to see although he should not, in words."""
        found = [str(leak) for leak in self.leaks]
        if endpoint.gateway is not None:
            for how, status in (("without a key", self.without_key), ("with a wrong key", self.with_wrong_key)):
                found += [] if status == 401 else [f"{endpoint.gateway.url} answers {status} {how}, not 401"]
        return found

    def fine(self, endpoint: Endpoint) -> bool:
        """Whether everything is as it should be, so that nothing needs to be asked again."""
        return not self.faults(endpoint) and (endpoint.gateway is None or self.with_key == 200)


def script(endpoint: Endpoint, tries: int) -> str:
    """Ask on the host: at the gateway as clients do, then at all its addresses.

    A gateway or engine that is not there yet is asked so many times, a quarter of a second apart.
    """
    settings = {
        "url": f"{endpoint.gateway.url}/v1/models" if endpoint.gateway else "",
        "connect": f"::{endpoint.gateway.connect}" if endpoint.gateway else "",
        "keys": endpoint.gateway.keys if endpoint.gateway else "",
        "ports": " ".join(str(port) for port in endpoint.ports),
        "paths": " ".join(_PATHS[endpoint.runtime]),
        "wrong": WRONG_KEY,
        "tries": str(tries),
    }
    return "".join(f"{name}={quote(value)}\n" for name, value in settings.items()) + _SCRIPT


def read(output: str, host: str, outside: Iterable[Leak] = ()) -> Seen:
    """What the script printed; one leak for each place and key, after it those that were found from ``outside``."""
    said: dict[str, int] = {}
    leaks: dict[tuple[str, str], Leak] = {}
    for line in output.splitlines():
        name, *words = line.split()
        if name == "leak" and len(words) == 3 and words[2].isdigit():
            how = "with a wrong key" if words[1] == "wrong" else "without a key"
            leaks.setdefault((words[0], how), Leak(place=words[0], key=how, status=int(words[2]), seen_from=host))
        elif len(words) == 1 and words[0].isdigit():
            said[name] = int(words[0])
    return Seen.model_validate({**said, "key": "with_key" in said, "leaks": (*leaks.values(), *outside)})


_SCRIPT = files(__package__).joinpath("entrance.sh").read_text(encoding="utf-8")


def look(host: Host, endpoint: Endpoint, addresses: Sequence[str]) -> Seen:
    """Ask on the host, then from here, where that is another machine. Raises UnreachableError."""
    outside = () if host.is_local else from_here(known_addresses(endpoint, addresses), endpoint)
    return read(host.run(script(endpoint, 0), timeout=60).stdout, host.name, outside)


def from_here(addresses: Iterable[str], endpoint: Endpoint) -> tuple[Leak, ...]:
    """Ask the host at these addresses, from the controller: all at once. Loopback is no way to another machine."""
    places = [(address.strip("[]"), port) for address in addresses if _outside(address) for port in endpoint.ports]
    if not places:
        return ()
    with ThreadPoolExecutor(4 * len(places)) as pool:
        reached = pool.map(_connects, places)
        opened = [f"{_bracketed(place[0])}:{place[1]}" for place, opens in zip(places, reached, strict=True) if opens]
        asked = [(place, scheme, key) for place in opened for scheme in ("http", "https") for key in ("", WRONG_KEY)]
        statuses = pool.map(lambda item: _status(endpoint, *item), asked)
        leaks = [
            Leak(place=place, key="with a wrong key" if key else "without a key", status=status, seen_from="here")
            for (place, _, key), status in zip(asked, statuses, strict=True)
            if 200 <= status < 300
        ]
    return tuple(leaks)


def _connects(place: tuple[str, int]) -> bool:
    """Whether anything listens there, which costs less than a request that is refused."""
    try:
        socket.create_connection(place, timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def _status(endpoint: Endpoint, place: str, scheme: str, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"{scheme}://{place}{_PATHS[endpoint.runtime][0]}"
    return LocalHost().http(HttpRequest(url, headers=headers, timeout=_REMOTE_S, connect=place, verify=False)).status


def known_addresses(endpoint: Endpoint, more: Sequence[str]) -> tuple[str, ...]:
    """Where clients would look for it: as its URL says, and where the controller itself goes (``more``)."""
    named = urlsplit(endpoint.url).hostname or ""
    return tuple(dict.fromkeys(item for item in (named, *more) if item and _outside(item)))


def _outside(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address != "localhost"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address

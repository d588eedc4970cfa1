"""Opening hosts, and working on several at once."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host
from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.route import Entry
from orchestrator.hosts.secret import Secret
from orchestrator.hosts.ssh import SSHHost

T = TypeVar("T")

KNOWN_HOSTS = "DEPLOYCTL_KNOWN_HOSTS"
"""Environment variable: a known_hosts file that is trusted besides the user's and the system's."""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of the work on one host: a value, or the failure that ended it."""

    host: Host
    value: T | None = None
    error: DeployError | None = None

    @property
    def is_done(self) -> bool:
        """Whether the work ended well."""
        return self.error is None


def open_host(
    entry: Entry,
    *,
    sudo_password: Secret | None = None,
    known_hosts: Path | None = None,
    connect_timeout: float = 10.0,
) -> Host:
    """The host of an inventory entry (address ``local`` is this machine), which connects on first use.

    ``connect_timeout`` is in seconds, for each hop.
    """
    if entry.address == "local":
        return LocalHost(entry.become, sudo_password, name=entry.name)
    if known_hosts is None and (named := os.environ.get(KNOWN_HOSTS)):
        known_hosts = Path(named).expanduser()
    return SSHHost(entry, sudo_password=sudo_password, known_hosts=known_hosts, connect_timeout=connect_timeout)


def on_each(hosts: Sequence[Host], work: Callable[[Host], T], *, limit: int = 8) -> list[Outcome[T]]:
    """Do the work on every host, at most ``limit`` at once; the outcomes in the order of the hosts.

    A DeployError on one host does not stop the others; any other exception is raised once all have ended. An
    interrupt drops the hosts not begun, closes the connections of all, waits for those at work and goes on up.
    """
    if not hosts:
        return []
    with ThreadPoolExecutor(max_workers=max(1, min(limit, len(hosts))), thread_name_prefix="host") as pool:
        try:
            futures = [pool.submit(work, host) for host in hosts]
            wait(futures)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for host in hosts:
                host.close()
            raise
    return [_outcome(host, future) for host, future in zip(hosts, futures, strict=True)]


def _outcome(host: Host, future: "Future[T]") -> Outcome[T]:
    error = future.exception()
    if error is None:
        return Outcome(host, value=future.result())
    if isinstance(error, DeployError):
        return Outcome(host, error=error)
    raise error

"""The way to a host over SSH: Fabric connections through every jump host, each with a key that must be known.

Fabric trusts every host key by default and visits the hops of a ProxyJump in the wrong order; here each hop has
the same strict policy, and hops are in the order in which ssh(1) visits them.
"""

import logging
import math
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.errors import UnreachableError
from orchestrator.hosts import known_hosts
from orchestrator.hosts.base import quote
from orchestrator.hosts.private import refuse_shared
from orchestrator.hosts.shell import Become

if TYPE_CHECKING:
    import paramiko
    from fabric import Connection

_ALIVE = 5  # seconds between signs of life
_LOST = 20_000  # milliseconds without an acknowledgement until a connection counts as lost
_AUTH = 30.0  # seconds


class Entry(Protocol):
    """What is needed of an inventory's host."""

    @property
    def name(self) -> str:
        """The name the user knows it by."""

    @property
    def address(self) -> str:
        """Name or address to connect to; ``local`` for this machine."""

    @property
    def user(self) -> str | None:
        """Login name; None leaves it to the SSH configuration."""

    @property
    def port(self) -> int | None:
        """SSH port; None as above."""

    @property
    def key(self) -> Path | None:
        """Private key file on this machine; None as above."""

    @property
    def jump(self) -> Sequence[str]:
        """Hosts to go through, the first one first."""

    @property
    def become(self) -> Become:
        """Whether to become root by sudo."""


class HostKeyError(Exception):
    """A machine showed a key that is not known; ``known`` holds its known_hosts lines, if it has others."""

    def __init__(self, key: "paramiko.PKey", known: Sequence[str]) -> None:
        super().__init__()
        self.key = key
        self.known = known


class _Strict:
    """A paramiko policy: only the keys of these known_hosts lines."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def missing_host_key(self, client: object, hostname: str, key: "paramiko.PKey") -> None:
        if (key.get_name(), key.get_base64()) not in map(known_hosts.key_of, self._known):
            raise HostKeyError(key, self._known)

    def transport(self, sock: Any, **options: Any) -> "paramiko.Transport":  # noqa: ANN401  (as paramiko calls it)
        """A transport that asks first for a key of a type that is known."""
        import paramiko

        transport = paramiko.Transport(sock, **options)
        security = transport.get_security_options()
        types = {kind for kind, _ in map(known_hosts.key_of, self._known)}
        types |= {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in types else set()
        security.key_types = sorted(security.key_types, key=lambda kind: kind not in types)
        return transport


def host_key_name(connection: "Connection") -> str:
    """The machine as known_hosts writes it: ``address``, or ``[address]:port``."""
    address = str(connection.host).lower()
    return address if connection.port == 22 else f"[{address}]:{connection.port}"


def _address(jump: str) -> str:
    return jump.rpartition("@")[2].partition(":")[0]


class Route:
    """Connections to the jump hosts and, last, to the host. ~/.ssh/config is honoured on the way."""

    def __init__(self, entry: Entry, *, known_hosts_file: Path | None = None, timeout: float = 10.0) -> None:
        """``timeout`` is in seconds, for each hop.

        Raises UnreachableError when the way makes no sense, RefusedError for a private key that others may read.
        """
        from fabric import Config
        from paramiko.ssh_exception import SSHException

        # paramiko prints tracebacks of what is raised as well.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        self.entry = entry
        self._timeout = timeout
        self._trusted = known_hosts.trusted_files(known_hosts_file)
        if entry.key is not None and not entry.key.expanduser().is_file():
            raise UnreachableError(
                f"the key file {entry.key} is missing", host=entry.name, remedy=f"name the right key for {entry.name}"
            )
        try:
            self._config = Config()
            self.hops: list[Connection] = self._hops()
        except (SSHException, OSError, ValueError) as error:
            raise UnreachableError(
                f"cannot work out the way to {entry.address}",
                host=entry.name,
                why=str(error),
                remedy=f"correct the address and jumps of {entry.name}, or ~/.ssh/config",
            ) from error
        for hop in self.hops:  # the keys of ~/.ssh/config too, which ssh itself would leave unused
            for name in hop.connect_kwargs.get("key_filename", []):
                refuse_shared(Path(name).expanduser(), host=entry.name)

    def open(self, count: int | None = None) -> "paramiko.Transport | None":
        """Connect hop by hop (the first ``count`` of them); the last one's transport.

        Raises UnreachableError with what to do about it.
        """
        for connection in self.hops[:count]:
            self._open(connection)
        return self.hops[:count][-1].transport if self.hops[:count] else None

    def close(self) -> None:
        """Close all hops, the farthest first."""
        for connection in reversed(self.hops):
            connection.client.close()

    def _hops(self) -> "list[Connection]":
        entry = self.entry
        if not entry.address:
            raise ValueError("the address is empty")
        names = list(entry.jump) or self._jumps_of(entry.address)
        hops: list[Connection] = []
        key: dict[str, Any] = {"key_filename": [str(entry.key.expanduser())]} if entry.key else {}
        for name in self._expanded(names, frozenset()):
            hops.append(self._connection(name, key, gateway=hops[-1] if hops else False))
        if entry.key is not None:  # the one that is named, and no other
            key = {**key, "look_for_keys": False, "allow_agent": False}
        gateway = hops[-1] if hops else self._lookup(entry.address).get("proxycommand", False)
        hops.append(self._connection(entry.address, key, gateway=gateway, user=entry.user, port=entry.port))
        return hops

    def _lookup(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._config.base_ssh_config.lookup(name)
        return found

    def _jumps_of(self, name: str) -> list[str]:
        """A ProxyJump of the user's configuration; ``Host *`` may give one to the jump host itself, which has none."""
        said = self._lookup(name).get("proxyjump", "none")
        jumps = [] if said.lower() == "none" else [jump.strip() for jump in said.split(",")]
        return [] if name in map(_address, jumps) else jumps

    def _expanded(self, names: list[str], seen: frozenset[str]) -> list[str]:
        """The first jump may have a ProxyJump of its own."""
        if not names or names[0] in seen:
            return names
        return self._expanded(self._jumps_of(_address(names[0])), seen | {names[0]}) + names

    def _connection(self, host: str, key: dict[str, Any], **options: object) -> "Connection":
        from fabric import Connection

        limits = {"banner_timeout": self._timeout, "channel_timeout": self._timeout, "auth_timeout": _AUTH}
        connection = Connection(
            host,
            config=self._config,
            connect_timeout=max(1, math.ceil(self._timeout)),
            connect_kwargs={**key, **limits},
            forward_agent=False,
            **options,
        )
        policy = _Strict(known_hosts.lines_of(host_key_name(connection), self._trusted))
        connection.client.set_missing_host_key_policy(policy)
        connection.connect_kwargs["transport_factory"] = policy.transport
        return connection

    def _open(self, connection: "Connection") -> None:
        import paramiko
        from paramiko.ssh_exception import SSHException

        try:
            connection.open()
        except (HostKeyError, SSHException, OSError, EOFError, ValueError) as error:
            connection.client.close()
            raise explain(error, self.entry, connection, is_jump=connection is not self.hops[-1]) from None
        transport: paramiko.Transport = connection.transport
        transport.set_keepalive(_ALIVE)
        if isinstance(transport.sock, socket.socket):
            with suppress(OSError):
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # macOS has no such limit; the time limit of each command still ends a dead connection there.
                if hasattr(socket, "TCP_USER_TIMEOUT"):
                    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _LOST)


def explain(error: BaseException, entry: Entry, connection: "Connection", *, is_jump: bool) -> UnreachableError:
    """Say what went wrong on the way and what to type next."""
    import paramiko
    from paramiko import ssh_exception

    where = f"{'jump host ' if is_jump else ''}{connection.host} port {connection.port}"
    trust = f"deployctl hosts trust {quote(entry.name)}"

    def unreachable(what: str, why: str, remedy: str) -> UnreachableError:
        return UnreachableError(what, host=entry.name, why=why, remedy=remedy)

    if isinstance(error, HostKeyError) and not error.known:
        return unreachable(f"the key of {where} is not known", f"it shows {_shown(error.key)}", trust)
    if isinstance(error, HostKeyError):
        return unreachable(
            f"THE HOST KEY OF {where} HAS CHANGED: the machine was reinstalled, or somebody is in between",
            "\n".join(
                [*(f"known: {known_hosts.described(line)}" for line in error.known), f"shown: {_shown(error.key)}"]
            ),
            "compare it on the machine's console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); "
            f"if it is right: {trust} --replace",
        )
    if isinstance(error, ssh_exception.PasswordRequiredException):
        return unreachable("the SSH key has a passphrase", str(error), f"ssh-add {_key(entry)}".strip())
    if isinstance(error, paramiko.AuthenticationException):
        return unreachable(f"{where} refuses the login of {connection.user}", str(error), _copy_id(entry, connection))
    if isinstance(error, socket.gaierror):
        return unreachable(f"the name {connection.host} is not known", str(error.strerror), "check the address")
    if isinstance(error, ssh_exception.NoValidConnectionsError):
        reasons = {getattr(each, "strerror", str(each)) for each in error.errors.values()}
        return unreachable(f"nothing answers on {where}", ", ".join(sorted(reasons)), "check that sshd runs there")
    if isinstance(error, TimeoutError):
        return unreachable(f"{where} does not answer in time", "timed out", "check the address and the firewall")
    if isinstance(error, paramiko.ChannelException):
        return unreachable(f"the jump host cannot reach {where}", str(error.text), "check the address and the firewall")
    return unreachable(f"no SSH session with {where}", str(error) or type(error).__name__, "check that it is an sshd")


def _shown(key: "paramiko.PKey") -> str:
    return f"{key.get_name()} {key.fingerprint}"


def _key(entry: Entry) -> str:
    return quote(str(entry.key)) if entry.key else ""


def _copy_id(entry: Entry, connection: "Connection") -> str:
    key = f"-i {_key(entry)} " if entry.key else ""
    port = f"-p {connection.port} " if connection.port != 22 else ""
    return f"ssh-copy-id {key}{port}{quote(f'{connection.user}@{connection.host}')}"

"""Host keys: what a machine shows, what is known of it, and writing down what a person has compared."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts import known_hosts as files
from orchestrator.hosts.base import quote
from orchestrator.hosts.route import Entry, Route, explain, host_key_name

if TYPE_CHECKING:
    import paramiko
    from fabric import Connection

_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512")


@dataclass(frozen=True)
class HostKey:
    """A public key that a machine shows. ``name`` is the machine as known_hosts writes it."""

    name: str
    type: str
    fingerprint_sha256: str
    line: str


def known(entry: Entry, known_hosts: Path | None = None) -> Literal["known", "unknown"]:
    """Whether every machine on the way has a key in known_hosts. Touches no network.

    Raises UnreachableError when the way makes no sense.
    """
    names = [host_key_name(connection) for connection in Route(entry, known_hosts_file=known_hosts).hops]
    trusted = files.trusted_files(known_hosts)
    return "known" if all(files.lines_of(name, trusted) for name in names) else "unknown"


def scan(entry: Entry, known_hosts: Path | None = None, *, timeout: float = 10.0) -> list[HostKey]:
    """The keys of the host, or of the first jump host on the way to it that is not known yet.

    Scan, compare, trust, and again, until ``known`` says so. ``timeout`` is in seconds a connection.
    Raises UnreachableError when it cannot be reached.
    """
    route = Route(entry, known_hosts_file=known_hosts, timeout=timeout)
    trusted = files.trusted_files(known_hosts)
    try:
        for position, connection in enumerate(route.hops):
            is_last = position == len(route.hops) - 1
            name = host_key_name(connection)
            if is_last or not files.lines_of(name, trusted):
                route.open(position)
                return _shown_keys(entry, connection, name, timeout, is_jump=not is_last)
    finally:
        route.close()
    return []


def trust(entry: Entry, known_hosts: Path, keys: Sequence[HostKey], *, replace: bool = False) -> None:
    """Write scanned keys down in ``known_hosts`` (made with mode 0600).

    Raises RefusedError when another key of the machine is known, unless ``replace``: then that one is forgotten;
    and when the file cannot be written.
    """
    try:
        _write(entry, known_hosts, keys, replace)
    except OSError as error:
        raise RefusedError(
            f"cannot write {known_hosts}", host=entry.name, why=str(error), remedy="make it a file that you may write"
        ) from None


def _write(entry: Entry, known_hosts: Path, keys: Sequence[HostKey], replace: bool) -> None:
    names = {key.name for key in keys}
    for file in {known_hosts, *files.trusted_files()}:
        changed = [line for name in names for line in _changed(name, keys, file)]
        if changed and not (replace and file == known_hosts):
            raise _refusal(entry, keys, file, changed, replace)
    if replace and known_hosts.exists():
        files.forget(known_hosts, names)
    have = files.read(known_hosts)
    files.append(known_hosts, [key.line for key in keys if key.line not in have])


def _changed(name: str, keys: Sequence[HostKey], file: Path) -> list[str]:
    """Known lines that contradict what was shown: another key of a type, or nothing in common at all."""
    shown = {files.key_of(key.line) for key in keys if key.name == name}
    types = {kind for kind, _ in shown}
    lines = {line: files.key_of(line) for line in files.lines_of(name, [file])}
    is_stranger = not any(known in shown for known in lines.values())
    return [line for line, known in lines.items() if known not in shown and (is_stranger or known[0] in types)]


def _refusal(entry: Entry, keys: Sequence[HostKey], file: Path, changed: list[str], replace: bool) -> RefusedError:
    names = sorted({key.name for key in keys})
    again = f"compare them first; if it is right: deployctl hosts trust {quote(entry.name)} --replace"
    forget = " && ".join(f"ssh-keygen -R {quote(name)} -f {quote(str(file))}" for name in names)
    return RefusedError(
        f"THE HOST KEY OF {', '.join(names)} HAS CHANGED: {file} has another one",
        host=entry.name,
        why="\n".join(
            [f"known: {files.described(line)}" for line in changed]
            + [f"shown: {key.type} {key.fingerprint_sha256}" for key in keys]
        ),
        remedy=forget if replace else again,
    )


def _shown_keys(entry: Entry, connection: "Connection", name: str, timeout: float, *, is_jump: bool) -> list[HostKey]:
    import paramiko
    from paramiko.ssh_exception import IncompatiblePeer, SSHException

    keys: list[HostKey] = []
    fault: BaseException | None = None
    for kind in _TYPES:
        try:
            with paramiko.Transport(_socket_to(connection, timeout)) as transport:
                transport.banner_timeout = timeout
                transport.get_security_options().key_types = (kind,)
                transport.start_client(timeout=timeout)
                key = transport.get_remote_server_key()
        except IncompatiblePeer as error:
            fault = error  # it has no key of this type
        except (SSHException, OSError, EOFError, ValueError) as error:
            raise explain(error, entry, connection, is_jump=is_jump) from None
        else:
            line = f"{name} {key.get_name()} {key.get_base64()}"
            keys.append(HostKey(name, key.get_name(), key.fingerprint, line))
    if not keys:
        raise UnreachableError(f"{name} shows no key of a type that we know", host=entry.name, why=str(fault))
    return keys


def _socket_to(connection: "Connection", timeout: float) -> "socket.socket | paramiko.Channel":
    if connection.gateway:
        channel: paramiko.Channel = connection.open_gateway()
        return channel
    return socket.create_connection((connection.host, connection.port), timeout)

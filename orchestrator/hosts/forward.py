"""A port of this machine that leads to an address as a host sees it, through the SSH connection that is there.

The same keys, jump hosts and trust as everything else; no ``ssh`` program, and no second login.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.channel import GONE

if TYPE_CHECKING:
    from paramiko import Channel, Transport

_OPEN_S = 15.0  # seconds
_PIECE = 64 * 1024  # bytes
_PROHIBITED = 1  # RFC 4254, section 5.1


@contextmanager
def forwarded(transport: "Transport", host: str, address: str, port: int) -> Iterator[tuple[str, int]]:
    """Where to connect here, while the block runs.

    Raises RefusedError when the host forwards nothing or nobody listens there, UnreachableError without a connection.
    """
    _open(transport, host, address, port).close()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        accepting = Thread(target=_accept, args=(server, transport, host, address, port), daemon=True)
        accepting.start()
        try:
            yield server.getsockname()
        finally:
            server.shutdown(socket.SHUT_RDWR)  # a closed socket does not wake who waits on it
            accepting.join()


def _open(transport: "Transport", host: str, address: str, port: int) -> "Channel":
    from paramiko import ChannelException
    from paramiko.ssh_exception import SSHException

    try:
        return transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=_OPEN_S)
    except ChannelException as error:
        if error.code == _PROHIBITED:
            raise RefusedError(
                "the host's sshd forwards no ports",
                host=host,
                why=str(error.text),
                remedy="allow it there (AllowTcpForwarding local in sshd_config), or name a URL that is reached from "
                "here",
            ) from None
        raise RefusedError(
            f"nothing listens on {address}:{port}", host=host, why=str(error.text), remedy="deployctl status"
        ) from None
    except (SSHException, OSError, EOFError) as error:
        raise UnreachableError("the connection was lost", host=host, why=str(error), remedy="run it again") from None


def _accept(server: socket.socket, transport: "Transport", host: str, address: str, port: int) -> None:
    while True:
        try:
            near, _ = server.accept()
        except OSError:
            return
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Thread(target=_carry, args=(near, transport, host, address, port), daemon=True).start()


def _carry(near: socket.socket, transport: "Transport", host: str, address: str, port: int) -> None:
    """One connection, until both sides have ended; one that cannot be opened is closed, which its client sees."""
    with near:
        try:
            far = _open(transport, host, address, port)
        except (RefusedError, UnreachableError):
            return
        back = Thread(target=_bring, args=(far, near), daemon=True)
        back.start()
        with suppress(*GONE):
            while piece := near.recv(_PIECE):
                far.sendall(piece)
            far.shutdown_write()
        back.join()
        with suppress(*GONE):
            far.close()


def _bring(far: "Channel", near: socket.socket) -> None:
    """What comes back; its end ends the connection here."""
    with suppress(OSError):
        while piece := far.recv(_PIECE):
            near.sendall(piece)
        near.shutdown(socket.SHUT_RDWR)

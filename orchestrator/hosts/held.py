"""Scripts that live on a host while somebody here wants them to: see ``Host.hold``."""

import selectors
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.errors import UnreachableError

if TYPE_CHECKING:
    from paramiko import Channel

_LAST_WAIT_S = 10.0
_DONE = b"q"


def check_held(host: str, held: "Iterable[LocalHeld | ChannelHeld]") -> None:
    """Raises UnreachableError when one has ended although nobody released it: nothing may go on that relied on it."""
    if any(one.ended for one in held):
        raise UnreachableError(
            "this run has lost its hold of the host",
            host=host,
            why="the connection was cut, or the host heard nothing for so long that it took this run for dead",
            remedy="run the same command again: it goes on from here",
        )


class LocalHeld:
    """One on this machine."""

    def __init__(self, process: "subprocess.Popen[bytes]", before: bytes, timeout: float) -> None:
        self._process, self._timeout, self._released = process, timeout, False
        assert process.stdin and process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self._send(before)

    def first_line(self) -> str:
        """The first line that it prints; see ``Held.first_line``."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            if not selector.select(self._timeout):
                return ""
        return self._stdout.readline().decode("utf-8", "replace").rstrip("\n")

    def beat(self) -> bool:
        """Send it one byte; see ``Held.beat``."""
        return self._process.poll() is None and self._send(b".")

    @property
    def ended(self) -> bool:
        """Whether it is gone, and nobody released it."""
        return not self._released and self._process.poll() is not None

    def _send(self, data: bytes) -> bool:
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (OSError, ValueError):  # gone, or released meanwhile
            return False
        return True

    def release(self) -> None:
        """End it; see ``Held.release``."""
        self._released = True
        self._send(_DONE)
        self._close()

    def abandon(self) -> None:
        """End it as a cut connection does."""
        self._close()

    def _close(self) -> None:
        with suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(_LAST_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stdout.close()


class ChannelHeld:
    """One at the other end of an SSH channel."""

    def __init__(self, channel: "Channel", timeout: float) -> None:
        self._channel, self._released = channel, False
        channel.settimeout(timeout)

    def first_line(self) -> str:
        """The first line that it prints; see ``Held.first_line``."""
        line = b""
        try:
            while not line.endswith(b"\n") and (byte := self._channel.recv(1)):
                line += byte
        except OSError:  # a timeout is one
            return ""
        return line.decode("utf-8", "replace").rstrip("\n")

    def beat(self) -> bool:
        """Send it one byte; see ``Held.beat``."""
        try:
            return self._channel.send(b".") == 1
        except OSError:
            return False

    @property
    def ended(self) -> bool:
        """Whether it is gone, or the way to it, and nobody released it."""
        transport = self._channel.get_transport()
        alive = transport.is_active() and not self._channel.closed and not self._channel.exit_status_ready()
        return not self._released and not alive

    def release(self) -> None:
        """End it; see ``Held.release``."""
        self._released = True
        with suppress(OSError, EOFError):
            self._channel.send(_DONE)
            self._channel.shutdown_write()
            self._channel.status_event.wait(_LAST_WAIT_S)
        self._channel.close()

"""Scripts that live on a host while somebody here wants them to: see ``Host.hold``."""

import os
import selectors
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from orchestrator.errors import UnreachableError
from orchestrator.hosts.channel import GONE

if TYPE_CHECKING:
    from paramiko import Channel

_LAST_WAIT_S = 10.0
_READ = 64 * 1024  # bytes
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


class _Answers:
    """What it prints, up to one line after the other."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive, self._left = receive, b""

    def up_to(self, last: str) -> str:
        """The text up to that line, with it; less when no more comes."""
        mark, found = f"\n{last}\n".encode(), -1
        data = b"\n" + self._left
        while (found := data.find(mark)) < 0 and (more := self._receive()):
            data += more
        end = found + len(mark) if found >= 0 else len(data)
        self._left = data[end:]
        return data[1:end].decode("utf-8", "replace")


class LocalHeld:
    """One on this machine."""

    def __init__(self, process: "subprocess.Popen[bytes]", before: bytes, timeout: float) -> None:
        self._process, self._timeout = process, timeout
        self._released = self._deaf = False
        assert process.stdin and process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self._answers = _Answers(self._receive)
        self._send(before)

    def answer(self, last: str) -> str:
        """What it prints, up to the line ``last``; see ``Held.answer``."""
        return self._answers.up_to(last)

    def _receive(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            return os.read(self._stdout.fileno(), _READ) if selector.select(self._timeout) else b""

    def beat(self) -> bool:
        """Send it one byte; see ``Held.beat``."""
        return not self.ended and self._send(b".")

    @property
    def ended(self) -> bool:
        """Whether it is gone or hears nothing any more (its pipe breaks before it can be waited for), and nobody
        released it."""
        return not self._released and (self._deaf or self._process.poll() is not None)

    def _send(self, data: bytes) -> bool:
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (OSError, ValueError):  # gone, or released meanwhile
            self._deaf = True
        return not self._deaf

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
        self._answers = _Answers(self._receive)
        channel.settimeout(timeout)

    def answer(self, last: str) -> str:
        """What it prints, up to the line ``last``; see ``Held.answer``."""
        return self._answers.up_to(last)

    def _receive(self) -> bytes:
        try:
            return bytes(self._channel.recv(_READ))
        except OSError:  # a timeout is one
            return b""

    def beat(self) -> bool:
        """Send it one byte; see ``Held.beat``."""
        try:
            return self._channel.send(b".") == 1
        except GONE:
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
        with suppress(*GONE):
            self._channel.send(_DONE)
            self._channel.shutdown_write()
            self._channel.status_event.wait(_LAST_WAIT_S)
        with suppress(*GONE):
            self._channel.close()

"""Scripts that live on a host while somebody here wants them to: see ``Host.hold``."""

import selectors
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramiko import Channel

_LAST_WAIT_S = 10.0


class LocalHeld:
    """One on this machine."""

    def __init__(self, process: "subprocess.Popen[bytes]", before: bytes, timeout: float) -> None:
        self._process, self._timeout = process, timeout
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

    def _send(self, data: bytes) -> bool:
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except (OSError, ValueError):  # gone, or released meanwhile
            return False
        return True

    def release(self) -> None:
        """End it; see ``Held.release``."""
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
        self._channel = channel
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

    def release(self) -> None:
        """End it; see ``Held.release``."""
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()
            self._channel.status_event.wait(_LAST_WAIT_S)
        self._channel.close()

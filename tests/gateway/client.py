"""A client that sends exactly the bytes it is told, which no well-behaved library would."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.gateway.gate import PATIENCE


@dataclass(frozen=True)
class Reply:
    """An answer, read to its end; ``status`` 0 is a connection that was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        """The error in OpenAI's shape; fails for anything else."""
        assert self.headers["content-type"] == "application/json"
        document = json.loads(self.body)
        assert set(document) == {"error"}
        assert set(document["error"]) == {"message", "type", "param", "code"}
        return document["error"]  # type: ignore[no-any-return]


class Connection:
    """One connection to a gateway."""

    def __init__(self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, name: str = "") -> None:
        self.socket: socket.socket = socket.create_connection((host, port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname=name or None)
        self._stream = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send; a server that has heard enough may close while we still speak."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def reply(self, method: str = "GET") -> Reply:
        """The next answer."""
        try:
            status, headers = self.head()
            if method == "HEAD" or status in (100, 204, 304):
                body = b""
            elif headers.get("transfer-encoding") == "chunked":
                body = b"".join(self.lines())
            elif "content-length" in headers:
                body = self._stream.read(int(headers["content-length"]))
            else:
                body = self._stream.read()
        except ConnectionError:
            return Reply(0, {}, b"")
        return Reply(status, headers, body)

    def lines(self) -> Iterator[bytes]:
        """The content of a chunked answer as it comes, after its head; ends where the server ends it.

        Raises ConnectionError when it is broken off.
        """
        while size := self._line():
            data = self._stream.read(int(size, 16) + 2)
            if size == b"0":
                return
            yield data[:-2]
        raise ConnectionError("the answer is broken off")

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers; the body is read by ``lines``. Raises ConnectionError when there is no answer."""
        first = self._line().split()
        if not first:
            raise ConnectionError("closed without an answer")
        status = int(first[1])
        headers = {}
        while line := self._line():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers

    def closed(self) -> bool:
        """Wait until the server closes; False when it says something instead."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._stream.close()
        self.socket.close()

    def _line(self) -> bytes:
        return self._stream.readline().rstrip(b"\r\n")


@contextmanager
def connection(port: int, **how: Any) -> Iterator[Connection]:
    """A connection for a block."""
    made = Connection(port, **how)
    try:
        yield made
    finally:
        made.close()


def request(
    method: str, target: str, key: str | None = None, body: bytes = b"", version: str = "1.1", **headers: str
) -> bytes:
    """The bytes of a request; a header's underscores stand for hyphens."""
    given = {"Host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if key is not None:
        given.setdefault("Authorization", f"Bearer {key}")
    if body:
        given.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {target} HTTP/{version}\r\n{head}\r\n".encode("latin-1") + body


def ask(port: int, method: str, target: str, key: str | None = None, body: bytes = b"", **more: Any) -> Reply:
    """One request on a connection of its own."""
    return send(port, request(method, target, key, body, **more), method)


def send(port: int, data: bytes, method: str = "GET", **how: Any) -> Reply:
    """Those bytes on a connection of their own, and the first answer."""
    with connection(port, **how) as made:
        made.send(data)
        return made.reply(method)


def by_curl(option: str, base: str, path: str, key: str | None = None, *more: str) -> tuple[str, int, bytes]:
    """HTTP version, status and body by curl, for HTTP/2. Skips where curl has none."""
    about = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    if "HTTP2" not in about:
        pytest.skip("cannot run: this machine's curl does not speak HTTP/2")
    words = [
        "curl",
        "-sS",
        "-m",
        str(PATIENCE),
        "--noproxy",
        "*",
        option,
        *more,
        "-w",
        "\n%{http_version} %{http_code}",
    ]
    header = f"Authorization: Bearer {key}\n" if key else ""
    done = subprocess.run([*words, "-H", "@-", f"{base}{path}"], input=header.encode(), capture_output=True, check=True)
    body, _, told = done.stdout.rpartition(b"\n")
    version, status = told.decode().split()
    return version, int(status), body

"""An engine that answers everything, and remembers what it was asked: what a gateway lets through, it has seen."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = b'{"said":"what-only-the-engine-says"}'


@dataclass
class Seen:
    """One request as it came. ``headers`` in their order, names in small letters; ``body`` None until it is whole."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes | None = None
    over: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)
    """Set when the body is whole, or broken off."""

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]


class Exchange:
    """What a scripted answer is written with."""

    def __init__(self, handler: BaseHTTPRequestHandler, seen: Seen) -> None:
        self.handler, self.seen = handler, seen

    def begin(self, kind: str, *, length: int | None = None) -> None:
        """The head of a 200; without a length what follows is chunked."""
        self.handler.send_response(200)
        self.handler.send_header("Content-Type", kind)
        if length is None:
            self.handler.send_header("Transfer-Encoding", "chunked")
        else:
            self.handler.send_header("Content-Length", str(length))
        self.handler.end_headers()

    def chunk(self, data: bytes) -> None:
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def end(self) -> None:
        self.handler.wfile.write(b"0\r\n\r\n")

    def gone(self) -> bool:
        """Wait until the other side closes the connection. False when it says something instead."""
        try:
            return self.handler.connection.recv(1) == b""
        except ConnectionError:
            return True

    def cut(self) -> None:
        """Break the connection off."""
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


@dataclass
class Upstream:
    """A running engine of that kind, on ``port`` of 127.0.0.1."""

    port: int
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Exchange], None] | None = None

    @contextmanager
    def playing(self, answer: Callable[[Exchange], None]) -> Iterator[None]:
        """Answer so, in this block."""
        self.answer = answer
        try:
            yield
        finally:
            self.answer = None

    @contextmanager
    def sees_nothing(self) -> Iterator[None]:
        """Nothing gets through in this block."""
        before = len(self.seen)
        yield
        assert self.seen[before:] == []

    @property
    def last(self) -> Seen:
        return self.seen[-1]


def chunks(stream: Any) -> bytes:
    """The content of a chunked body."""
    body = bytearray()
    while size := int(stream.readline().partition(b";")[0] or b"broken off", 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return bytes(body)


def handler_for(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.any
            raise AttributeError(name)

        def any(self) -> None:
            seen = Seen(self.command, self.path, [(name.lower(), value) for name, value in self.headers.items()])
            upstream.seen.append(seen)
            try:
                seen.body = self.body()
            finally:
                seen.over.set()
            if upstream.answer is not None:
                upstream.answer(Exchange(self, seen))
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(CONTENT)

        def body(self) -> bytes:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                return chunks(self.rfile)
            length = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(length)
            if len(data) < length:
                raise ConnectionError("the request is broken off")
            return data

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A gateway that goes away in the middle is no news."""


@contextmanager
def upstream(port: int = 0) -> Iterator[Upstream]:
    """Run one."""
    record = Upstream(port)
    with Server(("127.0.0.1", port), handler_for(record)) as server:
        record.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield record
        finally:
            server.shutdown()

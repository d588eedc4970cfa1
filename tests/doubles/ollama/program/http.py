"""The HTTP server: bodies in both codings, answers whole or chunked, the checks before any route, the access log."""

import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from .log import access
from .wire import Answer, go_json, go_load

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
JSON = "application/json; charset=utf-8"
TEXT = "text/plain"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Response:
    """An answer; a body that is not bytes is sent piece by piece."""

    status: int
    body: bytes | Iterable[bytes] = b""
    kind: str = JSON


def answer_json(value: object, status: int = 200) -> Response:
    """A whole JSON document."""
    return Response(status, go_json(value).encode())


class Request:
    """What a route gets. ``chunks`` reads the body lazily, so that an upload needs no memory."""

    def __init__(self, method: str, path: str, chunks: Iterator[bytes]) -> None:
        self.method = method
        self.path = path
        self.chunks = chunks

    def json(self) -> dict[str, Any]:
        """The body as an object; Answer 400 with Go's words."""
        content = b"".join(self.chunks)
        if not content.strip():
            raise Answer(400, "missing request body" if not self.path.startswith("/v1") else "EOF")
        try:
            value = go_load(content)
        except ValueError as error:
            raise Answer(400, str(error)) from None
        if not isinstance(value, dict):
            raise Answer(400, f"json: cannot unmarshal {_go_kind(value)} into Go value")
        return value


class Application(Protocol):
    """What turns a request into a response."""

    def __call__(self, request: Request) -> Response: ...


class Server(ThreadingHTTPServer):
    """Listens on one address; `application` answers."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    application: Application

    def __init__(self, host: str, port: int, application: Application) -> None:
        self.application = application
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind without asking a name server who we are."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    _allowed_origins: ClassVar[tuple[str, ...]] = ("localhost", "127.0.0.1", "0.0.0.0")

    def handle_one_request(self) -> None:
        """Read one request and answer it, whatever its method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline:
            self.close_connection = True
            return
        if not self.parse_request():
            return
        started = time.monotonic()
        chunks = self._body()
        response = self._respond(Request(self.command, urlsplit(self.path).path, chunks))
        try:
            self._send(response)
            self.wfile.flush()
            for _ in chunks:  # an upload that was not wanted: the next request comes after it
                pass
        finally:
            access(response.status, time.monotonic() - started, self.client_address[0], self.command, self.path)

    def log_message(self, format: str, *args: object) -> None:
        """The access log is ours."""

    def _respond(self, request: Request) -> Response:
        if not self._host_allowed() or not self._origin_allowed():
            return Response(403, b"", "")
        try:
            response = self.server.application(request)
            if isinstance(response.body, bytes):
                return response
            pieces = iter(response.body)
            first = next(pieces, b"")  # what fails before the first piece still gets its own status
            return Response(response.status, chain([first], pieces), response.kind)
        except Answer as error:
            if request.path.startswith("/v1/"):
                kind = _TYPES.get(error.status, "api_error")
                body: object = {"error": {"message": error.message, "type": kind, "param": None, "code": None}}
            else:
                body = {"error": error.message}
            return answer_json(body, error.status)

    def _send(self, response: Response) -> None:
        self.send_response_only(response.status)
        if response.kind:
            self.send_header("Content-Type", response.kind)
        self.send_header("Date", self.date_time_string())
        if isinstance(response.body, bytes):
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in response.body:
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(64).split(b";")[0] or b"0", 16):
                yield from self._read(size)
                self.rfile.readline(3)
            self.rfile.readline(3)
        else:
            yield from self._read(int(self.headers.get("Content-Length", "0")))

    def _read(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, 1 << 20))
            if not piece:
                raise ConnectionError("the client went away")
            size -= len(piece)
            yield piece

    def _host_allowed(self) -> bool:
        bound = ipaddress.ip_address(str(self.server.server_address[0]))
        if not bound.is_loopback:
            return True
        name = (urlsplit("//" + self.headers.get("Host", "")).hostname or "").lower()
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            known = ("", "localhost", socket.gethostname().lower())
            return name in known or name.endswith((".localhost", ".local", ".internal"))
        return address.is_loopback or address.is_private or address.is_unspecified

    def _origin_allowed(self) -> bool:
        origin = self.headers.get("Origin", "")
        if not origin:
            return True
        parts = urlsplit(origin)
        if parts.netloc == self.headers.get("Host") or parts.scheme in ("app", "file", "tauri", "vscode-webview"):
            return True
        return parts.scheme in ("http", "https") and parts.hostname in self._allowed_origins


def _go_kind(value: object) -> str:
    kinds = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return kinds.get(type(value), "null")

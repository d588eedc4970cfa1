"""The CLI's side of the HTTP: every command but ``--version`` starts with ``HEAD /``."""

import os
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from .settings import Failure, parse_host
from .wire import go_json, go_load


class Client:
    """Talks to the server that ``OLLAMA_HOST`` names."""

    def __init__(self) -> None:
        host, port, _ = parse_host(os.environ.get("OLLAMA_HOST", ""))
        self._host, self._port = host, port

    def check(self) -> None:
        """Failure when no server answers."""
        try:
            self._request("HEAD", "/")
        except (OSError, HTTPException):
            raise Failure("could not connect to ollama server, run 'ollama serve' to start it") from None

    def version(self) -> str:
        """The server's version; empty when none answers."""
        try:
            return str(go_load(self._request("GET", "/api/version").read())["version"])
        except (OSError, HTTPException, ValueError, KeyError):  # also what is no Ollama: a gateway that wants a key
            return ""

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One document; Failure with the server's error."""
        response = self._request(method, path, body)
        content = response.read()
        value = go_load(content) if content.startswith(b"{") else {}
        if response.status >= 400:
            raise Failure(value.get("error") or content.decode())
        return dict(value)

    def stream(self, path: str, body: object) -> Iterator[dict[str, Any]]:
        """Lines of a stream; Failure with status and text, or with the text of an error line."""
        response = self._request("POST", path, body)
        for content in response:
            value = go_load(content)
            if response.status >= 400:
                raise Failure(f"{response.status} {response.reason}: {value.get('error', '')}")
            if value.get("error"):
                raise Failure(value["error"])
            yield value

    def upload(self, digest: str, path: Path) -> None:
        """Send a file as a blob, chunked, without asking first whether it is there."""
        connection = HTTPConnection(self._host, self._port)
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(1 << 20), b"")
            connection.request("POST", f"/api/blobs/{digest}", body=pieces, encode_chunked=True, headers=_CHUNKED)
            response = connection.getresponse()
        content = response.read()
        if response.status >= 400:
            raise Failure(go_load(content)["error"])

    def _request(self, method: str, path: str, body: object = None) -> HTTPResponse:
        connection = HTTPConnection(self._host, self._port)
        content = None if body is None else go_json(body).encode()
        connection.request(method, path, body=content, headers={"Content-Type": "application/json"})
        return connection.getresponse()


_CHUNKED = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}

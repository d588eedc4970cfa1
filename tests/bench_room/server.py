"""An OpenAI-compatible server that streams what a test tells it to, over real HTTP, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Chunks = list[bytes]


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(content: str | None = None, finish: str | None = None, **more: object) -> bytes:
    said = {**({} if content is None else {"content": content}), **more}
    return event({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": said, "finish_reason": finish}]})


def usage(prompt: int, answer: int) -> bytes:
    return event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": answer}})


DONE = b"data: [DONE]\n\n"


def answer(body: dict[str, Any], tokens_a_word: float = 1.5) -> Chunks:
    """As vLLM does: a chunk with the role, one for each token, then the usage."""
    words = len(body["messages"][0]["content"].split())
    many = body["max_tokens"]
    pieces = [delta(" word") for _ in range(many)]
    return [
        delta("", role="assistant"),
        *pieces,
        delta("", "length"),
        usage(10 + round(words * tokens_a_word), many),
        DONE,
    ]


@dataclass
class Server:
    """What it does: ``reply`` makes the chunks of a stream, or a status and a text."""

    reply: Callable[[dict[str, Any]], Chunks | tuple[int, str]] = answer
    models: tuple[int, str] = (200, json.dumps({"data": [{"id": "tiny", "owned_by": "vllm"}]}))
    key: str = ""
    gate: threading.Barrier | None = None
    cut: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    on_request: Callable[[], object] = lambda: None
    url: str = ""

    @contextmanager
    def running(self, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
        """Serve on a port of loopback."""
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._whole(*double.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                double.seen.append(body)
                double.on_request()
                if double.key and self.headers.get("Authorization") != f"Bearer {double.key}":
                    self._whole(401, json.dumps({"error": "Unauthorized"}))
                    return
                if double.gate is not None:
                    double.gate.wait()
                reply = double.reply(body)
                if isinstance(reply, tuple):
                    self._whole(*reply)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for chunk in reply:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                if double.cut:
                    self.close_connection = True
                    return
                self.wfile.write(b"0\r\n\r\n")

            def _whole(self, status: int, text: str) -> None:
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                return  # a client that goes away is part of some tests

        with Http(("127.0.0.1", 0), Handler) as server:
            if tls is not None:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/v1"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

"""A server of vLLM's shape in standard Python: what the ladder asks it, it answers; it computes nothing.

The kill matrix starts an engine some sixty times: the real one takes half a minute for each. It wants its model and
generation config to be there, as the real one does, so that a container started on half of them fails.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = os.environ.get("FAKE_VLLM_VERSION", "0.32.0")


def option(name: str, default: str) -> str:
    words = sys.argv[1:]
    return words[words.index(name) + 1] if name in words else default


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = option("--served-model-name", "model")

    def do_GET(self) -> None:
        known = {"/health": {}, "/version": {"version": VERSION}, "/v1/models": {"data": [{"id": self.name}]}}
        self.answer(known.get(self.path))

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        text = " 7, 8, 9" if "1, 2, 3" in asked else "Paris."
        self.answer({"model": self.name, "choices": [{"message": {"role": "assistant", "content": text}}]})

    def answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(404 if value is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 it would not be ended by it
    for path in (f"{sys.argv[2]}/config.json", f"{option('--generation-config', '')}/generation_config.json"):
        json.loads(Path(path).read_text())
    if why := os.environ.get("FAKE_VLLM_DIES"):
        sys.exit(f"RuntimeError: {why}")
    ThreadingHTTPServer((option("--host", "127.0.0.1"), int(option("--port", "8000"))), Handler).serve_forever()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""`vllm serve` for the controller's benchmark: answers as vLLM does and generates nothing. The image's only program."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def option(name: str) -> str:
    """The word after an option of `vllm serve`."""
    return sys.argv[sys.argv.index(name) + 1]


class Handler(BaseHTTPRequestHandler):
    """The routes that deployctl's health check asks for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        model = {"id": option("--served-model-name"), "object": "model"}
        routes = {"/version": {"version": "0.32.0"}, "/v1/models": {"object": "list", "data": [model]}}
        self._answer(routes.get(self.path, {}))

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = "7, 8, 9, 10" if "1, 2, 3" in asked else "Paris."
        message = {"role": "assistant", "content": said}
        self._answer({"object": "chat.completion", "choices": [{"index": 0, "message": message}]})

    def _answer(self, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler).serve_forever()

"""The ladder over real HTTP on the loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.health.endpoint import Endpoint
from orchestrator.health.ladder import check
from orchestrator.health.service import ServiceState
from orchestrator.progress import Quiet
from tests.health.doubles import FakeClock, FakeService, LoopbackHost

KEY = "c4nary-loopback"


class Engine(BaseHTTPRequestHandler):
    """vLLM as its reference page describes it; the first ``cut`` connections end without a reply."""

    cut = 0
    seen: list[dict[str, Any]]

    def do_GET(self) -> None:
        if type(self).cut > 0:
            type(self).cut -= 1
            return
        if self.path == "/version":
            self._say(200, {"version": "0.32.0"})
        elif self.headers.get("Authorization") != f"Bearer {KEY}":
            self._say(401, {"error": "Unauthorized"})
        else:
            self._say(200, {"object": "list", "data": [{"id": "tiny"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(body)
        text = "7, 8" if "1, 2, 3" in body["messages"][0]["content"] else "Paris."
        self._say(200, {"choices": [{"message": {"content": text}}]})

    def _say(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def engine() -> Iterator[tuple[type[Engine], str]]:
    handler = type("OneEngine", (Engine,), {"cut": 0, "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def climb(url: str, key: str = KEY) -> Any:
    endpoint = Endpoint(runtime="vllm", url=f"{url}/v1", probe_url=url, model="tiny", key_file="/key")
    return check(
        LoopbackHost({}, {"/key": key}),
        endpoint,
        FakeService(ServiceState(running=True)),
        deadline_s=60,
        progress=Quiet(),
        clock=FakeClock(),
    )


def test_a_real_server_that_hangs_up_first_becomes_healthy(engine: tuple[type[Engine], str]) -> None:
    handler, url = engine
    handler.cut = 3
    report = climb(url)
    assert report.healthy
    assert report.warnings == ()
    assert handler.cut == 0
    assert [body["temperature"] for body in handler.seen] == [0, 0]


def test_a_real_refused_key(engine: tuple[type[Engine], str]) -> None:
    report = climb(engine[1], key="another")
    assert report.failed == "model listed"
    assert report.diagnosis is not None
    assert report.diagnosis.id == "key-refused"


def test_a_real_closed_port(engine: tuple[type[Engine], str]) -> None:
    report = climb("http://127.0.0.1:1")
    assert report.failed == "port open"
    assert "refused" in next(rung.detail for rung in report.rungs if rung.name == "port open").lower()

"""How many requests an engine has that counts none itself: by the gateway's own count, as ``status`` asks for it."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack

from orchestrator.health import engine as engines
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.engine import Load
from orchestrator.hosts.local import LocalHost
from tests.gateway.client import connection, request
from tests.gateway.gate import PATIENCE, Gate
from tests.gateway.upstream import Exchange, Upstream


def load_of(endpoint: Endpoint) -> Load | None:
    said = LocalHost().run(engines.script(endpoint, ":", meant_for_gpu=False))
    return engines.read(said.stdout, endpoint).load


def test_requests_under_way_are_counted_for_each_engine(own: Gate, engine: Upstream) -> None:
    site = own.add("ollama", "ollama", engine.port)
    own.make_keys(site)
    own.start()
    gateway = site.gateway
    endpoint = Endpoint(
        runtime="ollama",
        url=f"http://127.0.0.1:{site.port}/v1",
        probe_url=gateway.front.engine_url,
        gateway=gateway.endpoint,
        model="tiny",
    )
    assert load_of(endpoint) == Load(running=0)
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def generate(exchange: Exchange) -> None:
        if exchange.seen.method == "POST":
            arrived.release()
            assert go_on.wait(PATIENCE)
        exchange.begin("application/json", length=2)
        exchange.handler.wfile.write(b"{}")

    with engine.playing(generate), ExitStack() as clients:
        for _ in range(3):
            client = clients.enter_context(connection(site.port))
            client.send(request("POST", "/v1/chat/completions", site.secrets["user"], json.dumps({}).encode()))
            assert arrived.acquire(timeout=PATIENCE)
        assert load_of(endpoint) == Load(running=3)
        assert load_of(endpoint.model_copy(update={"probe_url": "http://127.0.0.1:1"})) is None, "nothing serves there"
        go_on.set()


def test_a_gateway_that_is_down_tells_nothing(own: Gate, engine: Upstream) -> None:
    gateway = own.site("ollama", "ollama", engine.port).gateway
    endpoint = Endpoint(
        runtime="ollama",
        url="http://127.0.0.1:11434/v1",
        probe_url=gateway.front.engine_url,
        gateway=gateway.endpoint,
        model="tiny",
    )
    assert load_of(endpoint) is None

"""Streams through the gateway: token by token, as long as they take, and no longer than the client listens."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import openai
import pytest

from tests.doubles.ollama.running import free_port
from tests.gateway.client import ask, connection, request
from tests.gateway.gate import PATIENCE, Gate, Site
from tests.gateway.table import House
from tests.gateway.upstream import Exchange, Upstream

STREAMS = {
    "event stream": ("text/event-stream", b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n'),
    "event stream with its charset": ("text/event-stream; charset=utf-8", b"data: %d\n\n"),
    "lines of JSON": ("application/x-ndjson", b'{"response":"%d","done":false}\n'),
}


@pytest.mark.parametrize("name", STREAMS)
def test_each_token_arrives_before_the_next_is_made(shared: House, name: str) -> None:
    """The engine makes a token only when the client has said that it has the one before: a buffer would hang here."""
    kind, form = STREAMS[name]
    received: queue.Queue[int] = queue.Queue()

    def generate(exchange: Exchange) -> None:
        exchange.begin(kind)
        for number in range(20):
            exchange.chunk(form % number)
            assert received.get(timeout=PATIENCE) == number
        exchange.end()

    site, engine = shared.sites["vllm"], shared.upstreams["vllm"]
    with engine.playing(generate), connection(site.port) as client:
        client.send(request("POST", "/v1/chat/completions", site.secrets["user"], b'{"stream": true}'))
        status, headers = client.head()
        assert (status, headers["content-type"]) == (200, kind)
        for number, token in enumerate(client.lines()):
            assert token == form % number
            received.put(number)
        assert number == 19


def begun(exchange: Exchange) -> None:
    exchange.begin("text/event-stream")
    exchange.chunk(b"data: first\n\n")


def silent(exchange: Exchange) -> None:
    """Thinks, and says nothing at all."""


@pytest.mark.parametrize("stage", [begun, silent])
def test_a_client_that_goes_away_stops_the_generation(shared: House, stage: Callable[[Exchange], None]) -> None:
    stopped: queue.Queue[bool] = queue.Queue()
    busy = threading.Event()

    def generate(exchange: Exchange) -> None:
        stage(exchange)
        busy.set()
        stopped.put(exchange.gone())
        exchange.handler.close_connection = True

    site, engine = shared.sites["vllm"], shared.upstreams["vllm"]
    with engine.playing(generate):
        with connection(site.port) as client:
            client.send(request("POST", "/v1/chat/completions", site.secrets["user"], b'{"stream": true}'))
            if stage is begun:
                client.head()
                assert next(client.lines()) == b"data: first\n\n"
            assert busy.wait(PATIENCE)
        assert stopped.get(timeout=PATIENCE)


def test_an_engine_that_breaks_off_is_not_taken_for_one_that_ends(shared: House) -> None:
    def generate(exchange: Exchange) -> None:
        begun(exchange)
        exchange.cut()

    site, engine = shared.sites["vllm"], shared.upstreams["vllm"]
    with engine.playing(generate), connection(site.port) as client:
        client.send(request("POST", "/v1/chat/completions", site.secrets["user"], b'{"stream": true}'))
        client.head()
        tokens = client.lines()
        assert next(tokens) == b"data: first\n\n"
        with pytest.raises(ConnectionError):
            next(tokens)


def client_of(site: Site, key: str, **more: object) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{site.port}/v1", api_key=key, max_retries=0, **more)  # type: ignore[arg-type]


def chat(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])


def test_the_official_client_understands_every_refusal(shared: House) -> None:
    site, engine = shared.sites["vllm"], shared.upstreams["vllm"]
    with client_of(site, "sk-deployctl-wrong") as client, pytest.raises(openai.AuthenticationError) as failed:
        chat(client)
    assert failed.value.code == "invalid_api_key"
    assert failed.value.type == "invalid_request_error"
    with client_of(site, site.secrets["metrics"]) as client, pytest.raises(openai.PermissionDeniedError) as failed:
        chat(client)
    assert failed.value.code == "not_allowed"
    with client_of(site, site.secrets["user"]) as client, pytest.raises(openai.APIStatusError) as large:
        client.completions.create(model="m", prompt="x" * (33 << 20))
    assert (large.value.status_code, large.value.code) == (413, "request_too_large")
    cut = engine.playing(lambda exchange: exchange.cut())
    with cut, client_of(site, site.secrets["user"]) as client, pytest.raises(openai.InternalServerError) as failed:
        chat(client)
    assert (failed.value.status_code, failed.value.code) == (502, "bad_gateway")


def test_an_engine_that_is_down_is_told_as_such_and_when_to_come_back(own: Gate) -> None:
    site = own.add("vllm", "vllm", free_port())
    own.make_keys(site)
    own.start()
    with client_of(site, site.secrets["user"]) as client, pytest.raises(openai.InternalServerError) as failed:
        chat(client)
    assert (failed.value.status_code, failed.value.code) == (503, "engine_unavailable")
    assert failed.value.response.headers["retry-after"] == "5"
    reply = ask(site.port, "GET", "/v1/models", site.secrets["user"])
    assert reply.error()["type"] == "server_error"
    assert "server" not in reply.headers
    assert ask(site.port, "GET", "/v1/models").status == 401, "who has no key hears nothing of the engine"


def test_an_engine_that_comes_back_is_found_at_once(own: Gate) -> None:
    from tests.gateway.upstream import upstream

    port = free_port()
    site = own.add("vllm", "vllm", port)
    own.make_keys(site)
    own.start()
    assert ask(site.port, "GET", "/v1/models", site.secrets["user"]).status == 503
    with upstream(port):
        assert ask(site.port, "GET", "/v1/models", site.secrets["user"]).status == 200


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
def test_what_the_engine_itself_says_is_passed_on_as_it_is(shared: House, status: int) -> None:
    said = b'{"error":{"message":"of the engine","type":"x","param":null,"code":7}}'

    def answer(exchange: Exchange) -> None:
        exchange.handler.send_response(status)
        exchange.handler.send_header("Content-Type", "application/json")
        exchange.handler.send_header("Retry-After", "17")
        exchange.handler.send_header("Content-Length", str(len(said)))
        exchange.handler.end_headers()
        exchange.handler.wfile.write(said)

    site, engine = shared.sites["vllm"], shared.upstreams["vllm"]
    with engine.playing(answer):
        reply = ask(site.port, "POST", "/v1/chat/completions", site.secrets["user"], b"{}")
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (status, said, "17")


def test_fifty_streams_at_once_are_each_their_own(own: Gate, engine: Upstream) -> None:
    together = threading.Barrier(50)

    def generate(exchange: Exchange) -> None:
        exchange.begin("text/event-stream")
        together.wait(PATIENCE)
        for _ in range(10):
            exchange.chunk(exchange.seen.body or b"")
        exchange.end()

    site = own.add("vllm", "vllm", engine.port)
    own.make_keys(site)
    own.start()
    heard: list[bytes | Exception] = [b""] * 50

    def listen(number: int) -> None:
        with connection(site.port) as client:
            client.send(request("POST", "/v1/completions", site.secrets["user"], b"%02d" % number))
            client.head()
            heard[number] = b"".join(client.lines())

    with engine.playing(generate):
        threads = [threading.Thread(target=listen, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert heard == [b"%02d" % number * 10 for number in range(50)]

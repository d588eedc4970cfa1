"""Clients that take their time, and engines that do. The gateway's limits are scaled down, by a template as a user's.

No test looks at a clock: what has to be cut is waited for, and what has to live outlives it.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.templating.engine import Renderer, packaged
from tests.gateway.client import connection, request
from tests.gateway.gate import PATIENCE, Gate, Site, gate
from tests.gateway.upstream import CONTENT, Exchange, Upstream, upstream

LIMITS = {"read_header 10s": "read_header 300ms", "read_body_idle 30s": "read_body_idle 300ms", "idle 5m": "idle 300ms"}


@dataclass
class Hasty:
    """A gateway with short limits."""

    gate: Gate
    site: Site
    engine: Upstream

    @property
    def key(self) -> str:
        return self.site.secrets["user"]


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, has_caddy: None) -> Iterator[Hasty]:
    folder = tmp_path_factory.mktemp("templates")
    text = (packaged() / "gateway" / "Caddyfile.j2").read_text("utf-8")
    for ours, short in LIMITS.items():
        assert text.count(ours) == 1, "the limit is as this test knows it"
        text = text.replace(ours, short)
    (folder / "gateway").mkdir()
    Path(folder / "gateway" / "Caddyfile.j2").write_text(text, "utf-8")
    with upstream() as engine, gate(Renderer(folder)) as made:
        site = made.add("ollama", "ollama", engine.port)
        made.make_keys(site)
        made.start()
        yield Hasty(made, site, engine)


def test_a_request_whose_head_never_ends_is_cut(hasty: Hasty) -> None:
    with hasty.engine.sees_nothing(), connection(hasty.site.port) as client:
        client.send(f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hasty.key}\r\nX: ".encode())
        assert client.closed()


def test_a_connection_that_says_nothing_is_cut(hasty: Hasty) -> None:
    with connection(hasty.site.port) as client:
        assert client.closed()


def test_a_connection_that_has_nothing_more_to_say_is_cut(hasty: Hasty) -> None:
    with connection(hasty.site.port) as client:
        client.send(request("GET", "/v1/models", hasty.key))
        assert client.reply().status == 200
        assert client.closed()


@pytest.mark.parametrize("length", ["1000", "200000000"])
@pytest.mark.parametrize(("key", "path"), [(False, "/v1/chat/completions"), (True, "/api/create")])
def test_a_body_that_never_comes_holds_no_connection(hasty: Hasty, length: str, key: bool, path: str) -> None:
    with hasty.engine.sees_nothing(), connection(hasty.site.port) as client:
        client.send(request("POST", path, hasty.key if key else None, Content_Length=length) + b"{")
        assert client.reply("POST").status == (413 if key and length > "2" else 403 if key else 401)
        assert client.closed()


@pytest.mark.parametrize("key", [False, True])
def test_who_asks_whether_to_go_on_is_told_no(hasty: Hasty, key: bool) -> None:
    with hasty.engine.sees_nothing(), connection(hasty.site.port) as client:
        head = request("POST", "/api/create", hasty.key if key else None, Content_Length="9", Expect="100-continue")
        client.send(head)
        assert client.reply("POST").status == (403 if key else 401)


def test_a_body_that_stops_on_its_way_holds_no_place_at_the_engine(hasty: Hasty) -> None:
    before = len(hasty.engine.seen)
    with connection(hasty.site.port) as client:
        client.send(request("POST", "/v1/chat/completions", hasty.key, Content_Length="1000") + b"{" * 999)
        while len(hasty.engine.seen) == before:
            test_a_connection_that_says_nothing_is_cut(hasty)
        assert hasty.engine.last.over.wait(PATIENCE)
    assert hasty.engine.last.body is None


def test_a_generation_outlives_every_limit(hasty: Hasty) -> None:
    """It thinks before its first token and between tokens for longer than each of the gateway's limits."""
    go: queue.Queue[None] = queue.Queue()

    def think(exchange: Exchange) -> None:
        go.get(timeout=PATIENCE)
        exchange.begin("text/event-stream")
        exchange.chunk(b"data: first\n\n")
        go.get(timeout=PATIENCE)
        exchange.chunk(b"data: second\n\n")
        exchange.end()

    def outlive() -> None:
        """Three connections that the limits cut, one after another: so long has it been at least."""
        test_a_connection_that_says_nothing_is_cut(hasty)
        with connection(hasty.site.port) as other:
            other.send(request("POST", "/v1/chat/completions", Content_Length="9"))
            assert other.reply("POST").status == 401
            assert other.closed()
        with connection(hasty.site.port) as other:
            other.send(request("GET", "/v1/models", "wrong"))
            assert other.reply().status == 401
            assert other.closed()

    with hasty.engine.playing(think), connection(hasty.site.port) as client:
        client.send(request("POST", "/v1/chat/completions", hasty.key, b'{"stream": true}'))
        outlive()
        go.put(None)
        assert client.head()[0] == 200
        tokens = client.lines()
        assert next(tokens) == b"data: first\n\n"
        outlive()
        go.put(None)
        assert list(tokens) == [b"data: second\n\n"]


def test_an_answer_in_one_piece_may_take_as_long(hasty: Hasty) -> None:
    go: queue.Queue[None] = queue.Queue()

    def think(exchange: Exchange) -> None:
        go.get(timeout=PATIENCE)
        exchange.begin("application/json", length=len(CONTENT))
        exchange.handler.wfile.write(CONTENT)

    with hasty.engine.playing(think), connection(hasty.site.port) as client:
        client.send(request("POST", "/v1/chat/completions", hasty.key, b"{}"))
        for _ in range(3):
            test_a_connection_that_says_nothing_is_cut(hasty)
        go.put(None)
        assert client.reply("POST").body == CONTENT


def test_nothing_else_limits_how_long_an_answer_takes(hasty: Hasty) -> None:
    """The real configuration, as Caddy understands it: which limits of time there are at all."""
    with gate() as made:
        made.add("ollama", "ollama", hasty.engine.port)
        found = sorted(set(durations(made.adapted())))
    assert found == [
        "dial_timeout",
        "grace_period",
        "idle_timeout",
        "keep_alive.idle_timeout",
        "read_header_timeout",
        "read_idle_timeout",
    ]


def durations(document: object, name: str = "", above: str = "") -> Iterator[str]:
    """The names of settings that are times."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from durations(value, key, name)
    elif isinstance(document, list):
        for value in document:
            yield from durations(value, name, above)
    elif any(word in name for word in ("timeout", "duration", "delay", "period", "deadline", "min_rate")):
        yield f"{above}.{name}" if above == "keep_alive" else name

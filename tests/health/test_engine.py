"""How an engine says it does: the script asks a real server, which answers as the engines do."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.health import engine
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.engine import Engine, Load
from orchestrator.hosts.local import LocalHost

METRICS = (Path(__file__).parents[1] / "metrics" / "vllm-cpu-0.32.0.txt").read_text("utf-8")
"""Of a real vLLM 0.32.0 on a CPU, idle after two requests."""

LOADED = {
    "name": "tiny:latest",
    "model": "tiny:latest",
    "size": 285684530,
    "digest": "ee506fbed1490f17b0ff410d38ac6dd137c3988cb51c4db2dadde763e5bc2495",
    "details": {"parent_model": "", "format": "gguf", "family": "gemma3", "quantization_level": "Q4_K_M"},
    "expires_at": "2026-11-23T22:28:11.647738726Z",
    "size_vram": 0,
    "context_length": 2048,
}
"""As Ollama 0.33 answered on a CPU."""


def metrics(tokens: int = 40, running: int = 0, waiting: int = 0, cache: float = 0.0) -> str:
    """The recorded figures, with a load."""
    text = METRICS
    for name, value in (
        ("generation_tokens_total", tokens),
        ("num_requests_running", running),
        ("num_requests_waiting", waiting),
        ("kv_cache_usage_perc", cache),
    ):
        text, found = re.subn(rf"^(vllm:{name}\{{.*\}}) .*$", rf"\g<1> {float(value)}", text, flags=re.MULTILINE)
        assert found == 1, name
    return text


class Server:
    """Answers each path with its texts in turn, the last one for ever; ``None`` is a 503."""

    def __init__(self, answers: dict[str, list[str | None]]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                left = outer.answers.get(self.path, [None])
                text = left.pop(0) if len(left) > 1 else left[0]
                body = (text or "").encode()
                self.send_response(503 if text is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@contextmanager
def serving(answers: dict[str, list[str | None]]) -> Iterator[Server]:
    server = Server(answers)
    thread = threading.Thread(target=server.http.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def look(url: str, runtime: str, *, meant: bool = False, log: str = "echo line one; echo log; echo two") -> Engine:
    endpoint = Endpoint.model_validate({"runtime": runtime, "url": f"{url}/v1", "probe_url": url, "model": "tiny"})
    result = LocalHost().run(engine.script(endpoint, log, meant_for_gpu=meant))
    assert result.exited == 0, result
    return engine.read(result.stdout, endpoint)


def test_an_idle_vllm_is_asked_once() -> None:
    with serving({"/health": [""], "/metrics": [metrics()]}) as server:
        found = look(server.url, "vllm")
    assert found == Engine(
        health=200,
        load=Load(running=0, waiting=0, kv_cache_percent=0.0, tokens_per_second=0.0, concurrency=22.75),
    )
    assert server.asked == ["/health", "/metrics"]


def test_a_busy_vllm_is_asked_twice_and_tells_its_speed() -> None:
    answers = [metrics(tokens, running=50, waiting=3, cache=0.4312) for tokens in (1000, 1100)]
    with serving({"/health": [""], "/metrics": list(answers)}) as server:
        load = look(server.url, "vllm").load
    assert load is not None and server.asked == ["/health", "/metrics", "/metrics"]
    assert (load.running, load.waiting, load.kv_cache_percent) == (50, 3, 43.1)
    assert load.tokens_per_second is not None and 0 < load.tokens_per_second <= 100 / 0.24


@pytest.mark.parametrize(
    ("moments", "rate"),
    [
        ({10.0: (1000, 50), 10.25: (1100, 50)}, 400.0),
        ({10.0: (1000, 50), 10.25: (0, 50)}, 0.0),  # started anew in between
        ({10.0: (1000, 50)}, None),
        ({10.0: (1000, 0)}, 0.0),
    ],
)
def test_speed_is_what_came_between_two_moments(moments: dict[float, tuple[int, int]], rate: float | None) -> None:
    lines = [
        f"metric {at} {line}"
        for at, (tokens, running) in moments.items()
        for line in metrics(tokens, running).splitlines()
        if line.startswith(("vllm:generation_tokens_total", "vllm:num_requests_running"))
    ]
    endpoint = Endpoint(runtime="vllm", url="http://x/v1", probe_url="http://x:1", model="tiny")
    load = engine.read("health 200\n" + "\n".join(lines), endpoint).load
    assert load is not None and load.tokens_per_second == rate


def test_the_engines_of_one_server_count_together() -> None:
    one = 'metric 5.0 vllm:num_requests_running{engine="%d",model_name="m"} %d.0'
    used = 'metric 5.0 vllm:kv_cache_usage_perc{engine="%d",model_name="m"} 0.%d'
    text = "\n".join(["health 200", one % (0, 2), one % (1, 5), used % (0, 2), used % (1, 9)])
    endpoint = Endpoint(runtime="vllm", url="http://x/v1", probe_url="http://x:1", model="tiny")
    load = engine.read(text, endpoint).load
    assert load is not None and (load.running, load.kv_cache_percent) == (7, 90.0)


def test_figures_that_are_none_are_left_out() -> None:
    hostile = "\n".join(
        ["health 200", "metric x vllm:num_requests_running 1", "metric 1 vllm:num_requests_running NaN", "metric", "ps"]
    )
    endpoint = Endpoint(runtime="vllm", url="http://x/v1", probe_url="http://x:1", model="tiny")
    assert engine.read(hostile, endpoint) == Engine(health=200, load=Load())


def test_what_does_not_serve_shows_its_log() -> None:
    with serving({"/health": [None]}) as server:
        found = look(server.url, "vllm")
        assert (found.health, found.log, server.asked) == (503, "line one\nlog\ntwo\n", ["/health"])
    gone = look(server.url, "vllm")
    assert (gone.health, gone.load, gone.log) == (0, None, "line one\nlog\ntwo\n")


def test_ollama_tells_what_is_loaded() -> None:
    body = json.dumps({"models": [{**LOADED, "size_vram": 285684530}]})
    with serving({"/api/version": ['{"version":"0.33.0"}'], "/api/ps": [body]}) as server:
        found = look(server.url, "ollama", meant=True)
    assert found.health == 200 and found.log == ""
    assert found.loaded is not None and (found.loaded.size_bytes, found.loaded.cpu_percent) == (285684530, 0.0)


def test_the_log_of_an_ollama_is_read_where_it_should_compute_on_a_gpu_and_does_not() -> None:
    answers: dict[str, list[str | None]] = {"/api/version": ["{}"], "/api/ps": [json.dumps({"models": [LOADED]})]}
    with serving(answers) as server:
        assert look(server.url, "ollama", meant=False).log == ""
        answers["/api/ps"] = [json.dumps({"models": [LOADED]}, separators=(",", ":"))]
        found = look(server.url, "ollama", meant=True)
    assert found.log and found.loaded is not None and found.loaded.vram_bytes == 0


def test_an_idle_ollama_has_nothing_loaded() -> None:
    with serving({"/api/version": ["{}"], "/api/ps": ['{"models":[]}']}) as server:
        found = look(server.url, "ollama", meant=True)
    assert (found.health, found.loaded, found.log) == (200, None, "")

"""Who may use which path: every route of both engines with every kind of key."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runtimes.routes import ROUTES
from tests.gateway.client import ask
from tests.gateway.table import ENGINES, KEYS, RECORDED, House, answered, expected, house, recorded, rows

HERE = Path(__file__).parent


@pytest.mark.parametrize("engine", ENGINES)
def test_the_table_holds_every_route_that_the_engine_has(engine: str) -> None:
    ours = [route[:2] for route in ROUTES[engine]]
    assert len(ours) == len(set(ours))
    assert set(ours) == recorded(engine)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_route_answers_each_kind_of_key_as_the_table_says(shared: House, engine: str, key: str) -> None:
    outcomes = {f"{route.method} {route.path}": answered(shared, engine, route, key) for route in rows(engine)}
    assert {name: wrong for name, (_, wrong) in outcomes.items() if wrong} == {}


def test_a_table_with_a_hole_is_noticed(shared: House) -> None:
    """The judge itself: a route that the gateway lets through, said to be closed."""
    route = next(item for item in ROUTES["ollama"] if item.access == "user")._replace(access="closed")
    assert answered(shared, "ollama", route, "user") == (200, "answers 200, not 403")
    assert expected(route, "none") == 401


@pytest.mark.vllm
def test_the_recorded_routes_are_those_of_the_real_vllm() -> None:
    """Of a Python that has vLLM, named by DEPLOYCTL_TEST_VLLM_PYTHON; else of the lab's image."""
    script = (HERE / "dump_routes.py").read_text("utf-8")
    switches = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if python := os.environ.get("DEPLOYCTL_TEST_VLLM_PYTHON"):
        command = [python, "-"]
    else:
        from tests.lab.images import vllm_image

        words = [f"--env={name}={value}" for name, value in switches.items()]
        command = ["docker", "run", "--rm", "-i", "--network=none", *words, "--entrypoint=python3", vllm_image(), "-"]
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, check=True, env={**os.environ, **switches}
    )
    real = json.loads(done.stdout[done.stdout.index("{\n") :])
    kept = json.loads((RECORDED / "vllm.json").read_text("utf-8"))
    assert (kept["version"], kept["routes"]) == (real["version"], real["routes"])


@pytest.fixture(scope="module")
def healthy(has_caddy: None) -> Iterator[House]:
    """Both engines, with `gateway.open_health`."""
    with house(open_health=True) as made:
        yield made


@pytest.mark.parametrize("engine", ENGINES)
def test_health_is_open_where_that_is_asked_for_and_nothing_else_is(healthy: House, engine: str) -> None:
    port, behind = healthy.sites[engine].port, healthy.upstreams[engine]
    path = "/" if engine == "ollama" else "/health"  # Ollama has no /health
    for method in ("GET", "HEAD"):
        assert (
            ask(port, method, "/health", Upgrade="h2c", Connection="Upgrade", Authorization="Basic eA==").status == 200
        )
        assert (behind.last.method, behind.last.target) == (method, path)
        assert behind.last.header("authorization") == behind.last.header("upgrade") == []
    before = len(behind.seen)
    for method, target in (("POST", "/health"), ("GET", "/health/x"), ("GET", "/healthz"), ("GET", "/x/health")):
        assert ask(port, method, target).status == 401
    assert len(behind.seen) == before
    for target in (
        "//health",
        "/HEALTH",
        "/%68ealth",
        "/x/../health",
        "/health/../api/tags",
        "/health;/api/tags",
        "/health%2f..",
    ):
        assert ask(port, "GET", target).status in {200, 401}
    assert {seen.target for seen in behind.seen[before:]} <= {path}, "whatever is taken for it leads nowhere else"


@pytest.mark.parametrize("engine", ENGINES)
def test_health_takes_nothing_from_who_has_no_key(healthy: House, engine: str) -> None:
    behind = healthy.upstreams[engine]
    before = len(behind.seen)
    assert ask(healthy.sites[engine].port, "GET", "/health", body=b"x" * 100_000).status == 413
    assert [seen.body for seen in behind.seen[before:]] in ([], [None]), "never a whole request"


@pytest.mark.parametrize("engine", ENGINES)
def test_health_is_closed_where_nobody_asked(shared: House, engine: str) -> None:
    with shared.upstreams[engine].sees_nothing():
        assert ask(shared.sites[engine].port, "GET", "/health").status == 401

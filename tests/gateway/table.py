"""`make test-routes`: engine by path by key → status, asked of a real gateway in front of an engine that answers all.

A hole is an answer other than the one that `orchestrator/runtimes/routes.py` promises, or a request that reached the
engine without being answered 200. The list of routes is the engines' own: see `recorded/`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.runtimes.routes import ROUTES, Role, Route, opens
from tests.gateway.client import ask
from tests.gateway.gate import Gate, Site, gate
from tests.gateway.upstream import CONTENT, Upstream, upstream

RECORDED = Path(__file__).parent / "recorded"
ENGINES = ("ollama", "vllm")
KEYS = ("none", "wrong", "expired", "revoked", "user", "metrics", "admin")
ROLES: tuple[Role, ...] = ("user", "metrics", "admin")
BEYOND = {
    "ollama": ("GET /nope", "PUT /api/tags", "GET /api/generate", "OPTIONS /v1/models", "GET /v1/models/a/b"),
    "vllm": ("GET /nope", "POST /metrics", "GET /v1/chat/completions", "OPTIONS /v1/models", "POST /metrics/"),
}
"""What no engine's list has: other methods, other paths. Closed to all keys."""


@dataclass
class House:
    """A gateway in front of both engines, and what reached them."""

    gate: Gate
    sites: dict[str, Site]
    upstreams: dict[str, Upstream]

    def key(self, engine: str, state: str) -> str | None:
        """The key of that state; none is None."""
        return {"none": None, "wrong": "sk-deployctl-this-is-no-key"}.get(state, self.sites[engine].secrets.get(state))


@contextmanager
def house(**values: Any) -> Iterator[House]:
    """Run one; ``values`` are of the spec's gateway section."""
    with upstream() as ollama, upstream() as vllm, gate() as made:
        engines = {"ollama": ollama, "vllm": vllm}
        sites = {name: made.add(name, name, engine.port, **values) for name, engine in engines.items()}
        for site in sites.values():
            made.make_keys(site)
        made.start()
        yield House(made, sites, engines)


def recorded(engine: str) -> set[tuple[str, str]]:
    """The engine's own routes as ``(METHOD, PATH)`` with ``{}`` for a segment, as `routes.py` writes them."""
    found = set()
    for line in json.loads((RECORDED / f"{engine}.json").read_text("utf-8"))["routes"]:
        method, path = line.split()
        below = "/{}" if method == "MOUNT" else ""
        found.add(
            ({"MOUNT": "GET", "WEBSOCKET": "GET"}.get(method, method), re.sub(r"\{\w+\}|:\w+", "{}", path) + below)
        )
    return found


def rows(engine: str) -> list[Route]:
    """What the table asks for."""
    more = (line.split() for line in BEYOND[engine])
    return [*ROUTES[engine], *(Route(method, path, "closed") for method, path in more)]


def expected(route: Route, key: str) -> int:
    """The status that it has to be."""
    if key not in ROLES:
        return 401
    return 200 if opens(key, route.access) else 403  # type: ignore[arg-type]


def answered(made: House, engine: str, route: Route, key: str) -> tuple[int, str]:
    """The status of a real request, and what is wrong with it; empty when nothing is."""
    behind, path = made.upstreams[engine], route.path.replace("{}", "x.y:1")
    before = len(behind.seen)
    reply = ask(made.sites[engine].port, route.method, path, made.key(engine, key), b"{}" * (route.method == "POST"))
    came = [(seen.method, seen.target) for seen in behind.seen[before:]]
    if reply.status != expected(route, key):
        return reply.status, f"answers {reply.status}, not {expected(route, key)}"
    if came != ([(route.method, path)] if reply.status == 200 else []):
        return reply.status, f"answers {reply.status}, and the engine got {came}"
    if (CONTENT in reply.body) != (reply.status == 200 and route.method != "HEAD"):
        return reply.status, f"answers {reply.status} with {reply.body!r}"
    return reply.status, ""


def main() -> int:
    """Print the table. Fails with a hole."""
    holes = [
        f"{engine}: {method} {path} is not in the table"
        for engine in ENGINES
        for method, path in sorted(recorded(engine) - {route[:2] for route in ROUTES[engine]})
    ]
    with house() as made:
        for engine in ENGINES:
            sys.stdout.write(f"{engine:<46}" + "".join(f"{key:>9}" for key in KEYS) + "\n")
            for route in rows(engine):
                found = [answered(made, engine, route, key) for key in KEYS]
                holes += [f"{engine}: {route.method} {route.path} {wrong}" for _, wrong in found if wrong]
                marked = "".join(f"{status}{'!' if wrong else ''}".rjust(9) for status, wrong in found)
                sys.stdout.write(f"{route.method:<8}{route.path:<38}{marked}\n")
            sys.stdout.write("\n")
    sys.stdout.write("\n".join(holes) + "\n" if holes else "no hole\n")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())

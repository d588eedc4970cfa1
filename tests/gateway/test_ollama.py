"""The gateway in front of an Ollama: the double, or the official one named by DEPLOYCTL_TEST_OLLAMA."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from tests.doubles.gguf import write_gguf
from tests.doubles.ollama.running import GGUF, Ollama, install, sha256
from tests.gateway.client import ask, connection, request, send
from tests.gateway.gate import Site, gate
from tests.gateway.table import KEYS, ROLES, expected, rows


@dataclass
class Served:
    """An Ollama with the model ``tiny``, and its site."""

    ollama: Ollama
    site: Site
    gguf: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, has_caddy: None) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ollama")
    (folder / "home").mkdir()
    ollama = Ollama(install(folder), folder / "home")
    gguf = Path(GGUF) if GGUF else write_gguf(folder / "tiny.gguf")
    with ollama.serve(), gate() as made:
        created = ollama.create("tiny", f"FROM {gguf}\nPARAMETER num_ctx 512\nPARAMETER num_predict 20\n")
        assert created.returncode == 0, created.stderr
        site = made.add("ollama", "ollama", ollama.port)
        made.make_keys(site)
        made.start()
        yield Served(ollama, site, gguf)


def test_a_name_that_ollama_does_not_know_is_no_hindrance(served: Served) -> None:
    assert served.ollama.call("GET", "/api/tags", Host="llm.example.org").status == 403, "without the gateway"
    reply = ask(served.site.port, "GET", "/api/tags", served.site.secrets["user"], Host="llm.example.org")
    assert [model["name"] for model in json.loads(reply.body)["models"]] == ["tiny:latest"]


def test_no_route_answers_who_may_not(served: Served) -> None:
    """Of those who may, what the engine says of an empty request is its own matter."""
    secrets = {"none": None, "wrong": "wrong", **served.site.secrets}
    for route in rows("ollama"):
        for key in KEYS:
            if (status := expected(route, key)) != 200:
                reply = ask(served.site.port, route.method, route.path.replace("{}", "x"), secrets[key], b"{}")
                assert (reply.status, reply.headers["content-type"]) == (status, "application/json"), (route, key)
    assert set(ROLES) < set(KEYS)


def test_it_chats_in_both_dialects_piece_by_piece(served: Served) -> None:
    key = served.site.secrets["user"]
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served.site.port}/v1", api_key=key, max_retries=0) as client:
        question = [{"role": "user", "content": "What is the capital of France?"}]
        chunks = list(client.chat.completions.create(model="tiny", messages=question, max_tokens=20, stream=True))  # type: ignore[call-overload]
    assert len(chunks) > 1
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    body = json.dumps({"model": "tiny", "messages": question}).encode()
    with connection(served.site.port) as native:
        native.send(request("POST", "/api/chat", key, body))
        status, headers = native.head()
        pieces = [json.loads(line) for line in b"".join(native.lines()).splitlines()]
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert len(pieces) > 1
    assert pieces[-1]["done"] is True


def test_an_admin_brings_and_takes_a_model_and_nobody_else_does(served: Served) -> None:
    digest = f"sha256:{sha256(served.gguf)}"
    calls = [
        ("HEAD", f"/api/blobs/{digest}", b"", 200),
        ("POST", "/api/create", json.dumps({"model": "other", "files": {"m.gguf": digest}}).encode(), 200),
        ("POST", "/api/copy", b'{"source": "other", "destination": "third"}', 200),
        ("DELETE", "/api/delete", b'{"model": "third"}', 200),
        ("DELETE", "/api/delete", b'{"model": "other"}', 200),
    ]
    for method, path, body, status in calls:
        for key in ("user", "metrics"):
            assert send(served.site.port, request(method, path, served.site.secrets[key], body), method).status == 403
        data = request(method, path, served.site.secrets["admin"], body)
        assert send(served.site.port, data, method).status == status, path
    reply = ask(served.site.port, "GET", "/api/tags", served.site.secrets["user"])
    assert [model["name"] for model in json.loads(reply.body)["models"]] == ["tiny:latest"]

"""A whole measurement: against a server that counts tokens in its own way."""

from __future__ import annotations

import pytest

from orchestrator.bench.measure import measure
from orchestrator.bench.result import Load, Measurement
from orchestrator.bench.target import Target
from orchestrator.errors import DeployError, RefusedError
from orchestrator.hosts.secret import Secret
from orchestrator.progress import Quiet
from tests.bench_room.server import DONE, Server, answer, delta
from tests.doubles.ollama.running import free_port


def go(server: Server, model: str = "tiny", key: str = "", **load: object) -> Measurement:
    wanted = {"concurrency": (1, 3), "output_tokens": 5, "requests": 4, "prompts": "stories/1", **load}
    target = Target(title="it", url=server.url, model=model, key=Secret(key))
    return measure(target, Load.model_validate(wanted), by="me@here", progress=Quiet())


def test_levels_follow_each_other_and_the_warm_up_does_not_count(server: Server):
    found = go(server, warmup=3)
    assert [level.concurrency for level in found.levels] == [1, 3]
    assert all((level.requests, level.succeeded, level.output_tokens) == (4, 4, 20) for level in found.levels)
    assert len(server.seen) == 3 + 4 + 4
    texts = [body["messages"][0]["content"] for body in server.seen]
    assert len(set(texts)) == len(texts), "no prompt is sent twice"
    assert found.by == "me@here" and found.generation is None and "host is not known" in found.gpu_note


@pytest.mark.parametrize(("tokens_a_word", "wanted"), [(1.0, 500), (1.37, 2000), (2.6, 4000), (0.5, 100)])
def test_prompts_get_as_long_as_asked_by_the_servers_own_count(server: Server, tokens_a_word: float, wanted: int):
    server.reply = lambda body: answer(body, tokens_a_word)
    found = go(server, prompt_tokens=wanted)
    for level in found.levels:
        assert level.prompt_tokens / level.succeeded == pytest.approx(wanted, rel=0.03)
    assert found.notes == ()


def test_a_length_below_the_shortest_prompt_is_said(server: Server):
    found = go(server, prompt_tokens=5)
    assert "more than the 5 asked for" in found.notes[0]


def test_a_server_that_does_not_count_cannot_be_asked_for_a_length(server: Server):
    server.reply = lambda _: [delta("a"), DONE]
    with pytest.raises(RefusedError) as failure:
        go(server, prompt_tokens=100)
    assert failure.value.remedy == "leave out --prompt-tokens"
    assert go(server).levels[0].counted_by == "pieces"


def test_the_model_is_asked_for_and_vllm_gets_a_salt_of_this_run_alone(server: Server):
    assert go(server, model="").model == "tiny"
    salts = {body["cache_salt"] for body in server.seen}
    assert len(salts) == 1
    go(server, model="")
    assert len({body["cache_salt"] for body in server.seen}) == 2
    server.models = (200, '{"data": [{"id": "small", "owned_by": "library"}]}')
    server.seen.clear()
    assert go(server, model="").model == "small"
    assert not any("cache_salt" in body for body in server.seen)


@pytest.mark.parametrize(
    ("reply", "why", "remedy"),
    [
        ((401, '{"error": "Unauthorized"}'), "Unauthorized", "--key-file"),
        ((404, '{"error": {"message": "model nope not found"}}'), "nope", "/v1"),
        ((400, '{"error": {"message": "maximum context length is 2048"}}'), "2048", "--prompt-tokens"),
        ((503, '{"error": {"message": "server busy"}}'), "busy", "status"),
    ],
)
def test_an_endpoint_that_refuses_all_ends_it_at_once(server: Server, reply: tuple[int, str], why: str, remedy: str):
    server.reply = lambda _: reply
    with pytest.raises(DeployError) as failure:
        go(server)
    assert why in failure.value.why and remedy in failure.value.remedy
    assert len(server.seen) == 1


def test_nobody_there_and_no_model():
    with Server().running() as server:
        server.models = (200, '{"data": []}')
        with pytest.raises(DeployError, match="no model"):
            go(server, model="")
        server.url = f"http://127.0.0.1:{free_port()}/v1"
        with pytest.raises(DeployError) as failure:
            go(server)
    assert "connect" in failure.value.what and failure.value.remedy


def test_a_server_that_repeats_the_key_does_not_give_it_away(server: Server):
    count = iter(range(100))
    server.reply = lambda body: answer(body) if next(count) < 3 else (500, "bad key sk-canary-4711\x1b[2J\u0007 !")
    found = go(server, key="sk-canary-4711")
    text = found.model_dump_json()
    assert "sk-canary" not in text and "\\u001b" not in text and found.levels[1].errors == {"http 500": 4}

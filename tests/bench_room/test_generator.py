"""The load generator as it is run: a process of its own, against a server over HTTP. Nothing here looks at a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.bench.process import run_job
from orchestrator.bench.wire import Batch, Job
from orchestrator.errors import DeployError
from tests.bench_room.server import DONE, Server, answer, delta, event, usage
from tests.doubles.ollama.running import free_port

CANARY = "sk-canary-4711"


def run(job: Job) -> tuple[Batch, list[int]]:
    heard: list[int] = []
    return run_job(job, heard.append), heard


def job(server: Server, **more: object) -> Job:
    return Job(**{"url": server.url, "model": "tiny", "output_tokens": 4, "timeout": 60, **more})  # type: ignore[arg-type]


def test_every_request_is_made_once_and_counted(server: Server):
    batch, heard = run(job(server, requests=20, concurrency=5))
    assert len(batch.records) == len(server.seen) == 20 and heard == list(range(1, 21))
    assert all((record.error, record.tokens, record.pieces) == ("", 4, 4) for record in batch.records)
    assert all(len(record.gaps) == 3 for record in batch.records)
    assert all(record.began <= record.first <= record.ended for record in batch.records if record.first is not None)
    texts = [body["messages"][0]["content"] for body in server.seen]
    assert len(set(texts)) == 20


@pytest.mark.parametrize("many", [1, 4, 50])
def test_as_many_are_under_way_at_once_as_asked(server: Server, many: int):
    server.gate = threading.Barrier(many, timeout=60)  # nobody is answered before all have asked
    batch, _ = run(job(server, requests=many * 2, concurrency=many))
    assert [record.error for record in batch.records] == [""] * (many * 2)


def test_what_is_sent_is_what_both_engines_read(server: Server):
    run(job(server, first=7, words=30, extra={"cache_salt": "x"}))
    (body,) = server.seen
    assert body["max_tokens"] == 4 and "max_completion_tokens" not in body
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    assert body["model"] == "tiny" and body["cache_salt"] == "x"
    assert body["temperature"] == 0 and "seed" not in body, "a seed kills vLLM on a CPU"


def test_a_duration_ends_the_load(server: Server):
    calls = threading.Event()
    server.on_request = calls.set
    batch, _ = run(job(server, seconds=0.3, concurrency=2))
    assert calls.is_set() and batch.records and len(batch.records) == len(server.seen)
    assert all(record.began <= 0.3 for record in batch.records), "none is begun after it"


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        ((503, '{"error":{"message":"server busy"}}'), "http 503", "server busy"),
        ((400, '{"error":{"message":"too long"}}'), "http 400", "too long"),
        ((404, "not here"), "http 404", "not here"),
        ((307, ""), "http 307", ""),
        ([delta("a"), event({"error": {"message": "engine died"}}), DONE], "engine", "engine died"),
        ([delta("a"), usage(3, 1)], "cut", "[DONE]"),
        ([b"data: <html>\n\n"], "protocol", "not JSON"),
        ([DONE], "empty", "no token"),
    ],
)
def test_failures_have_a_kind_and_do_not_stop_the_others(
    server: Server, reply: tuple[int, str] | list[bytes], kind: str, says: str
):
    count = iter(range(1000))

    def sometimes(body: dict[str, object]) -> tuple[int, str] | list[bytes]:
        return reply if next(count) % 2 else answer(body)

    server.reply = sometimes
    batch, _ = run(job(server, requests=8))
    assert [record.error for record in batch.records] == ["", kind] * 4
    assert all(says in record.detail for record in batch.records if record.error)


def test_a_connection_that_is_cut_in_an_answer(server: Server):
    server.reply, server.cut = (lambda body: answer(body)[:3]), True
    batch, _ = run(job(server, requests=2))
    assert [record.error for record in batch.records] == ["cut", "cut"]


def test_nobody_there():
    batch, _ = run(Job(url=f"http://127.0.0.1:{free_port()}/v1", model="tiny", requests=3))
    assert [record.error for record in batch.records] == ["connect"] * 3


def test_an_answer_that_takes_too_long(server: Server):
    waiting = threading.Event()
    server.on_request = lambda: waiting.wait(60)
    try:
        batch, _ = run(job(server, timeout=0.3))
    finally:
        waiting.set()
    assert [record.error for record in batch.records] == ["timeout"]


def test_the_models_and_their_owner(server: Server):
    assert run(job(server, model=""))[0].models == (("tiny", "vllm"),)
    server.models = (200, '{"data": null}')
    assert run(job(server, model=""))[0].models == ()
    for models, kind in (
        ((401, '{"error": "no"}'), "http 401"),
        ((200, "<html>"), "protocol"),
        ((200, "7"), "protocol"),
    ):
        server.models = models
        assert run(job(server, model=""))[0].records[0].error == kind


# the key


def generators() -> list[Path]:
    """The load generators that run now, of whoever."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"orchestrator.bench.generator" in (entry / "cmdline").read_bytes():
                found.append(entry)
        except OSError:
            continue
    return found


def test_the_key_reaches_the_server_and_shows_nowhere(server: Server):
    seen: list[bytes] = []

    def look() -> None:
        mine = [entry for entry in generators() if os.getpid() == int((entry / "stat").read_text().split()[3])]
        seen.extend((entry / name).read_bytes() for entry in mine for name in ("cmdline", "environ"))

    server.key, server.on_request = CANARY, look
    batch, _ = run(job(server, key=CANARY))
    assert batch.records[0].error == ""
    assert len(seen) == 2 and not any(CANARY.encode() in text for text in seen)
    assert CANARY not in batch.to_json() and CANARY not in repr(job(server, key=CANARY))


def test_a_wrong_key_is_refused_by_the_server(server: Server):
    server.key = CANARY
    batch, _ = run(job(server, key="another"))
    assert batch.records[0].error == "http 401" and batch.records[0].detail == "Unauthorized"


# its life


def test_it_ends_with_whoever_wanted_the_result(server: Server):
    asked, waiting = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        waiting.wait(60)

    server.on_request = hang
    words = [sys.executable, "-P", "-m", "orchestrator.bench.generator"]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=path
    ) as child:
        assert child.stdin and child.stdout and child.stderr
        child.stdin.write(job(server, requests=5).to_json().encode() + b"\n")
        child.stdin.flush()
        try:
            assert asked.wait(60)
            child.stdin.close()
            assert child.wait(60) == 0 and child.stdout.read() == b"" and child.stderr.read() == b""
        finally:
            waiting.set()
            child.kill()


def test_a_generator_that_fails_says_why(server: Server):
    with pytest.raises(DeployError) as failure:
        run(job(server, ca_file="/nonexistent"))
    assert failure.value.what == "the load generator failed" and "No such file" in failure.value.why


def test_a_job_and_a_batch_survive_the_way():
    sent = Job(url="http://x/v1", model='m"\n', key="k", extra={"a": [1]})
    assert Job.from_json(sent.to_json()) == sent and "\n" not in sent.to_json()
    assert json.loads(Batch().to_json())["records"] == []
    assert Batch.from_json(Batch(models=(("a", "b"),)).to_json()) == Batch(models=(("a", "b"),))

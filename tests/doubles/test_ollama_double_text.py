"""What the page says about generating, loading and unloading; see test_ollama_double.py for the two ways to run."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .gguf import write_gguf
from .ollama.running import GGUF, OFFICIAL, Ollama, Reply, children, sha256

COUNTING = "1, 2, 3, 4, 5, 6,"
double_only = pytest.mark.skipif(bool(OFFICIAL), reason="needs a knob that only the double has")
needs_text = pytest.mark.skipif(bool(OFFICIAL) and not GGUF, reason="the real Ollama needs DEPLOYCTL_TEST_GGUF")


def generate(ollama: Ollama, **body: object) -> Reply:
    return ollama.call("POST", "/api/generate", {"model": "tiny", "stream": False, **body})


def chat(ollama: Ollama, text: str, **body: object) -> Reply:
    messages = [{"role": "user", "content": text}]
    return ollama.call("POST", "/v1/chat/completions", {"model": "tiny", "messages": messages, **body})


@needs_text
def test_generate_counts_on(model):
    answer = generate(model, prompt=COUNTING, options={"num_predict": 8}).json()
    assert answer["response"].replace(" ", "").startswith("7,8,9")
    assert (answer["model"], answer["done"], answer["done_reason"]) == ("tiny", True, "length")
    assert answer["eval_count"] == 8
    assert answer["prompt_eval_count"] > 5
    assert {"context", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration"} <= set(answer)


def test_generate_streams_by_default(model):
    body = {"model": "tiny", "prompt": "Hello", "options": {"num_predict": 4}}
    reply = model.call("POST", "/api/generate", body)
    *pieces, last = reply.lines()
    assert reply.kind == "application/x-ndjson"
    assert all(piece["done"] is False and "response" in piece for piece in pieces)
    assert (last["done"], last["eval_count"]) == (True, 4)


@needs_text
def test_chat_completion(model):
    answer = chat(model, "What is the capital of France?", max_tokens=30).json()
    assert answer["object"] == "chat.completion"
    assert answer["system_fingerprint"] == "fp_ollama"
    assert answer["id"].startswith("chatcmpl-")
    assert "Paris" in answer["choices"][0]["message"]["content"]
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@needs_text
def test_max_tokens_counts_and_max_completion_tokens_does_not(model):
    limited = chat(model, COUNTING, max_tokens=3).json()
    assert (limited["usage"]["completion_tokens"], limited["choices"][0]["finish_reason"]) == (3, "length")
    assert chat(model, COUNTING, max_completion_tokens=3).json()["usage"]["completion_tokens"] > 3


def test_chat_stream_is_sse_and_usage_only_on_request(model):
    reply = chat(model, "Hello", stream=True, max_tokens=4, stream_options={"include_usage": True})
    events = [line.removeprefix("data: ") for line in reply.body.decode().splitlines() if line]
    assert reply.kind.startswith("text/event-stream")
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["usage"]["completion_tokens"] == 4
    assert b'"usage":{' not in chat(model, "Hello", stream=True, max_tokens=4).body


def test_completions(model):
    body = {"model": "tiny", "prompt": "Hello", "max_tokens": 2}
    answer = model.call("POST", "/v1/completions", body).json()
    assert answer["object"] == "text_completion"
    assert answer["usage"]["completion_tokens"] == 2


@double_only  # a real model without a template that is also small is not at hand everywhere
def test_the_template_trap_answers_200_with_garbage(server, tmp_path):
    path = write_gguf(tmp_path / "base.gguf", chat_template=None)
    assert server.create("tiny", f"FROM {path}\n").returncode == 0
    trapped = chat(server, "What is the capital of France?", max_tokens=8)
    assert trapped.status == 200
    assert trapped.json()["choices"][0]["message"]["content"].startswith("<|im_end|>")
    assert "missing tokenizer.chat_template" in (server.home / "stderr.log").read_text()
    assert server.create("tiny", f'FROM {path}\nTEMPLATE """{{{{ .Prompt }}}}"""\n').returncode == 0
    sane = chat(server, "What is the capital of France?").json()
    assert "Paris" in sane["choices"][0]["message"]["content"]
    assert sane["usage"]["prompt_tokens"] < trapped.json()["usage"]["prompt_tokens"]


@double_only
def test_too_long_a_prompt(server, tmp_path):
    path = write_gguf(tmp_path / "base.gguf", chat_template=None)
    server.create("tiny", f"FROM {path}\nPARAMETER num_ctx 64\n")
    long = "word " * 500
    assert generate(server, prompt=long).json()["prompt_eval_count"] <= 64
    reply = chat(server, long)
    inner = json.loads(reply.json()["error"]["message"])
    assert (reply.status, inner["error"]["type"]) == (400, "exceed_context_size_error")


def test_load_and_unload_without_a_prompt(model):
    loaded = model.call("POST", "/api/generate", {"model": "tiny"}).json()
    assert (loaded["response"], loaded["done_reason"]) == ("", "load")
    [running] = model.call("GET", "/api/ps").json()["models"]
    assert (running["name"], running["size_vram"], running["context_length"]) == ("tiny:latest", 0, 512)
    assert model.call("POST", "/api/generate", {"model": "tiny", "keep_alive": 0}).json()["done_reason"] == "unload"
    assert model.call("GET", "/api/ps").json() == {"models": []}


def test_keep_alive_for_ever(model):
    model.call("POST", "/api/generate", {"model": "tiny", "keep_alive": -1})
    [running] = model.call("GET", "/api/ps").json()["models"]
    assert running["expires_at"] > "2300"


def test_the_request_beats_the_modelfile_and_the_model_caps_both(model, gguf):
    longest = model.call("GET", "/api/tags").json()["models"][0]["details"]["context_length"]
    for asked, shown in ((256, 256), (10 * longest, longest)):
        generate(model, prompt="Hello", options={"num_ctx": asked, "num_predict": 1})
        [running] = model.call("GET", "/api/ps").json()["models"]
        assert running["context_length"] == shown


@pytest.mark.parametrize(("environment", "context"), [({}, 1024), ({"OLLAMA_CONTEXT_LENGTH": "256"}, 256)])
def test_context_of_a_modelfile_that_says_nothing(ollama, tmp_path, environment, context):
    with ollama.serve(**environment):
        path = write_gguf(tmp_path / "short.gguf", context_length=1024)
        ollama.create("tiny", f"FROM {path}\n")
        ollama.call("POST", "/api/generate", {"model": "tiny"})
        [running] = ollama.call("GET", "/api/ps").json()["models"]
        assert running["context_length"] == context, "the default is 4096, the model's own length caps it"


def test_the_child_gets_the_product_of_context_and_slots(ollama, gguf):
    with ollama.serve(OLLAMA_NUM_PARALLEL="2") as process:
        ollama.create("tiny", f"FROM {gguf}\nPARAMETER num_ctx 512\n")
        ollama.call("POST", "/api/generate", {"model": "tiny"})
        [child] = children(process.pid)
        command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        assert command[command.index("-c") + 1] == "1024"
        assert command[command.index("-np") + 1] == "2"
        assert ollama.call("GET", "/api/ps").json()["models"][0]["context_length"] == 512, "per slot"


def test_a_killed_child_is_still_listed_and_started_anew(ollama, gguf):
    with ollama.serve() as process:
        ollama.create("tiny", f"FROM {gguf}\n")
        generate(ollama, prompt="Hello", options={"num_predict": 1})
        [child] = children(process.pid)
        os.kill(child, signal.SIGKILL)
        assert len(ollama.call("GET", "/api/ps").json()["models"]) == 1
        assert generate(ollama, prompt="Hello", options={"num_predict": 1}).status == 200
        assert children(process.pid) != [child]


def test_two_names_on_one_blob_do_not_load_side_by_side(model):
    model.call("POST", "/api/create", {"model": "other", "from": "tiny", "parameters": {"num_ctx": 256}})
    for name in ("tiny", "other"):
        model.call("POST", "/api/generate", {"model": name})
    assert [running["name"] for running in model.call("GET", "/api/ps").json()["models"]] == ["other:latest"]


def test_a_damaged_blob_stays_green_everywhere_but_in_generation(model, gguf):
    blob = model.blob(sha256(gguf))
    os.truncate(blob, blob.stat().st_size - 1000)
    reply = generate(model, prompt="Hello")
    assert reply.status == 500
    assert "exceeds file size" in reply.json()["error"]
    assert len(model.call("GET", "/api/tags").json()["models"]) == 1
    assert model.run("list").returncode == 0
    again = model.create("tiny", f"FROM {gguf}\n")
    assert (again.returncode, "exceeds file size" in again.stderr) == (1, True), "an upload does not repair it"
    blob.unlink()
    assert generate(model, prompt="Hello").json() == {"error": 'model "tiny" not found, try pulling it first'}
    assert model.create("tiny", f"FROM {gguf}\n").returncode == 0


def test_a_broken_manifest(model):
    (model.models / "manifests/registry.ollama.ai/library/tiny/latest").write_text("{")
    assert (generate(model, prompt="x").status, generate(model, prompt="x").json()) == (
        500,
        {"error": "unexpected EOF"},
    )


@double_only
def test_a_full_queue_answers_503(ollama, gguf):
    with ollama.serve(OLLAMA_MAX_QUEUE="1", DOUBLE_OLLAMA_LOAD_SECONDS="1"):
        ollama.create("tiny", f"FROM {gguf}\n")
        together = threading.Barrier(6)

        def ask(_: int) -> Reply:
            together.wait()
            return generate(ollama, prompt="Hello", options={"num_predict": 1})

        with ThreadPoolExecutor(6) as pool:
            replies = list(pool.map(ask, range(6)))
    assert sorted(reply.status for reply in replies) == [200, 200, 503, 503, 503, 503]
    busy = {"error": "server busy, please try again.  maximum pending requests exceeded"}
    assert next(reply for reply in replies if reply.status == 503).json() == busy


@double_only
@pytest.mark.parametrize(
    ("knob", "value", "status", "text"),
    [("DOUBLE_OLLAMA_FAIL", "CUDA error", 500, "CUDA error"), ("DOUBLE_OLLAMA_TEXT", "!!!!!!", 200, "!!!!!!")],
)
def test_knobs(ollama, gguf, knob, value, status, text):
    with ollama.serve(**{knob: value}):
        ollama.create("tiny", f"FROM {gguf}\n")
        reply = chat(ollama, "Hello")
        assert reply.status == status
        assert text in reply.body.decode()

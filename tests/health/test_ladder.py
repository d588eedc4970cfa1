"""The ladder on scripted hosts: what it waits for, where it stops, what it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UnreachableError
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.format import lines
from orchestrator.health.ladder import check
from orchestrator.health.report import HealthReport
from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import HttpAnswer, Result
from tests.health.doubles import REFUSED, FakeClock, FakeService, Heard, ScriptedHost, answer, said

KEY = "c4nary-0123456789"
VLLM = Endpoint(
    runtime="vllm",
    url="http://127.0.0.1:5000/v1",
    probe_url="http://127.0.0.1:5000",
    model="tiny",
    key_file="/etc/deployctl/vllm.key",
    expected_version="0.32.0",
)
OLLAMA = Endpoint(
    runtime="ollama", url="http://127.0.0.1:11434/v1", probe_url="http://127.0.0.1:11434", model="qwen", key_file=None
)
UP = ServiceState(running=True, detail="running")
DOWN = ServiceState(running=False, detail="exited 0")

PARIS = said("The capital of France is Paris.")
SEVEN = said(" 7, 8, 9")


def script(**changed: list[HttpAnswer]) -> dict[str, list[HttpAnswer]]:
    """A healthy vLLM, with the given answers changed: version, models, chat."""
    found = {
        "version": [answer(200, {"version": "0.32.0"})],
        "models": [answer(200, {"object": "list", "data": [{"id": "tiny", "object": "model"}]})],
        "chat": [PARIS, SEVEN],
    } | changed
    return {"/version": found["version"], "/v1/models": found["models"], "/v1/chat/completions": found["chat"]}


def run(
    answers: dict[str, list[HttpAnswer]],
    service: FakeService | None = None,
    *,
    endpoint: Endpoint = VLLM,
    deadline_s: float = 600,
    heard: Heard | None = None,
    clock: FakeClock | None = None,
    files: dict[str, str] | None = None,
) -> tuple[HealthReport, ScriptedHost]:
    host = ScriptedHost(answers, {"/etc/deployctl/vllm.key": f"{KEY}\n"} if files is None else files)
    report = check(
        host,
        endpoint,
        service or FakeService(UP),
        deadline_s=deadline_s,
        progress=heard or Heard(),
        clock=clock or FakeClock(),
    )
    assert KEY not in report.model_dump_json()
    assert KEY not in "\n".join(lines(report))
    assert all(KEY not in sent for sent in host.scripts)
    return report, host


def rungs(report: HealthReport) -> dict[str, bool | None]:
    return {rung.name: rung.ok for rung in report.rungs}


def test_a_healthy_endpoint_holds_on_every_rung() -> None:
    report, host = run(script())
    assert report.healthy
    assert report.failed is None
    assert [name for name, ok in rungs(report).items() if not ok] == ["a key opens it"]  # there is no gateway
    assert report.answer_text == "The capital of France is Paris."
    assert report.warnings == ()
    assert report.diagnosis is None
    assert HealthReport.model_validate_json(report.model_dump_json()) == report
    by_path = {request.url.split("5000")[1]: request for request in host.requests}
    assert by_path["/v1/models"].headers["Authorization"] == f"Bearer {KEY}"
    body = json.loads(by_path["/v1/chat/completions"].body or b"")
    assert body["max_tokens"] > 0
    assert "max_completion_tokens" not in body
    assert (body["temperature"], body["stream"], body["model"]) == (0, False, "tiny")


def test_what_serves_already_is_asked_everything_in_one_round_trip_after_a_look() -> None:
    _, host = run(script())
    assert (len(host.scripts), host.trips) == (1, 1)


def test_an_env_file_serves_as_key_file() -> None:
    _, host = run(script(), files={"/etc/deployctl/vllm.key": f"VLLM_API_KEY={KEY}\n"})
    assert host.requests[-1].headers["Authorization"] == f"Bearer {KEY}"


def test_startup_is_waited_for_and_shown() -> None:
    not_yet = [REFUSED, HttpAnswer(0, error="connection reset"), answer(404, "404 page not found"), answer(503, "")]
    logs = [
        "Starting to load model x",
        "Loading safetensors checkpoint shards:  50% Completed | 1/2",
        "Dynamo bytecode transform time: 5 s",
        "Capturing CUDA graphs (decode, FULL):  10%|#",
    ]
    heard, clock = Heard(), FakeClock()
    report, _ = run(
        script(version=[*not_yet, answer(200, {"version": "0.32.0"})]),
        FakeService(UP, logs=logs),
        heard=heard,
        clock=clock,
    )
    assert report.healthy
    assert heard.messages[:4] == [
        "preparing to load",
        "loading weights 50 %",
        "compiling",
        "capturing CUDA graphs 10 %",
    ]
    assert heard.amounts == sorted(heard.amounts)
    assert clock.time > 1000


def test_never_ready_names_the_phase_it_hung_in() -> None:
    clock = FakeClock()
    hangs = FakeService(UP, logs=["Loading safetensors checkpoint shards:  50% Completed | 1/2"])
    report, _ = run(script(version=[REFUSED]), hangs, deadline_s=300, clock=clock)
    assert clock.time == 1300
    assert not report.healthy
    assert report.failed == "port open"
    assert report.phase == "loading weights 50 %"
    assert "loading weights 50 %" in next(rung.detail for rung in report.rungs if rung.name == "port open")
    assert rungs(report)["generates"] is None
    assert "next:   deployctl logs vllm" in lines(report)


def test_a_deadline_of_zero_tries_once_and_never_waits() -> None:
    clock = FakeClock()
    report, host = run(script(version=[REFUSED]), deadline_s=0, clock=clock)
    assert report.failed == "port open"
    assert clock.time == 1000
    assert len(host.requests) == 1


FAILED_START = (Path(__file__).parent / "logs" / "vllm_shm.txt").read_text("utf-8")


def test_a_service_that_dies_while_starting_ends_the_wait_with_its_cause() -> None:
    clock = FakeClock()
    report, _ = run(script(version=[REFUSED]), FakeService(UP, UP, DOWN, logs=[FAILED_START]), clock=clock)
    assert clock.time < 1010
    assert report.failed == "running"
    assert report.diagnosis is not None
    assert report.diagnosis.id == "shared-memory-too-small"
    assert "exited 0" in next(rung.detail for rung in report.rungs if rung.name == "running")
    assert "Engine core initialization failed" in report.log
    assert any(line.startswith("remedy:") and "--shm-size" in line for line in lines(report))


def test_a_service_that_is_down_is_not_asked_anything() -> None:
    report, host = run(script(), FakeService(DOWN, logs=[FAILED_START]))
    assert report.failed == "running"
    assert host.requests == []


def test_a_crash_loop_is_seen_though_each_look_finds_it_running() -> None:
    again = [ServiceState(running=True, restarts=count, detail="running") for count in (3, 3, 3, 5)]
    clock = FakeClock()
    report, _ = run(script(version=[REFUSED]), FakeService(*again, logs=[FAILED_START]), clock=clock)
    assert report.failed == "running"
    assert "keeps dying: restarted 2 times" in next(rung.detail for rung in report.rungs if rung.name == "running")
    assert report.diagnosis is not None
    assert clock.time < 1010


def test_old_restarts_are_forgiven() -> None:
    report, _ = run(script(), FakeService(ServiceState(running=True, restarts=7)))
    assert report.healthy


def test_what_the_supervisor_says_is_evidence_too() -> None:
    report, _ = run(script(), FakeService(ServiceState(running=False, detail="exited 137 (OOM killed)")))
    assert report.diagnosis is not None
    assert report.diagnosis.id == "out-of-memory-limit"


def test_an_unknown_failure_shows_the_first_error() -> None:
    log = "ValueError: the moon is in the way\nRuntimeError: Engine core initialization failed. See root cause above."
    report, _ = run(script(), FakeService(DOWN, logs=[log]))
    assert report.diagnosis is not None
    assert report.diagnosis.line == "ValueError: the moon is in the way"


NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template "
    "if the tokenizer does not define one."
)


def test_green_health_but_a_refused_chat_is_unhealthy() -> None:
    refused = answer(400, {"error": {"message": NO_TEMPLATE, "type": "BadRequestError", "code": 400}})
    report, host = run(script(chat=[refused]))
    assert not report.healthy
    assert report.failed == "generates"
    assert report.diagnosis is not None
    assert report.diagnosis.id == "chat-template-missing"
    assert len([request for request in host.requests if request.method == "POST"]) == 1


def test_the_log_of_a_running_server_does_not_explain_a_refused_request() -> None:
    refused = answer(400, {"error": {"message": "no vowels, please"}})
    report, _ = run(script(chat=[refused]), FakeService(UP, logs=["OSError: [Errno 98] Address already in use"]))
    assert report.failed == "generates"
    assert report.diagnosis is None
    assert report.log == ""
    assert "400 no vowels, please" in "\n".join(lines(report))


def test_an_engine_that_breaks_at_the_first_request_is_explained_by_its_log() -> None:
    broken = answer(500, {"error": {"message": "EngineCore encountered an issue. See stack trace (above)"}})
    log = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.34 GiB. GPU 0"
    report, _ = run(script(chat=[broken]), FakeService(UP, logs=[log]))
    assert report.diagnosis is not None
    assert report.diagnosis.id == "cuda-out-of-memory"


def test_a_busy_engine_is_asked_again() -> None:
    report, _ = run(script(chat=[answer(503, "busy"), PARIS, SEVEN]))
    assert report.healthy


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_no_text_is_unhealthy(text: str | None) -> None:
    report, _ = run(script(chat=[said(text)]))
    assert report.failed == "generates"


def test_reasoning_counts_as_text() -> None:
    report, _ = run(script(chat=[said(None, reasoning_content="The user asks for Paris, 7"), SEVEN]))
    assert report.healthy
    assert report.answer_text.startswith("The user asks")


@pytest.mark.parametrize("second", [said("la femme, la femme au 17"), answer(400, {"error": "no"}), said("")])
def test_nonsense_is_a_warning_that_names_its_usual_cause(second: HttpAnswer) -> None:
    report, _ = run(script(chat=[said("L'Étoile, la Marseillaise"), second]))
    assert report.healthy
    assert report.failed is None
    assert rungs(report)["makes sense"] is False
    assert "--enforce-eager" in report.warnings[0]
    shown = lines(report)
    assert any(line.startswith("! makes sense") for line in shown)
    assert not any(line.startswith("✗") for line in shown)


@pytest.mark.parametrize(
    "body", [{"data": None}, {"data": []}, {"data": [{"id": "other"}]}, {"data": "x"}, [], "<html>"]
)
def test_a_model_that_is_not_listed(body: Any) -> None:
    report, _ = run(script(models=[answer(200, body)]))
    assert report.failed == "model listed"
    assert rungs(report)["version"] is True


def test_a_refused_key() -> None:
    report, _ = run(script(models=[answer(401, {"error": "Unauthorized"})]))
    assert report.failed == "model listed"
    assert report.diagnosis is not None
    assert report.diagnosis.id == "key-refused"


def test_a_key_file_that_cannot_be_read() -> None:
    report, _ = run(script(), files={})
    assert report.failed == "model listed"
    assert "No such file" in "\n".join(lines(report))


@pytest.mark.parametrize(
    ("found", "ok"), [("0.32.0", True), ("0.32.0+cpu", True), ("v0.32.0", True), ("0.31.2", False)]
)
def test_the_deployed_version_must_answer(found: str, ok: bool) -> None:
    report, _ = run(script(version=[answer(200, {"version": found})]))
    assert report.healthy is ok
    assert report.failed == (None if ok else "version")


def test_another_server_on_the_port_fails_at_version() -> None:
    report, _ = run(script(version=[answer(200, "<html>nginx</html>")]))
    assert rungs(report)["port open"] is True
    assert report.failed == "version"


def test_ollama_speaks_its_own_version_path_and_adds_latest() -> None:
    heard = Heard()
    answers = {
        "/api/version": [answer(200, {"version": "0.33.0"})],
        "/v1/models": [answer(200, {"object": "list", "data": [{"id": "qwen:latest"}]})],
        "/v1/chat/completions": [PARIS, SEVEN],
    }
    report, host = run(answers, endpoint=OLLAMA, heard=heard)
    assert report.healthy
    assert "loading model" in heard.messages
    assert all("Authorization" not in request.headers for request in host.requests)


def test_a_damaged_ollama_blob_is_green_until_it_must_generate() -> None:
    cut = 'tensor "token_embd.weight" offset+size (184785600) exceeds file size (100000000)'
    answers = {
        "/api/version": [answer(200, {"version": "0.33.0"})],
        "/v1/models": [answer(200, {"object": "list", "data": [{"id": "qwen:latest"}]})],
        "/v1/chat/completions": [answer(500, {"error": {"message": cut}})],
    }
    report, _ = run(answers, endpoint=OLLAMA)
    assert report.failed == "generates"
    assert report.diagnosis is not None
    assert report.diagnosis.id == "ollama-blob-cut"


class Gone(ScriptedHost):
    def run(self, script: str, **_: Any) -> Result:
        raise UnreachableError("cannot connect", host="gpu01", why="No route to host")


def test_an_unreachable_host_is_reported_on_the_first_rung() -> None:
    report = check(Gone({}), VLLM, FakeService(UP), deadline_s=60, progress=Heard(), clock=FakeClock())
    assert report.failed == "reachable"
    assert rungs(report)["running"] is None
    assert "No route to host" in "\n".join(lines(report))


def test_a_key_that_an_engine_repeats_is_masked_everywhere() -> None:
    parrot = answer(400, {"error": {"message": f"you sent {KEY}"}})
    report, _ = run(script(chat=[parrot]), FakeService(UP, logs=[f"ERROR got {KEY}"]))
    assert "you sent ***" in "\n".join(lines(report))
    talkative, _ = run(script(chat=[said(f"the key is {KEY}"), said(KEY)]))
    assert "***" in talkative.answer_text


def test_where_the_log_tells_no_cause_the_host_may_know_it() -> None:
    killed = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task=python3,pid=7,uid=0"
    for log, expected in (
        ("Loading weights", "out-of-memory-limit"),
        ("Worker proc VllmWorker-0 died unexpectedly", "out-of-memory-limit"),
        ("Failed to import Ray", "ray-missing"),
    ):
        report, _ = run(script(), FakeService(DOWN, logs=[log], evidence=killed))
        assert report.diagnosis is not None and report.diagnosis.id == expected

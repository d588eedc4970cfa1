"""What an engine really took, read back after its start and set beside what was predicted."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.facts import Facts
from orchestrator.facts.model import GpuProcess
from orchestrator.fit.memory import GIB, MIB
from orchestrator.health.taken import Taken
from orchestrator.hosts.base import HttpAnswer, HttpRequest
from orchestrator.planning import truth
from orchestrator.planning.plan import Plan
from orchestrator.planning.truth import compared, read_back, spilled
from tests.planning.test_deploy import EXAMPLE, survey
from tests.planning.test_fitting import OLLAMA, Desk, desk, facts, header, spec

__all__ = ["desk", "header"]

LOG = (Path(__file__).parents[1] / "health/logs/vllm_start.txt").read_text()
HELD = (GpuProcess(pid=7, name="VLLM::EngineCore", memory_mib=14900), GpuProcess(pid=8, name="Xorg", memory_mib=300))


class Answers:
    """A host that answers for its engine."""

    name = "gpu01"

    def __init__(self, size: int, vram: int) -> None:
        models = [{"name": "qwen2.5-14b-instruct", "size": size, "size_vram": vram}]
        self.answer = HttpAnswer(200, json.dumps({"models": models}).encode())

    def http(self, request: HttpRequest) -> HttpAnswer:
        assert request.url == "http://127.0.0.1:21434/api/ps"
        return self.answer


@pytest.fixture
def seen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the host shows once the engine runs."""

    def show(found: Facts) -> None:
        monkeypatch.setattr(truth, "glance", lambda host, scope: survey(desk.sim, found))

    return show


def vllm(made: Plan, log: str) -> Any:
    """The plan, with a service that has such a log."""
    return SimpleNamespace(deployment=made.deployment, service=SimpleNamespace(log_tail=lambda host, lines: log))


def test_vllm_and_the_driver_tell(desk: Desk, seen: Any) -> None:
    made = desk.plan(EXAMPLE, facts(), spec(EXAMPLE, max_model_len=24576))
    seen(facts(free=700, processes=HELD))
    taken = read_back(Answers(0, 0), None, vllm(made, LOG), None)  # type: ignore[arg-type]
    assert taken is not None
    assert (taken.kv_tokens, taken.gpu_bytes) == (30448, 14900 * MIB)
    told = compared(made.deployment.fit, taken)
    assert told.startswith("weights 8.70 GiB, predicted 8.56 to 8.73; kv 4.94 GiB, predicted ")
    assert "; GPU 14.55 GiB, predicted 15." in told
    assert told.endswith("; room for 30448 tokens")


def test_two_of_a_kind_are_not_told_apart_by_the_driver(desk: Desk, seen: Any) -> None:
    desk.up(EXAMPLE, facts(), spec(EXAMPLE, name="other", port=6000))
    made = desk.plan(EXAMPLE, facts(), spec(EXAMPLE), force=True)
    seen(facts(free=700, processes=HELD))
    taken = read_back(Answers(0, 0), None, vllm(made, LOG), None)  # type: ignore[arg-type]
    assert taken is not None and taken.gpu_bytes is None


def test_an_engine_that_goes_on_has_told_before(desk: Desk) -> None:
    before = desk.up(EXAMPLE, facts(), spec(EXAMPLE)).model_copy(update={"taken": Taken(kv_tokens=5)})
    made = desk.plan(EXAMPLE, facts(), spec(EXAMPLE))
    assert read_back(Answers(0, 0), None, vllm(made, "GET /health"), before) == before.taken  # type: ignore[arg-type]


def test_a_part_on_the_cpu_is_a_warning(desk: Desk, seen: Any) -> None:
    made = desk.plan(OLLAMA, facts(OLLAMA), spec(OLLAMA))
    seen(facts(OLLAMA))
    host: Any = Answers(100 * GIB // 10, 96 * GIB // 10)
    taken = read_back(host, None, made, None)
    assert taken is not None
    assert spilled(made.deployment.fit, taken).startswith("4 % of the model runs on the CPU")
    assert compared(made.deployment.fit, taken).startswith("model 10.00 GiB, predicted 11.21")


def test_all_on_the_gpu_is_none(desk: Desk, seen: Any) -> None:
    made = desk.plan(OLLAMA, facts(OLLAMA), spec(OLLAMA))
    assert spilled(made.deployment.fit, Taken(size_bytes=10 * GIB, vram_bytes=10 * GIB)) == ""
    assert spilled(made.deployment.fit, None) == ""


def test_a_host_without_gpus_has_nothing_to_spill_from(desk: Desk) -> None:
    made = desk.plan(OLLAMA, facts(OLLAMA, gpus=()), spec(OLLAMA))
    host: Any = Answers(10 * GIB, 0)
    taken = read_back(host, None, made, None)
    assert taken == Taken(size_bytes=10 * GIB, vram_bytes=0)
    assert spilled(made.deployment.fit, taken) == ""


def test_what_was_never_predicted_is_told_alone() -> None:
    assert compared(None, Taken(kv_bytes=5 * GIB, kv_tokens=30000)) == "kv 5.00 GiB; room for 30000 tokens"
    assert compared(None, None) == ""

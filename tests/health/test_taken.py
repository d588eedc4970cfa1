"""What an engine says that it took: recorded logs of vLLM, and bodies of Ollama's /api/ps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.health.taken import GIB, Taken, of_log, of_ps

LOGS = Path(__file__).parent / "logs"


def ps(**changes: object) -> str:
    """As Ollama 0.33 answers, with the model on the GPU as a whole."""
    model = {
        "name": "qwen2.5-14b-instruct:latest",
        "model": "qwen2.5-14b-instruct:latest",
        "size": 13_527_351_296,
        "digest": "a" * 64,
        "details": {"format": "gguf", "family": "qwen2"},
        "expires_at": "2026-11-24T16:00:00Z",
        "size_vram": 13_527_351_296,
        "context_length": 24576,
    }
    return json.dumps({"models": [{"name": "other", "size": 1, "size_vram": 0}, {**model, **changes}]})


def test_vllm_s_figures_on_a_gpu() -> None:
    found = of_log((LOGS / "vllm_start.txt").read_text())
    assert found == Taken(weights_bytes=int(8.7 * GIB), kv_bytes=int(4.94 * GIB), kv_tokens=30448)


def test_vllm_s_figures_on_a_cpu() -> None:
    assert of_log((LOGS / "vllm_cpu_start.txt").read_text()) == Taken(kv_bytes=GIB, kv_tokens=46592)


def test_the_last_start_counts() -> None:
    log = (LOGS / "vllm_start.txt").read_text()
    found = of_log(log + log.replace("30,448 tokens", "12,288 tokens"))
    assert found is not None and found.kv_tokens == 12288


def test_a_log_without_figures_tells_nothing() -> None:
    assert of_log("INFO:     Application startup complete.") is None


@given(st.text(alphabet="0123456789.,", max_size=60))
def test_no_figure_is_too_odd(figure: str) -> None:
    of_log(f"Model loading took {figure} GiB\nAvailable KV cache memory: {figure} GiB\nKV cache size: {figure} tokens")


def test_ollama_s_model_on_the_gpu() -> None:
    found = of_ps(ps(), "qwen2.5-14b-instruct")
    assert found == Taken(size_bytes=13_527_351_296, vram_bytes=13_527_351_296)
    assert found.cpu_percent == 0


def test_ollama_s_model_of_which_a_part_is_on_the_cpu() -> None:
    found = of_ps(ps(size_vram=12_986_257_244), "qwen2.5-14b-instruct:latest")
    assert found is not None and found.cpu_percent == 4.0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"models": null}',
        '{"models": [1]}',
        '{"models": [{"name": 1}]}',
        "[" * 100_000,
        ps(size="much"),
        ps(size=-1),
        ps(size=True),
        ps(size_vram=None),
        ps(size=10**400),
        ps(name="another"),
    ],
    ids=lambda body: body[-40:],
)
def test_what_is_no_answer_tells_nothing(body: str) -> None:
    assert of_ps(body, "qwen2.5-14b-instruct") is None

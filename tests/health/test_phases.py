"""Startup phases, read from logs of the form that the engines write."""

from pathlib import Path

import pytest

from orchestrator.health.phases import phase

LOG = (Path(__file__).parent / "logs" / "vllm_start.txt").read_text("utf-8")


def until(marker: str) -> str:
    """The log as it is once the line with this marker has been written."""
    assert marker in LOG
    return LOG[: LOG.index("\n", LOG.index(marker)) + 1]


@pytest.mark.parametrize(
    ("marker", "shown"),
    [
        ("non-default args", "starting"),
        ("Resolved architecture", "reading the configuration"),
        ("Initializing a V1 LLM engine", "starting the engine"),
        ("Starting to load model", "preparing to load"),
        ("model-00001-of-00002.safetensors:  12%", "downloading 12 %"),
        ("Loading safetensors checkpoint shards:  50%", "loading weights 50 %"),
        ("Dynamo bytecode", "compiling"),
        ("KV cache size", "sizing the KV cache"),
        ("Capturing CUDA graphs", "capturing CUDA graphs 43 %"),
        ("init engine", "warming up"),
        ("Starting vLLM server", "opening the port"),
        ("Application startup complete", "ready"),
    ],
)
def test_vllm_phase(marker: str, shown: str) -> None:
    found = phase(until(marker))
    assert str(found) == shown
    assert 0 <= found.index <= found.total


def test_a_real_start_on_a_cpu_goes_through_its_phases_in_order() -> None:
    real = (Path(__file__).parent / "logs" / "vllm_cpu_start.txt").read_text("utf-8").splitlines()
    seen = [phase("\n".join(real[:count])) for count in range(len(real) + 1)]
    assert [found.index for found in seen] == sorted(found.index for found in seen)
    assert list(dict.fromkeys(found.name for found in seen)) == [
        "starting",
        "reading the configuration",
        "starting the engine",
        "preparing to load",
        "loading weights",
        "sizing the KV cache",
        "warming up",
        "opening the port",
        "ready",
    ]


def test_an_empty_log_is_a_start() -> None:
    assert (phase("").name, phase("").index) == ("starting", 0)


def test_phases_never_go_back_within_a_run() -> None:
    assert phase(until("KV cache size") + "Compiling a graph for compile range").name == "sizing the KV cache"


def test_a_restarted_engine_shows_its_present_run() -> None:
    assert phase(LOG + until("Using max model len")).name == "reading the configuration"


def test_a_progress_bar_on_one_line_shows_its_last_state() -> None:
    bar = "Loading safetensors checkpoint shards: {:3}% Completed | 1/2"
    assert phase("\r".join(bar.format(done) for done in (0, 50, 100))).percent == 100


def test_ollama_phases() -> None:
    listening = 'time=x level=INFO source=routes.go:2008 msg="Listening on 127.0.0.1:21434 (version 0.33.0-rc2)"\n'
    loading = 'time=x level=INFO msg="starting llama-server" cmd="/usr/lib/ollama/llama-server"\n'
    done = 'time=x level=INFO msg="llama-server started in 4.04 seconds"\n'
    assert phase(listening, "ollama").name == "listening"
    assert phase(listening + loading, "ollama").name == "loading model"
    assert phase(listening + loading + done, "ollama").name == "ready"
    assert phase(listening + loading + done + loading, "ollama").name == "loading model"

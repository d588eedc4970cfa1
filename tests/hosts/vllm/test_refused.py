"""What goes wrong with vLLM on a real machine: before any change where that is possible, and explained always."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.health.diagnosis import diagnose
from tests.hosts.vllm.conftest import CONTAINER, HOST, Box
from tests.lab import snapshot as snapshots

pytestmark = [pytest.mark.hosts, pytest.mark.vllm]


@pytest.fixture
def untouched(box: Box) -> Iterator[Box]:
    """A machine that must be as it was when the test is over."""
    before = box.machine.state()
    yield box
    assert snapshots.diff(before, box.machine.state()) == []


def the_error(run) -> dict[str, str]:
    (error,) = run.json()["errors"]
    assert error["what"] in run.stderr, run
    return error


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--no-such-option", "--no-such-option"),
        ("--swap-space=4", "--swap-space"),
        ("--max-logprobs=many", "many"),
        ("--port=9", "--port"),
    ],
)
def test_a_wrong_argument_is_refused_before_any_change(untouched: Box, argument: str, said: str):
    run = untouched.up(f"--extra-arg={argument}")
    assert run.exit == 2, run
    assert said in the_error(run)["what"] + the_error(run)["why"]


def test_a_stopped_docker_is_refused_before_any_change(box: Box):
    box.machine.exec("systemctl stop docker.socket docker")
    try:
        files = box.machine.snapshot()
        run = box.up()
        assert run.exit == 4, run
        error = the_error(run)
        assert (error["host"], error["what"]) == (HOST, "the host has no usable Docker Engine")
        assert "docker" in error["why"].lower() and "start" in error["remedy"]
        assert snapshots.diff(files, box.machine.snapshot()) == []
    finally:
        box.machine.exec("systemctl start docker.socket docker")


def test_a_taken_port_is_refused_before_any_change(untouched: Box):
    run = untouched.up("--port", "22")
    assert run.exit == 4, run
    assert "port 22 is taken" in the_error(run)["what"]


def test_a_container_of_somebody_else_is_left_alone(untouched: Box):
    box = untouched
    image = box.machine.exec("docker images --format '{{.Repository}}:{{.Tag}}' | head -n 1").strip()
    theirs = box.machine.exec(f"docker create --name {CONTAINER} --entrypoint sleep {image} infinity").strip()
    try:
        run = box.up()
        assert run.exit == 4 and CONTAINER in the_error(run)["what"], run
        assert box.inspect()["Id"] == theirs
    finally:
        box.machine.exec(f"docker rm -f {CONTAINER}")


@pytest.mark.provokes("registry-unreachable")
def test_an_image_that_cannot_be_had_is_explained_and_down_clears_away(box: Box):
    run = box.up("--image", "registry.invalid/vllm/vllm-openai-cpu:v0.32.0")
    assert run.exit == 1, run
    error = the_error(run)
    assert "registry.invalid/vllm/vllm-openai-cpu:v0.32.0" in error["what"] and "registry.invalid" in error["why"]
    assert "--image-archive" in error["remedy"]
    found = diagnose(error["why"], "vllm")
    assert found is not None and found.id == "registry-unreachable" and "registry.invalid" in found.cause
    assert box.status()["vllm"]["state"] == "unfinished"
    assert box.down("vllm").exit == 0 and box.status() == {}


@pytest.mark.provokes("context-over-model-limit")
def test_a_context_beyond_the_model_is_diagnosed(box: Box):
    run = box.up("--max-model-len", "999999", "--force")  # else it is refused before
    assert run.exit == 5, run
    (deployment,) = run.json()["deployments"]
    health = deployment["health"]
    assert not health["healthy"] and health["failed"] == "running"
    assert "8192" in health["diagnosis"]["cause"] and "999999" in health["diagnosis"]["cause"]
    assert "--max-model-len 8192" in health["diagnosis"]["remedy"]
    assert "999999" in health["log"]
    shown = box.status()["vllm"]
    assert shown["service"]["restarts"] >= 1, "Docker goes on trying"
    assert box.down("vllm").exit == 0
    assert box.machine.exec("docker ps --all --quiet") == ""

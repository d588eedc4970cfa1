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
from orchestrator.runtimes.gateway import GATEWAY_SERVICES

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
    engine = [change for change in plan.work if _is_engine(change)]
    running = [change for change in engine if _runs(change)]
    name = {"ollama": "Ollama", "vllm": "vLLM"}[plan.deployment.runtime]
    if running and any(change.action == "create" and change.resource in plan.deployment.resources for change in engine):
        return f"{name} is replaced without a gap: the new one starts beside it, and takes over once it answers"
    if running and name == "vLLM":
        seconds = before.get("seconds")
        known = f"about {seconds} s, as measured last time" if seconds else "for as long as a start takes"
        kind = "replaces its container" if isinstance(running[-1].resource, Container) else "restarts"
        return f"{name} {kind} and loads its weights anew: down {known}; requests in flight are cut"
    if running:
        return f"restarts {name}: requests in flight are cut, and the next one loads the model"
    if engine:
        return f"starts {name}" if engine[-1].action != "remove" else f"stops {name}"
    return _small_impact(plan)


def _is_engine(change: Change) -> bool:
    """Whether it is the engine's service, or a former one of it; not the gateway's."""
    resource = change.resource
    return isinstance(resource, Service) and resource.identity not in GATEWAY_SERVICES


def _runs(change: Change) -> bool:
    return bool(change.observed.fields.get("active") or change.observed.fields.get("running"))


def _small_impact(plan: Plan) -> str:
    """What a plan means that leaves the engine alone."""
    gateway = [change for change in plan.work if isinstance(change.resource, Service)]
    if any(_runs(change) for change in gateway):
        return "restarts the gateway: requests in flight to all deployments of the host are cut"
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

"""Golden cases of the runtimes: what goes in, read from a case's folder, and what came out, in a canonical form.

A folder ``cases/RUNTIME/CASE`` holds ``spec.yaml`` (as a user writes it), ``facts.json`` (what differs from
``machine.json``), and optionally ``inputs.json`` (``vendor_before``, ``previous``, ``own_ports``). What the Hub says
of a model comes from ``hub.json``, by the model's source. What comes out is ``deployment.json`` and ``files/``, or
``refused``: a failure's words.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from orchestrator.errors import DeployError
from orchestrator.facts import Facts
from orchestrator.models.resolved import ResolvedFiles, ResolvedModel
from orchestrator.planning.nominal import nominal_release
from orchestrator.resources.converted import Converted
from orchestrator.resources.files import Content
from orchestrator.runtimes import ollama, vllm
from orchestrator.runtimes.deployment import Deployment, Inputs
from orchestrator.spec import Spec, load_spec, model_for
from orchestrator.templating.engine import Renderer, packaged

HERE = Path(__file__).parent
CASES = HERE / "cases"
ALL = sorted(path.parent.relative_to(CASES) for path in CASES.rglob("spec.yaml"))
RENDERER = Renderer()


def read(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text("utf-8"))


def deployable() -> list[Path]:
    """The cases that give a deployment, and no refusal."""
    return [case for case in ALL if not (CASES / case / "refused").is_file()]


def spec_of(case: Path) -> Spec:
    return load_spec(CASES / case / "spec.yaml", runtimes=(case.parent.name,))


def facts_of(case: Path) -> Facts:
    return Facts.model_validate({**read(HERE / "machine.json"), **read(CASES / case / "facts.json")})


def inputs_of(case: Path, facts: Facts | None = None, **changes: Any) -> Inputs:
    """Everything that a runtime decides from."""
    runtime, spec, seen = case.parent.name, spec_of(case), facts or facts_of(case)
    path = CASES / case / "inputs.json"
    extra = {name: value for name, value in (read(path) if path.is_file() else {}).items() if name != "own_ports"}
    hub = read(HERE / "hub.json")
    found = hub[model_for(spec, runtime).source]
    vendor = runtime == "ollama" and ollama.usable_vendor(spec.for_runtime("ollama"), seen.vendor_ollama)
    given = {
        "spec": spec,
        "facts": seen,
        "model": ResolvedModel.model_validate(found["model"]),
        "base": ResolvedFiles.model_validate(found["base"]) if runtime == "vllm" and "base" in found else None,
        "generation_config": found.get("generation_config", {}) if runtime == "vllm" else {},
        "release": nominal_release(spec) if runtime == "ollama" and not vendor else None,
        "renderer": RENDERER,
    }
    return Inputs(**{**given, **extra, **changes})


def wanted(inputs: Inputs, runtime: str, own_ports: tuple[int, ...] = ()) -> Deployment:
    return {"ollama": ollama.wanted, "vllm": vllm.wanted}[runtime](inputs, own_ports)


@functools.cache
def deployment_of(case: Path) -> Deployment:
    """What the runtime wants. Raises DeployError."""
    path = CASES / case / "inputs.json"
    ports = tuple(read(path).get("own_ports", ())) if path.is_file() else ()
    return wanted(inputs_of(case), case.parent.name, ports)


def outcome(case: Path) -> dict[str, str]:
    """What a case gives: texts by the name of the file that keeps them."""
    try:
        deployment = deployment_of(case)
    except DeployError as error:
        what = error.what.replace(f"{packaged()}/", "")
        return {"refused": f"{error.status.name}: {what}\n{error.why}\n→ {error.remedy}\n"}
    document = deployment.model_dump(mode="json", exclude={"fit"})  # no runtime says it
    files = {}
    for shown, resource in zip(document["resources"], deployment.resources, strict=True):
        if isinstance(resource, Content):
            files[f"files{resource.path}"] = resource.content
            shown["content"] = f"see files{resource.path}"
        if isinstance(resource, Converted):
            shown["program"] = "see orchestrator/runtimes/assets/dequantize.py"
    return {"deployment.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n", **files}

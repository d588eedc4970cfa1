"""The seam between facts and plan: what a second run sees of the first, and what is refused before any change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import RefusedError
from orchestrator.facts import Facts
from orchestrator.facts.model import Listener
from orchestrator.planning.deploy import Survey, operator, plan, want
from orchestrator.planning.manifest import read_manifests
from orchestrator.planning.plan import Plan
from orchestrator.resources.unit import Unit
from orchestrator.runtimes.deployment import Deployment, Inputs
from orchestrator.spec import Spec
from tests.planning.simulation import SimulatedHost
from tests.runtimes.golden import facts_of, inputs_of, spec_of

EXAMPLE = Path("vllm", "worked-example")
VENDOR = Path("ollama", "vendor")


class Known:
    """A resolver that knows a golden case's model without asking anybody."""

    def __init__(self, case: Path) -> None:
        self.inputs: Inputs = inputs_of(case)

    def model(self, runtime: str) -> object:
        return self.inputs.model

    def base(self, runtime: str) -> object:
        return self.inputs.base, self.inputs.generation_config

    def release(self, section: object, facts: Facts) -> object:
        return self.inputs.release

    def gateway_archive(self) -> object:
        return self.inputs.gateway_archive


def wanted(case: Path, seen: Survey, spec: Spec | None = None) -> Deployment:
    return want(spec or spec_of(case), case.parent.name, seen, Known(case), None)  # type: ignore[arg-type]


def survey(sim: SimulatedHost, facts: Facts) -> Survey:
    texts = tuple(manifest.model_dump_json() for manifest in sim.manifests.values())
    facts = facts.model_copy(update={"manifests": texts})
    manifests, problems = read_manifests(facts)
    return Survey(facts, manifests, problems)


def test_a_running_deployment_is_as_wanted_though_it_holds_its_port_and_the_gpu(sim: SimulatedHost) -> None:
    facts = facts_of(EXAMPLE)
    first = wanted(EXAMPLE, survey(sim, facts))
    sim.up(first, facts.layout)
    card = facts.gpus[0].model_copy(update={"memory_free_mib": 300})
    running = facts.model_copy(update={"gpus": (card,), "listeners": (Listener(address="127.0.0.1", port=5000),)})
    again = wanted(EXAMPLE, survey(sim, running))
    assert again.resources == first.resources
    assert sim.plan(again).work == ()
    assert again.summary == first.summary


def test_once_it_is_down_its_port_may_be_another_s(sim: SimulatedHost) -> None:
    facts = facts_of(EXAMPLE)
    sim.up(wanted(EXAMPLE, survey(sim, facts)), facts.layout)
    sim.down("vllm", facts.layout)
    taken = facts.model_copy(update={"listeners": (Listener(address="0.0.0.0", port=5000),)})
    with pytest.raises(RefusedError) as refused:
        wanted(EXAMPLE, survey(sim, taken))
    assert "5000" in refused.value.what


def test_what_a_vendor_s_unit_was_before_is_remembered(sim: SimulatedHost) -> None:
    """A later run finds it active, because the first one started it."""
    facts = facts_of(VENDOR)
    assert facts.vendor_ollama is not None
    idle = facts.vendor_ollama.model_copy(update={"active": False, "enabled": False})
    before = facts.model_copy(update={"vendor_ollama": idle, "listeners": ()})
    sim.up(wanted(VENDOR, survey(sim, before)), facts.layout)
    again = wanted(VENDOR, survey(sim, facts))
    unit = next(item for item in again.resources if isinstance(item, Unit))
    assert (unit.was_active, unit.was_enabled) == (False, False)
    assert sim.plan(again).work == ()


def test_a_name_of_the_other_runtime_is_refused(sim: SimulatedHost) -> None:
    facts = facts_of(EXAMPLE)
    sim.up(wanted(EXAMPLE, survey(sim, facts)), facts.layout)
    spec = spec_of(Path("ollama", "worked-example"))
    assert spec.ollama is not None
    named = spec.model_copy(update={"ollama": spec.ollama.model_copy(update={"name": "vllm"})})
    with pytest.raises(RefusedError) as refused:
        wanted(Path("ollama", "worked-example"), survey(sim, facts), named)
    assert "--name" in refused.value.remedy


def test_an_image_s_archive_that_is_missing_is_refused(sim: SimulatedHost, tmp_path: Path) -> None:
    spec = spec_of(EXAMPLE)
    assert spec.vllm is not None
    section = spec.vllm.model_copy(update={"image_archive": f"{tmp_path}/missing.tar"})
    with pytest.raises(RefusedError) as refused:
        wanted(EXAMPLE, survey(sim, facts_of(EXAMPLE)), spec.model_copy(update={"vllm": section}))
    assert "missing.tar" in refused.value.what


def test_what_others_made_is_refused_and_not_overwritten(sim: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.planning.deploy.observe", lambda host, resources: host.observed(*resources))
    facts = facts_of(EXAMPLE)
    deployment = wanted(EXAMPLE, survey(sim, facts))
    service = next(item for item in deployment.resources if item.address == deployment.service)
    sim.made(service)
    sim.state[service.address] = sim.state[service.address].model_copy(
        update={"fields": {**service.wanted(), "fingerprint": ""}}
    )
    with pytest.raises(RefusedError) as refused:
        plan(sim, deployment, survey(sim, facts))  # type: ignore[arg-type]
    assert "was not made by deployctl" in refused.value.what
    sim.state.clear()
    made: Any = plan(sim, deployment, survey(sim, facts))  # type: ignore[arg-type]
    assert isinstance(made, Plan)


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"format": "deployctl.manifest/2"}', "[]", "null"])
def test_a_manifest_that_cannot_be_read_is_told_and_hides_no_other(sim: SimulatedHost, text: str) -> None:
    facts = facts_of(EXAMPLE)
    sim.up(wanted(EXAMPLE, survey(sim, facts)), facts.layout)
    good = sim.manifests["vllm"]
    found, problems = read_manifests(facts.model_copy(update={"manifests": (text, good.model_dump_json())}))
    assert found == (good,)
    assert len(problems) == 1
    assert facts.host in problems[0]


def test_the_operator_has_a_name() -> None:
    user, at, machine = operator().partition("@")
    assert (bool(user), at, bool(machine)) == (True, "@", True)

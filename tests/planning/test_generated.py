"""Laws of plans over generated specs: from A to B gives B, from B to B nothing, and the way back gives A again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st

from orchestrator.facts import Layout
from orchestrator.planning.generation import KEEP, Generation
from orchestrator.planning.plan import Plan
from orchestrator.planning.saved import HostPlans, SavedPlan, check_unchanged, saved_plan
from orchestrator.planning.show import details, headline, impact
from orchestrator.resources.files import Directory
from orchestrator.resources.program import Program
from orchestrator.runtimes.deployment import Deployment
from orchestrator.spec import HostEntry
from tests.docs.schemas import closed
from tests.planning.generated import deployments
from tests.planning.simulation import SimulatedHost
from tests.runtimes.golden import deployment_of

LAYOUT = Layout.system()
PLAN = jsonschema.Draft202012Validator(closed("deployctl.plan/1"))
GATEWAY = {
    "account:deployctl-gateway",
    "file:/etc/deployctl/gateway/Caddyfile",
    "unit-file:/etc/systemd/system/deployctl-gateway.service",
    "unit:deployctl-gateway.service",
    next(item.address for item in deployment_of(Path("vllm", "worked-example")).resources if isinstance(item, Program)),
}
"""What all deployments of a host share of it."""
pairs = st.sampled_from(["ollama", "vllm"]).flatmap(lambda runtime: st.tuples(*[deployments(runtime)] * 2))
rows = st.sampled_from(["ollama", "vllm"]).flatmap(
    lambda runtime: st.lists(st.tuples(deployments(runtime), st.booleans()), min_size=2, max_size=8)
)
laws = options(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture
def host(sim: SimulatedHost):
    """Makes a new simulated host for each example."""

    def fresh() -> SimulatedHost:
        sim.__init__()  # type: ignore[misc]  # hypothesis calls many times with one fixture
        return sim

    return fresh


def is_there(host: SimulatedHost, deployment: Deployment) -> bool:
    return all(host.state[item.address].fields == item.wanted() for item in deployment.resources)


def judged(host: SimulatedHost, name: str, healthy: bool) -> None:
    """Remember how the generation did, as `carry_out` does."""
    manifest = host.manifests[name]
    kept = tuple(
        item.model_copy(update={"healthy": healthy}) if item.number == manifest.generation else item
        for item in manifest.kept
    )
    host.manifests[name] = manifest.model_copy(update={"kept": kept})


@laws
@given(pair=pairs)
def test_from_one_to_another_and_back(host, pair: tuple[Deployment, Deployment]) -> None:
    one, other = pair
    machine = host()
    machine.up(one, LAYOUT)
    assert is_there(machine, one) and machine.plan(one).work == ()
    first = Generation(number=1, cause="up", manifest=machine.manifests[one.name])
    machine.up(other, LAYOUT)
    assert is_there(machine, other) and machine.plan(other).work == ()
    assert first.deployment() == one.model_copy(update={"notes": (), "warnings": ()})
    back = machine.plan(first.deployment())
    assert not [change for change in back.work if change.resource.part and change.action == "create"]
    machine.up(first.deployment(), LAYOUT)
    assert is_there(machine, one) and machine.plan(one).work == ()
    machine.down(one.name, LAYOUT, purge=True)
    assert (machine.state, machine.manifests) == ({}, {})


@laws
@given(
    both=st.tuples(deployments("ollama", "worked-example"), deployments("vllm", "worked-example")),
    order=st.permutations([0, 1]),
)
def test_two_share_one_gateway_and_the_last_takes_it_away(
    host, both: tuple[Deployment, Deployment], order: list[int]
) -> None:
    machine = host()
    for deployment in both:
        machine.up(deployment, LAYOUT)
    assert all(is_there(machine, one) and machine.plan(one).work == () for one in both)
    behind = [one for one in both if one.endpoint.gateway is not None]
    common = [{item.address for item in one.resources} & GATEWAY for one in behind]
    assert all(one == GATEWAY for one in common), "each needs all of it"
    first, last = both[order[0]], both[order[1]]
    machine.done.clear()
    machine.down(first.name, LAYOUT, purge=True)
    assert is_there(machine, last) and machine.plan(last).work == ()
    gone = {address for what, address in machine.done if what == "remove"}
    assert bool(GATEWAY & gone) == (behind == [first]), "it goes with the last one behind it"
    machine.down(last.name, LAYOUT, purge=True)
    assert (machine.state, machine.manifests) == ({}, {})


@laws
@given(row=rows)
def test_what_a_kept_generation_needs_is_never_pruned(host, row: list[tuple[Deployment, bool]]) -> None:
    """Whatever is deployed, healthy or not: the parts of the kept ones are there, and of no others."""
    machine, name = host(), row[0][0].name
    past: dict[int, Deployment] = {}
    healthy: list[int] = []
    for deployment, works in row:
        machine.up(deployment, LAYOUT)
        manifest = machine.manifests[name]
        past[manifest.generation] = deployment
        judged(machine, name, works)
        healthy = [n for n in healthy if n != manifest.generation] + ([manifest.generation] if works else [])
        kept = [item.number for item in manifest.kept]
        assert kept[-1] == manifest.generation and len(kept) <= KEEP + 1
        before = [number for number in healthy if number < manifest.generation]
        assert not before or before[-1] in kept, "the target of a rollback is gone"
        parts = {item.address for number in kept for item in past[number].resources if item.part}
        assert {entry.resource.address for entry in manifest.all_entries if entry.resource.part} == parts
        assert parts <= set(machine.state)
        stays = parts | {item.address for item in deployment.resources}
        ways = {entry.resource.address for entry in manifest.retained if isinstance(entry.resource, Directory)}
        assert set(machine.state) == stays | ways
    machine.down(name, LAYOUT, purge=True)
    assert (machine.state, machine.manifests) == ({}, {})


def on_paper(plan: Plan) -> SavedPlan:
    entry = HostEntry(name=plan.host, address="10.0.0.1")
    host = HostPlans(entry=entry, plans=(plan,), impact={plan.deployment.name: impact(plan, {})})
    return saved_plan([host], [], by="ada@desk", scope=None, exit_code=0)


@laws
@given(pair=pairs)
def test_a_plan_on_paper_is_the_same_plan(host, pair: tuple[Deployment, Deployment]) -> None:
    one, other = pair
    machine = host()
    machine.up(one, LAYOUT)
    plan = machine.plan(other)
    document: dict[str, Any] = json.loads(json.dumps(on_paper(plan).document()))
    PLAN.validate(document)
    read = SavedPlan.model_validate(document).hosts[0].plans[0]
    assert read == plan
    check_unchanged(read, machine.plan(read.deployment))
    for change in plan.work:
        assert "\n" not in headline(change) and all("\n" not in line for line in details(change))

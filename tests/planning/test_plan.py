"""Plans: what is compared, in which order it is done, and that it is done once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import DeployError
from orchestrator.planning.plan import Plan, foreign
from orchestrator.resources.base import Observed
from orchestrator.resources.files import Content, Directory, File
from orchestrator.resources.service import Service
from orchestrator.runtimes.deployment import Deployment
from tests.planning.simulation import SimulatedHost
from tests.runtimes.golden import deployable, deployment_of, facts_of, inputs_of, wanted

CASES = deployable()
every = pytest.mark.parametrize("case", CASES, ids=str)
EXAMPLE = Path("vllm", "worked-example")
OLLAMA = Path("ollama", "worked-example")


def named(case: Path, name: str = "same") -> Deployment:
    """A case's deployment, under a name that several may share."""
    return deployment_of(case).model_copy(update={"name": name})


@every
def test_on_an_empty_host_everything_is_made_in_order(sim: SimulatedHost, case: Path) -> None:
    deployment = deployment_of(case)
    plan = sim.plan(deployment)
    assert [change.action for change in plan.changes] == ["create"] * len(deployment.resources)
    assert [change.resource for change in plan.changes] == list(deployment.resources)
    assert not any(entry.existed for entry in plan.entries)


@every
def test_what_was_applied_is_not_applied_again(sim: SimulatedHost, case: Path) -> None:
    deployment, layout = deployment_of(case), facts_of(case).layout
    sim.up(deployment, layout)
    before = sim.manifests[deployment.name]
    sim.done.clear()
    assert sim.up(deployment, layout).work == ()
    assert sim.done == []
    assert sim.manifests[deployment.name] == before  # not even its time


@every
def test_down_takes_everything_away_last_made_first(sim: SimulatedHost, case: Path) -> None:
    deployment, layout = deployment_of(case), facts_of(case).layout
    sim.up(deployment, layout)
    made = [address for _, address in sim.done]
    sim.down(deployment.name, layout, purge=True)
    assert [address for what, address in sim.done if what == "remove"] == made[::-1]
    assert (sim.state, sim.manifests) == ({}, {})


@every
def test_down_keeps_models_and_data_and_up_finds_them(sim: SimulatedHost, case: Path) -> None:
    deployment, layout = deployment_of(case), facts_of(case).layout
    kept = {resource.address for resource in deployment.resources if resource.keep}
    sim.up(deployment, layout)
    told = sim.down(deployment.name, layout)
    assert kept
    assert len(told) == len(kept)
    assert kept <= set(sim.state)
    for address in set(sim.state) - kept:  # the way to what is kept
        assert any(one.partition(":")[2].startswith(f"{address.removeprefix('directory:')}/") for one in kept)
    sim.done.clear()
    sim.up(deployment, layout)
    assert not kept.intersection(address for _, address in sim.done)
    sim.down(deployment.name, layout)
    sim.down(deployment.name, layout, purge=True)
    assert (sim.state, sim.manifests) == ({}, {})


@given(
    st.lists(
        st.sampled_from([case for case in CASES if facts_of(case).layout.scope == "system"]), min_size=1, max_size=5
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_from_any_to_any(sim: SimulatedHost, cases: list[Path]) -> None:
    """One name through any sequence of specs: what is left is the last one's and what kept generations need."""
    sim.__init__()  # type: ignore[misc]  # hypothesis calls many times with one fixture
    for case in cases:
        plan, wanted = sim.plan(named(case)), {item.address for item in deployment_of(case).resources}
        before = sim.manifests.get("same")
        stays = wanted | {entry.resource.address for entry in plan.retained}
        known = [entry.resource for entry in before.all_entries] if before else []
        leaving = [resource for resource in known if resource.address not in stays]
        stops = [item.address for item in reversed(leaving) if isinstance(item, Service | Content)]
        rest = [item.address for item in reversed(leaving) if item.address not in stops]
        order = [change.resource.address for change in plan.changes]
        assert order[: len(stops)] == stops  # services free their ports and names first
        last = order[len(order) - len(rest) :]
        assert set(last) == set(rest)  # models and engines go when what replaces them is there
        sim.up(named(case), facts_of(case).layout)
        assert set(sim.state) == stays
        assert sim.plan(named(case)).work == ()
    sim.down("same", facts_of(cases[-1]).layout, purge=True)
    assert (sim.state, sim.manifests) == ({}, {})


@every
def test_a_run_cut_anywhere_is_finished_by_the_next_or_cleared_by_down(sim: SimulatedHost, case: Path) -> None:
    deployment, layout = deployment_of(case), facts_of(case).layout
    for resource in deployment.resources:
        sim.fail_at = resource.address
        with pytest.raises(DeployError):
            sim.up(deployment, layout)
        assert sim.manifests[deployment.name].status == "applying"
        assert set(sim.state) < {item.address for item in deployment.resources}
    sim.fail_at = None
    sim.up(deployment, layout)
    assert sim.manifests[deployment.name].status == "applied"
    sim.down(deployment.name, layout, purge=True)
    assert sim.state == {}


@every
def test_a_change_of_what_a_service_follows_restarts_it(sim: SimulatedHost, case: Path) -> None:
    deployment, layout = deployment_of(case), facts_of(case).layout
    sim.up(deployment, layout)
    service = next(item for item in deployment.resources if isinstance(item, Service))
    for address in service.follows:
        del sim.state[address]
        assert [change.resource.address for change in sim.plan(deployment).work] == [address, service.address]
        sim.up(deployment, layout)


def test_what_two_deployments_share_stays_for_the_other(sim: SimulatedHost) -> None:
    one, other = deployment_of(EXAMPLE), deployment_of(OLLAMA)
    layout = facts_of(EXAMPLE).layout
    sim.up(one, layout)
    sim.up(other, layout)
    shared = {item.address for item in one.resources} & {item.address for item in other.resources}
    sim.down(one.name, layout, purge=True)
    assert {item.address for item in other.resources} == set(sim.state)
    assert shared
    sim.down(other.name, layout, purge=True)
    assert sim.state == {}


def test_what_was_there_before_is_left_as_it_was(sim: SimulatedHost) -> None:
    deployment, layout = deployment_of(EXAMPLE), facts_of(EXAMPLE).layout
    data = next(item for item in deployment.resources if isinstance(item, Directory))
    sim.made(data)
    sim.up(deployment, layout)
    sim.down(deployment.name, layout, purge=True)
    assert set(sim.state) == {data.address}


def test_what_others_made_is_named(sim: SimulatedHost) -> None:
    deployment = deployment_of(EXAMPLE)
    theirs = next(item for item in deployment.resources if isinstance(item, File))
    sim.state[theirs.address] = Observed(exists=True, fields={**theirs.wanted(), "sha256": "0" * 64})
    assert foreign(sim.plan(deployment)) == (theirs,)


def test_a_plan_survives_json(sim: SimulatedHost) -> None:
    plan = sim.plan(deployment_of(EXAMPLE))
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize("runtime", ["ollama", "vllm"])
def test_a_vendor_s_unit_is_given_back(sim: SimulatedHost, runtime: str) -> None:
    case = Path("ollama", "vendor")
    deployment, layout = deployment_of(case), facts_of(case).layout
    sim.state["unit:ollama.service"] = Observed(exists=True, fields={"active": True, "enabled": True})
    sim.up(deployment, layout)
    if runtime == "vllm":  # beside another deployment, too
        sim.up(deployment_of(EXAMPLE), layout)
    sim.done.clear()
    sim.down("ollama", layout)
    removed = [address for _, address in sim.done]
    unit, drop_in = "unit:ollama.service", "unit-file:/etc/systemd/system/ollama.service.d/deployctl.conf"
    assert removed.index(unit) < removed.index(drop_in)  # the drop-in's removal starts the vendor's unit again


def test_another_port_is_no_other_model(sim: SimulatedHost) -> None:
    inputs = inputs_of(OLLAMA)
    section = inputs.spec.for_runtime("ollama").model_copy(update={"port": 11999})
    moved = wanted(inputs.model_copy(update={"spec": inputs.spec.model_copy(update={"ollama": section})}), "ollama")
    sim.up(deployment_of(OLLAMA), facts_of(OLLAMA).layout)
    assert {change.resource.kind for change in sim.plan(moved).work} == {"unit-file", "unit", "gateway-site"}

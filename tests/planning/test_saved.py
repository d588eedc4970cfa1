"""The reader of saved plans: whatever a file holds, it is a plan that can be shown and done, or a usage error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.planning.plan import make_plan
from orchestrator.planning.saved import HostPlans, check_unchanged, read_plan, saved_plan
from orchestrator.planning.show import details, headline, impact
from orchestrator.resources.base import Observed
from orchestrator.spec import HostEntry
from tests.cli.run import deployctl
from tests.docs.schemas import closed
from tests.runtimes.golden import deployment_of

CASES = (Path("ollama", "vendor"), Path("vllm", "worked-example"))


def document() -> dict[str, Any]:
    """A plan of both runtimes for one host, as it is saved."""
    plans = []
    for case in CASES:
        deployment = deployment_of(case)
        seen = {item.address: Observed(exists=False) for item in deployment.resources}
        plans.append(make_plan("gpu01", deployment, seen, ()))
    entry = HostEntry(name="gpu01", address="10.0.0.11")
    host = HostPlans(entry=entry, plans=tuple(plans), impact={plan.deployment.name: impact(plan, {}) for plan in plans})
    return saved_plan([host], [], by="ada@desk", scope=None, exit_code=0).document()


WHOLE = document()
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
hostile = st.sampled_from(
    ["", "/", "..", "../../etc", "-rf", "a\nb", "\x00", "\ud800", "$(id)", [], {}, None, -1, 1e400]
)
patient = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """The plan with one value of it replaced, left out, or doubled, anywhere."""
    whole = json.loads(json.dumps(WHOLE))
    at: Any = whole
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = draw(st.sampled_from(keys))
        deeper = isinstance(at[key], dict | list) and at[key]
        if not deeper or draw(st.integers(0, 5)) == 0:
            break
        at = at[key]
    how = draw(st.sampled_from(["replace", "remove", "double", "add"]))
    if how == "replace":
        at[key] = draw(hostile | junk)
    elif how == "remove":
        del at[key]
    elif isinstance(at, list):
        at.append(at[key])
    else:
        at[draw(st.text(max_size=8))] = at[key]
    return whole


def carried(path: Path) -> None:
    """Everything that is done with a plan before a host is touched."""
    saved = read_plan(path)
    for host in saved.hosts:
        for plan in host.plans:
            assert plan.service.address == plan.deployment.service
            impact(plan, {})
            for change in plan.changes:
                assert change.resource.probe() is not None
                headline(change)
                details(change)


@patient
@given(content=damaged())
def test_a_damaged_plan_is_a_plan_or_a_usage_error(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "change.json"
    path.write_text(json.dumps(content))
    try:
        carried(path)
    except UsageError as error:
        assert str(path) in error.what and error.remedy


@patient
@given(content=st.binary(max_size=200) | junk.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "change.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is not a saved plan"):
        read_plan(path)


def test_the_whole_plan_is_one(tmp_path: Path) -> None:
    path = tmp_path / "change.json"
    path.write_text(json.dumps(WHOLE))
    carried(path)
    jsonschema.validate(WHOLE, closed("deployctl.plan/1"))
    (host,) = read_plan(path).hosts
    for plan in host.plans:
        check_unchanged(plan, plan)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda plan: plan.update(errors=[{"what": "", "host": "gpu02", "why": "", "remedy": "", "exit_code": 3}]),
            "gpu02",
        ),
        (lambda plan: plan["hosts"].append(plan["hosts"][0]), "twice"),
        (lambda plan: plan["hosts"][0]["plans"][0].update(host="gpu99"), "another host"),
        (lambda plan: plan["hosts"][0]["plans"][0]["deployment"].update(service="unit:none"), "serves"),
        (lambda plan: plan["hosts"][0]["plans"][0]["deployment"].update(name="../../etc"), "small letters"),
    ],
    ids=["a host without a plan", "a host twice", "another host", "nothing serves", "a name that leads elsewhere"],
)
def test_a_plan_that_makes_no_sense_is_refused(tmp_path: Path, change: Any, told: str) -> None:
    path, plan = tmp_path / "change.json", document()
    change(plan)
    path.write_text(json.dumps(plan))
    with pytest.raises(UsageError) as caught:
        read_plan(path)
    assert told in caught.value.why


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": "deployctl.plan/2"}', b"[" * 100_000, b'{"schema": []}'],
    ids=["empty", "half", "a list", "null", "no text", "another version", "deep", "another shape"],
)
def test_the_command_says_what_is_no_plan(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "change.json").write_bytes(content)
    ran = deployctl("apply", "change.json", "--yes", "--json", cwd=tmp_path, guarded=True)
    assert ran.status == 2 and "is not a saved plan" in ran.err and "Traceback" not in ran.err
    jsonschema.validate(ran.document, closed("deployctl.error/1"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    ran = deployctl("apply", "change.json", "--yes", cwd=tmp_path, guarded=True)
    assert ran.status == 2 and "cannot read change.json" in ran.err

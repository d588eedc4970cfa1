"""`up` beyond what a bare command line shows: several deployments on one host, and what is printed to paste."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.execute import Execution, Work
from orchestrator.cli.session import Session
from orchestrator.cli.usage import usage
from orchestrator.health.report import HealthReport
from orchestrator.hosts.secret import Secret
from orchestrator.planning import deploy
from orchestrator.planning.deploy import Survey
from orchestrator.planning.stop import Stop
from tests.planning.simulation import SimulatedHost, sim
from tests.runtimes.golden import deployable, deployment_of, facts_of

__all__ = ["sim"]

BOTH = [Path("ollama", "user-scope"), Path("vllm", "venv-user-scope")]


def test_what_two_deployments_share_is_made_once(sim: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are planned before either is applied; the second must not make the supervisor anew under the first."""
    facts = facts_of(BOTH[0])

    def survey(host: SimulatedHost, scope: str | None) -> Survey:
        return Survey(facts, tuple(host.manifests.values()), ())

    report = HealthReport.model_construct(rungs=(), healthy=True)
    monkeypatch.setattr(deploy, "survey", survey)
    monkeypatch.setattr(deploy, "observe", lambda host, resources: host.observed(*resources))
    monkeypatch.setattr("orchestrator.health.ladder.check", lambda *_, **__: report)
    monkeypatch.setattr("orchestrator.planning.carry_out.read_back", lambda *_: None)
    plans = [sim.plan(deployment_of(case)) for case in BOTH]
    shared = {item.address for item in deployment_of(BOTH[0]).resources}
    shared &= {item.address for item in deployment_of(BOTH[1]).resources}
    assert any("venv:" in address for address in shared)
    work = Work(sim, survey(sim, None), plans)  # type: ignore[arg-type]
    Execution(Session({}), "deployctl up", "deployctl.up/1")._carry_out(work, Stop())
    made = [address for what, address in sim.done if what == "make"]
    assert len(made) == len(set(made))
    assert set(sim.manifests) == {"ollama", "vllm"}


@pytest.mark.parametrize("case", deployable(), ids=str)
def test_the_curl_line_can_be_pasted_whatever_the_names(sim: SimulatedHost, case: Path) -> None:
    deployment = deployment_of(case)
    text = "\n".join(usage(sim.plan(deployment), " --user", None))
    line = text[text.index("  curl ") : text.index("\n  next")].replace("\\\n", "")
    words: list[Any] = shlex.split(line)
    assert words[0] == "curl"
    assert words[1].endswith("/v1/chat/completions")
    assert json.loads(words[words.index("-d") + 1])["model"] == deployment.endpoint.model
    endpoint = deployment.endpoint
    asked = [word for word in words if word.startswith("Authorization: Bearer $(")]
    assert len(asked) == (endpoint.gateway is not None or endpoint.key_file is not None)
    if endpoint.gateway is not None:
        assert asked == [f"Authorization: Bearer $(deployctl keys show {deployment.name} --host sim --user)"]
    assert ("--cacert" in words) == (endpoint.gateway is not None and endpoint.gateway.tls == "internal")


def test_a_key_that_was_just_made_is_shown_once_and_how_to_see_it_again(sim: SimulatedHost) -> None:
    plan = sim.plan(deployment_of(BOTH[0]))
    lines = usage(plan, " --user", Secret("sk-deployctl-canary"))
    (shown,) = [line for line in lines if "sk-deployctl-canary" in line]
    assert "deployctl keys show ollama --host sim --user" in shown
    assert "sk-deployctl-" not in "\n".join(usage(plan, " --user", None))

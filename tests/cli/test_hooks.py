"""The user's own commands around a run: what they see, what they never see, and what becomes of a no."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cli import hooks
from orchestrator.cli.hooks import OnDone
from orchestrator.cli.session import Session
from orchestrator.errors import ExitStatus, RefusedError, UnhealthyError
from orchestrator.planning.apply import Step
from orchestrator.spec.hooks import HooksSpec

CANARY = "canary-0123456789"
SECRETS = ("HF_TOKEN", "DEPLOYCTL_SUDO_PASSWORD", "MY_HUB_TOKEN")


@pytest.fixture
def session() -> Session:
    return Session({"json_mode": True})


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `DUMP` writes the environment that a hook sees; the secrets are set around it."""
    for name in SECRETS:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


DUMP = "tr '\\0' '\\n' </proc/self/environ >>\"$SEEN\"; echo said $DEPLOYCTL_HOOK"


def work(*, before: tuple[str, ...] = (), after: tuple[str, ...] = (), name: str = "vllm", changes: int = 1) -> Any:
    endpoint = SimpleNamespace(model="m'; touch evil #", url="http://127.0.0.1:5000/v1", exposed=False)
    deployment = SimpleNamespace(name=name, runtime="vllm", endpoint=endpoint)
    plan = SimpleNamespace(host="gpu01", deployment=deployment, work=(object(),) * changes, generation=3)
    gpus = (SimpleNamespace(index=0, name="NVIDIA RTX 4090", memory_total_mib=24564),)
    facts = SimpleNamespace(os="Debian 12", arch="amd64", gpus=gpus)
    return SimpleNamespace(
        host=SimpleNamespace(name="gpu01"),
        seen=SimpleNamespace(facts=facts),
        plans=[plan],
        hooks=HooksSpec(before=before, after=after),
        secrets=("MY_HUB_TOKEN",),
    )


def test_a_hook_sees_facts_and_no_secrets(session: Session, seen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hooks.before(session, [work(before=(DUMP,))], "deployctl up vllm")
    text = seen.read_text()
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert {name: facts[f"DEPLOYCTL_{name}"] for name in ("HOOK", "HOST", "NAME", "GENERATION", "CHANGES")} == {
        "HOOK": "before",
        "HOST": "gpu01",
        "NAME": "vllm",
        "GENERATION": "3",
        "CHANGES": "1",
    }
    assert facts["DEPLOYCTL_GPUS"] == "0 NVIDIA RTX 4090 24564" and facts["DEPLOYCTL_MODEL"] == "m'; touch evil #"
    assert CANARY not in text and not set(SECRETS) & set(facts)
    out, err = capfd.readouterr()
    assert out == "" and "[hook] said before" in err, "stdout is the document's"


def test_a_no_stops_before_anything_and_says_why(session: Session, tmp_path: Path) -> None:
    commands = ("true", "echo the window is closed; exit 3", f"touch {tmp_path}/late")
    with pytest.raises(RefusedError, match="says no to vllm: nothing was changed") as error:
        hooks.before(session, [work(before=commands)], "deployctl up vllm")
    assert "the window is closed" in error.value.why and "hooks.before" in error.value.remedy
    assert error.value.status is ExitStatus.REFUSED and not (tmp_path / "late").exists()


def test_what_changes_nothing_runs_no_hook(session: Session) -> None:
    hooks.before(session, [work(before=("exit 1",), changes=0)], "deployctl up vllm")


@pytest.mark.parametrize(("healthy", "result"), [(True, "healthy"), (False, "unhealthy"), (None, "failed")])
def test_afterwards_a_hook_is_told_how_it_ended(
    session: Session, seen: Path, healthy: bool | None, result: str, capfd: pytest.CaptureFixture[str]
) -> None:
    job = work(after=(DUMP, "exit 9"))
    report = SimpleNamespace(healthy=healthy)
    outcome = SimpleNamespace(plan=job.plans[0], report=report, steps=(Step("container", 1.6), Step("x", 2)))
    hooks.after(session, [job], [] if healthy is None else [outcome], "deployctl up vllm")
    text = seen.read_text()
    assert f"DEPLOYCTL_RESULT={result}" in text and f"DEPLOYCTL_SECONDS={0 if healthy is None else 4}" in text
    assert "warning: the hook 'exit 9' exited with 9" in capfd.readouterr().err


def test_on_done_runs_however_it_ends(session: Session, seen: Path) -> None:
    with OnDone(session, DUMP, "deployctl up") as done:
        done.secrets, done.status = ("MY_HUB_TOKEN",), ExitStatus.DONE
    for error in (UnhealthyError("it does not generate"), KeyboardInterrupt()):
        with pytest.raises(type(error)), OnDone(session, DUMP, "deployctl up") as done:
            done.secrets = ("MY_HUB_TOKEN",)
            raise error
    lines = seen.read_text().splitlines()
    assert [line.partition("=")[2] for line in lines if line.startswith("DEPLOYCTL_EXIT_CODE=")] == ["0", "5", "130"]
    assert "DEPLOYCTL_ERROR=it does not generate" in lines and CANARY not in seen.read_text()


def test_without_a_command_nothing_runs(session: Session) -> None:
    with OnDone(session, None, "deployctl up") as done:
        done.status = ExitStatus.DONE
    assert done.status is ExitStatus.DONE

"""See it before it happens, and then exactly that: plans on a real machine, shown, saved, applied and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.docs.schemas import closed
from tests.doubles.gguf import write_gguf
from tests.hosts.recovery.desk import BOOKS, HOST, UNIT, Desk, changes
from tests.lab import snapshot as snapshots

pytestmark = pytest.mark.hosts
UNIT_FILE = f"/etc/systemd/system/{UNIT}"


@pytest.fixture(scope="module", autouse=True)
def applied(desk: Desk):
    """What all plans of this module start from."""
    yield desk.up("--num-parallel", "2").ended(0)


def saved(desk: Desk, path: Path, *words: str | Path) -> Path:
    desk.plan("--out", path, *words).ended(0)
    return path


def apply(desk: Desk, path: Path, *words: str):
    return desk.deployctl("apply", path, "--yes", "--json", *words)


def remembered(desk: Desk) -> str:
    """The manifest's bytes and time, and how many generations are kept."""
    return desk.machine.exec(f"stat -c '%i %Y %Z' {BOOKS}/manifest.json; sha256sum {BOOKS}/manifest.json; ls {BOOKS}/*")


def test_the_same_again_is_an_empty_plan_and_an_identical_host(desk: Desk) -> None:
    before, books, invocation = desk.look(), remembered(desk), desk.invocation()
    run = desk.up("--num-parallel", "2").ended(0)
    assert changes(run) == []
    text = desk.plan("--num-parallel", "2", "--exit-code").ended(0).stdout
    assert "no changes" in text and "impact: no change" in text
    assert (desk.changed(before), remembered(desk), desk.invocation()) == ([], books, invocation)


def test_a_plan_shows_values_diffs_and_impact_and_changes_nothing(desk: Desk) -> None:
    before = desk.look()
    text = desk.plan("--num-parallel", "5", "--set", "system=Be brief.", "--exit-code").ended(7).stdout
    lines = [line.strip() for line in text.splitlines()]
    assert f"~ systemd unit file {UNIT_FILE}" in lines
    assert '-Environment="OLLAMA_NUM_PARALLEL=2"' in lines and '+Environment="OLLAMA_NUM_PARALLEL=5"' in lines
    assert any(line.startswith("+SYSTEM") and "Be brief." in line for line in lines)
    assert any(line.startswith("~ Ollama model tiny") and line.endswith("(modelfile)") for line in lines)
    assert any(line.startswith("modelfile: ") and " → " in line for line in lines)
    assert "impact: restarts Ollama: requests in flight are cut, and the next one loads the model" in lines
    assert desk.changed(before) == []


def test_a_setting_of_the_engine_restarts_it_and_leaves_the_model(desk: Desk) -> None:
    invocation = desk.invocation()
    plan = desk.plan("--num-parallel", "3", "--json").ended(0).json()
    assert [change["resource"]["kind"] for change in planned(plan)] == ["unit-file", "unit"]
    run = desk.up("--num-parallel", "3").ended(0)
    assert changes(run) == [("update", "unit-file"), ("update", "unit")]
    assert desk.invocation() != invocation and desk.answers()


def test_a_setting_of_the_model_makes_it_anew_and_restarts_nothing(desk: Desk) -> None:
    invocation, words = desk.invocation(), ("--num-parallel", "3", "--set", "system=Be terse.")
    plan = desk.plan(*words, "--json").ended(0).json()
    assert plan["hosts"][0]["impact"] == {"ollama": "no restart; the model is made anew, and the next request loads it"}
    assert changes(desk.up(*words).ended(0)) == [("update", "file"), ("update", "ollama-model")]
    assert desk.invocation() == invocation and desk.shown("system").strip() == "Be terse."
    desk.up("--num-parallel", "2").ended(0)


def planned(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The changes of a plan document that change something."""
    plans = [plan for host in document["hosts"] for plan in host["plans"]]
    return [change for plan in plans for change in plan["changes"] if change["action"] != "none"]


def test_the_document_is_complete_and_of_its_published_shape(desk: Desk) -> None:
    document = desk.plan("--num-parallel", "4", "--exit-code", "--json").ended(7).json()
    jsonschema.validate(document, closed("deployctl.plan/1"))
    assert (document["exit_code"], document["errors"]) == (7, [])
    (host,) = document["hosts"]
    (plan,) = host["plans"]
    assert [change["resource"] for change in plan["changes"]] == plan["deployment"]["resources"]
    file = next(change for change in planned(document) if change["resource"]["kind"] == "unit-file")
    assert "NUM_PARALLEL=2" in file["observed"]["fields"]["content"] and "NUM_PARALLEL=4" in file["resource"]["content"]
    assert plan["generation"] == desk.manifest()["generation"] + 1


def test_a_host_without_a_plan_makes_no_plan_to_save(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "change.json"
    run = desk.plan("--host", "root@127.0.0.1:1", "--num-parallel", "4", "--out", path, "--json").ended(3)
    document = run.json()
    jsonschema.validate(document, closed("deployctl.plan/1"))
    assert [error["host"] for error in document["errors"]] == ["root@127.0.0.1:1"]
    assert not path.exists() and "nothing is saved" in run.stderr
    path.write_text(run.stdout)
    assert "not whole" in apply(desk, path).ended(2).stderr


def test_a_saved_plan_does_exactly_what_it_said(desk: Desk, tmp_path: Path) -> None:
    path = saved(desk, tmp_path / "change.json", "--num-parallel", "4")
    said = [(change["action"], change["resource"]["kind"]) for change in planned(json.loads(path.read_text()))]
    run = apply(desk, path).ended(0)
    jsonschema.validate(run.json(), closed("deployctl.apply/1"))
    assert changes(run) == said == [("update", "unit-file"), ("update", "unit")]
    assert "OLLAMA_NUM_PARALLEL=4" in desk.machine.exec(f"cat {UNIT_FILE}") and desk.answers()
    assert desk.history()[-1]["cause"] == "deployctl apply change.json"
    again = apply(desk, path).ended(4)  # it has been done: the host is no longer as it was then
    assert UNIT in again.json()["errors"][0]["why"]
    desk.up("--num-parallel", "2").ended(0)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (f"sed -i s/NUM_PARALLEL=2/NUM_PARALLEL=9/ {UNIT_FILE}", f"unit file {UNIT_FILE}: changed on the host since"),
        (f"systemctl stop {UNIT}", f"systemd unit {UNIT}: changed on the host since (active"),
        ("rm /etc/deployctl/ollama/Modelfile", "Modelfile: planned to none, now it would be create"),
        ("chmod 600 /etc/deployctl/ollama/Modelfile", "Modelfile: planned to none, now it would be update"),
    ],
    ids=["an edited file", "a stopped unit", "a file gone", "a file's mode"],
)
def test_a_saved_plan_is_refused_after_a_change_by_hand(desk: Desk, tmp_path: Path, command: str, named: str) -> None:
    path = saved(desk, tmp_path / "change.json", "--num-parallel", "4")
    desk.machine.exec(command)
    before = desk.look()
    (error,) = apply(desk, path).ended(4).json()["errors"]
    assert named in error["why"] and "ollama is no longer as the plan was made for" in error["what"]
    assert desk.changed(before) == []
    desk.up("--num-parallel", "2").ended(0)


def test_a_saved_plan_is_refused_after_another_run(desk: Desk, tmp_path: Path) -> None:
    path = saved(desk, tmp_path / "change.json", "--num-parallel", "4")
    desk.up("--num-parallel", "6").ended(0)
    (error,) = apply(desk, path).ended(4).json()["errors"]
    assert UNIT_FILE in error["why"]
    desk.up("--num-parallel", "2").ended(0)


@pytest.mark.parametrize("kind", ["model", "archive"])
def test_a_saved_plan_is_refused_when_what_it_sends_has_changed(desk: Desk, tmp_path: Path, kind: str) -> None:
    """Even when it is as large as before."""
    archive, model = tmp_path / "ollama.tgz", tmp_path / "mine-Q4_K_M.gguf"
    shutil.copy(desk.archive("0.34.0"), archive)
    write_gguf(model, seed=7)
    path = tmp_path / "change.json"
    words = ["ollama", "--host", HOST, "--archive", archive, "--engine-version", "0.34.0", "--model", model]
    desk.deployctl("plan", *words, "--out", path).ended(0)
    sent = {"model": model, "archive": archive}[kind]
    content = bytearray(sent.read_bytes())
    content[-40] ^= 1
    sent.write_bytes(content)
    before = desk.look()
    (error,) = apply(desk, path).ended(4).json()["errors"]
    assert f"{sent} on this machine is not the file that was planned with" in error["why"]
    sent.unlink()
    assert str(sent) in apply(desk, path).ended(4).json()["errors"][0]["why"]
    assert desk.changed(before) == []


def test_a_plan_for_somebody_else_s_host_is_never_carried_out_on_this_one(desk: Desk, tmp_path: Path) -> None:
    path = saved(desk, tmp_path / "change.json", "--num-parallel", "4")
    document = json.loads(path.read_text())
    document["hosts"][0]["plans"][0]["host"] = "gpu99"
    path.write_text(json.dumps(document))
    assert "another host" in apply(desk, path).ended(2).stderr


def test_nothing_is_left_of_all_this(desk: Desk) -> None:
    desk.down("--purge")
    assert snapshots.diff(desk.before, desk.look()) == []

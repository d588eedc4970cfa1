"""Undo it after: generations that are kept, the way back to them, and the way back that is taken by itself."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from tests.docs.schemas import closed
from tests.hosts.recovery.desk import BROKEN, HOST, STATE, Desk, changes
from tests.hosts.recovery.rig import Rig

pytestmark = pytest.mark.hosts
RELEASES = "/opt/deployctl/ollama"


@pytest.fixture(scope="module", autouse=True)
def first(desk: Desk):
    yield desk.up("--num-parallel", "2", "--set", "system=One.").ended(0)


def numbers(desk: Desk) -> list[tuple[int, bool | None]]:
    return [(item["generation"], item["healthy"]) for item in desk.history()]


def current(desk: Desk) -> int:
    (found,) = [item["generation"] for item in desk.history() if item["current"]]
    return int(found)


def parallel(desk: Desk) -> str:
    text = desk.machine.exec("systemctl show -p Environment deployctl-ollama.service")
    return text.partition("OLLAMA_NUM_PARALLEL=")[2].split()[0]


def test_there_is_nothing_to_return_to_at_first(desk: Desk) -> None:
    (error,) = desk.rollback().ended(4).json()["errors"]
    assert "no earlier healthy generation" in error["what"] and "history" in error["remedy"]


def test_the_last_healthy_generation_comes_back_as_a_new_one(desk: Desk) -> None:
    before = desk.look()
    desk.up("--num-parallel", "3", "--set", "system=Two.").ended(0)
    run = desk.rollback().ended(0)
    jsonschema.validate(run.json(), closed("deployctl.rollback/1"))
    assert changes(run) == [("update", "unit-file"), ("update", "unit"), ("update", "file"), ("update", "ollama-model")]
    assert (parallel(desk), desk.shown("system").strip(), desk.answers()) == ("2", "One.", True)
    assert [line for line in desk.changed(before) if not line.split()[1].startswith(f"{STATE}/")] == []
    assert numbers(desk) == [(1, True), (2, True), (3, True)] and current(desk) == 3
    causes = [item["cause"] for item in desk.history()]
    assert causes == ["deployctl up ollama", "deployctl up ollama", "deployctl rollback ollama"]


def test_to_a_generation_of_choice_and_twice_changes_nothing(desk: Desk) -> None:
    desk.rollback("--to", "2").ended(0)
    assert (parallel(desk), desk.shown("system").strip()) == ("3", "Two.")
    invocation = desk.invocation()
    assert changes(desk.rollback("--to", "2").ended(0)) == []
    assert desk.invocation() == invocation


def test_a_generation_that_is_not_kept_is_named_with_those_that_are(desk: Desk) -> None:
    before = desk.look()
    (error,) = desk.rollback("--to", "99").ended(4).json()["errors"]
    assert "generation 99 of ollama is not kept" in error["what"] and "kept: " in error["why"]
    assert desk.changed(before) == []


def test_history_for_people(desk: Desk) -> None:
    lines = desk.deployctl("history", "ollama", "--host", HOST).ended(0).stdout.splitlines()
    assert [line for line in lines if "*" in line] == [lines[-1]]
    assert "healthy" in lines[-1] and "rollback ollama --to 2" in lines[-1]
    (error,) = desk.deployctl("history", "nothing", "--host", HOST, "--json").ended(4).json()["errors"]
    assert "is not deployed" in error["what"]


def test_another_engine_and_another_model_come_back_without_being_sent_again(desk: Desk, tmp_path: Path) -> None:
    desk.up("--num-parallel", "2").ended(0)
    before = current(desk)
    desk.up("--num-parallel", "2", version="0.34.0", model=2).ended(0)
    archive, model = desk.archive(), desk.model()
    for path in (archive, model):
        path.rename(tmp_path / path.name)  # what is on the host is all that it takes
    try:
        run = desk.rollback("--to", str(before)).ended(0)
    finally:
        for path in (archive, model):
            (tmp_path / path.name).rename(path)
    assert not {"release", "model-files"} & {kind for action, kind in changes(run) if action != "none"}
    assert "0.33.0" in desk.version() and desk.answers()


@pytest.mark.parametrize("part", ["release", "model"])
def test_a_part_that_is_gone_is_named_and_nothing_is_changed(desk: Desk, part: str) -> None:
    desk.up(version="0.34.0", model=2).ended(0)
    target = current(desk)
    desk.up().ended(0)
    name = {"release": f"{RELEASES}/0.34.0", "model": f"{STATE}/models/local/*/{desk.model(2).name}"}[part]
    desk.machine.exec(f"rm -r {name}")
    before = desk.look()
    (error,) = desk.rollback("--to", str(target)).ended(4).json()["errors"]
    assert f"generation {target} of ollama cannot be returned to" in error["what"]
    assert (f"{RELEASES}/0.34.0 is gone" if part == "release" else f"{desk.model(2).name} is gone") in error["why"]
    assert desk.changed(before) == [] and desk.answers()


def test_an_engine_that_dies_at_its_start_is_returned_from_by_itself(desk: Desk) -> None:
    desk.up("--num-parallel", "2").ended(0)
    healthy = current(desk)
    run = desk.up("--num-parallel", "7", "--set", BROKEN).ended(5)
    jsonschema.validate(run.json(), closed("deployctl.up/1"))
    (deployment,) = run.json()["deployments"]
    assert deployment["health"]["healthy"] is False and deployment["returned"]["health"]["healthy"] is True
    assert f"returning to generation {healthy}" in run.stderr
    assert desk.answers() and parallel(desk) == "2"
    failed = next(item for item in desk.history() if item["healthy"] is False)
    assert "could not convert" in failed["evidence"] and failed["cause"] == "deployctl up ollama"
    assert (desk.status()["state"], desk.status()["drift"]) == ("serving", [])
    (last,) = desk.machine.exec(f"tail -n 1 {STATE}/audit.jsonl").splitlines()
    assert "unhealthy; returned, as generation" in last


def test_no_rollback_stays_with_what_fails(desk: Desk) -> None:
    run = desk.up("--num-parallel", "7", "--set", BROKEN, "--no-rollback").ended(5)
    assert run.json()["deployments"][0]["returned"] is None and parallel(desk) == "7"
    assert desk.status()["state"] in ("failed", "stopped", "starting")
    desk.rollback().ended(0)
    assert desk.answers() and parallel(desk) == "2"


def test_what_no_kept_generation_needs_is_pruned_and_what_one_needs_is_not(desk: Desk) -> None:
    versions = ["0.33.1", "0.33.2", "0.33.3", "0.33.4", "0.33.5"]
    for number, version in enumerate(versions, start=3):
        desk.up(version=version, model=number).ended(0)
    kept = [item["generation"] for item in desk.history()]
    assert len(kept) == 3
    assert sorted(desk.machine.exec(f"ls {RELEASES}").split()) == versions[-3:]
    models = desk.machine.exec(f"find {STATE}/models -name '*.gguf' -printf '%f\n'").split()
    assert sorted(models) == [desk.model(number).name for number in (5, 6, 7)]
    for target in kept[:-1]:
        desk.rollback("--to", str(target)).ended(0)


def test_the_last_healthy_one_outlives_any_number_of_failures(desk: Desk) -> None:
    desk.up(version="0.33.1", model=3).ended(0)
    healthy = current(desk)
    for number, version in enumerate(["0.34.1", "0.34.2", "0.34.3", "0.34.4"], start=4):
        desk.up("--set", BROKEN, "--no-rollback", "--start-timeout", "1", version=version, model=number).ended(5)
    kept = dict(numbers(desk))
    assert kept[healthy] is True and len(kept) == 4
    assert "0.33.1" in desk.machine.exec(f"ls {RELEASES}").split()
    desk.rollback().ended(0)
    assert "0.33.1" in desk.version() and desk.answers()


def test_what_the_other_verbs_print_is_of_its_published_shape(desk: Desk) -> None:
    for verb in ("history", "logs"):
        document = desk.deployctl(verb, "ollama", "--host", HOST, "--json").ended(0).json()
        jsonschema.validate(document, closed(f"deployctl.{verb}/1"))
    document = desk.deployctl("hosts", "list", "--json").ended(0).json()
    jsonschema.validate(document, closed("deployctl.hosts/1"))
    jsonschema.validate(desk.down("ollama", "--json").json(), closed("deployctl.down/1"))


def test_down_ends_the_history_and_keeps_models(desk: Desk) -> None:
    desk.up().ended(0)
    last = current(desk)
    desk.down("ollama")
    changed = desk.changed()
    keys = ["/etc/deployctl", "/etc/deployctl/gateway", "/etc/deployctl/gateway/keys"]
    elsewhere = [line.removeprefix("added ").partition(":")[0] for line in changed if f"added {STATE}" not in line]
    assert elsewhere == [*keys, f"{keys[-1]}/ollama.caddy"], changed
    assert not [line for line in changed if "/generations" in line or "journal" in line], changed
    assert "ollama is down, its models are kept" in desk.remarks()
    for verb in ("history", "rollback"):
        (error,) = desk.deployctl(verb, "ollama", "--host", HOST, "--json").ended(4).json()["errors"]
        assert "is not deployed" in error["what"] and "its models are kept" in error["why"]
    desk.up().ended(0)
    assert numbers(desk) == [(last + 1, True)]
    desk.down("--purge")
    assert desk.changed() == []


def test_purge_at_once_removes_what_is_retained(desk: Desk) -> None:
    desk.up(version="0.34.0", model=2).ended(0)
    desk.up().ended(0)
    desk.down("--purge")
    assert desk.changed() == []


def test_vllm_that_dies_at_its_start_is_returned_from_by_itself(rig: Rig) -> None:
    """In a container: the failed one's log is the evidence, and the image is not sent again."""
    rig.down()
    rig.up("vllm").ended(0)
    run = rig.up("vllm", "--set", "vllm.env.FAKE_VLLM_DIES=the test says so").ended(5)
    (deployment,) = run.json()["deployments"]
    assert "the test says so" in deployment["health"]["log"]
    assert deployment["returned"]["health"]["healthy"] is True and rig.chat("vllm")
    rig.down()

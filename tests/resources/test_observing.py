"""Observation: many probes in one script, and what each kind makes of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Result
from orchestrator.hosts.local import LocalHost
from orchestrator.resources.base import Observed, Resource
from orchestrator.resources.container import Container
from orchestrator.resources.files import Directory, File
from orchestrator.resources.image import Image, follow_pull
from orchestrator.resources.observe import fields, observe
from orchestrator.resources.process import Process
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.unit import Unit
from tests.resources.conftest import Bench
from tests.runtimes.golden import deployable, deployment_of

RECORDED = Path(__file__).parent / "recorded"
KINDS: dict[str, Resource] = {
    resource.kind: resource for case in deployable() for resource in deployment_of(case).resources
}
"""One resource of each kind, from the golden cases."""


def test_the_cases_hold_every_kind() -> None:
    assert set(KINDS) == {kind.model_fields["kind"].default for kind in get_args(get_args(AnyResource)[0])}


class Counting(LocalHost):
    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []

    def run(self, script: str, **options: Any) -> Result:
        self.scripts.append(script)
        return super().run(script, **options)


def test_everything_is_observed_in_one_round_trip(me: dict[str, str], tmp_path: Path) -> None:
    host = Counting()
    files = [File(path=f"{tmp_path}/{number}", content=f"{number}\n@@\n\n", **me) for number in range(40)]
    for file in files[::2]:
        Path(file.path).write_text(file.content)
        Path(file.path).chmod(0o644)
    seen = observe(host, [Directory(path=str(tmp_path), **me), *files])
    host.close()
    assert len(host.scripts) == 1
    assert [seen[file.address].exists for file in files] == [True, False] * 20
    assert [file.compare(seen[file.address]) for file in files[::2]] == [()] * 20


def test_nothing_to_observe_asks_nothing() -> None:
    host = Counting()
    assert observe(host, []) == {}
    assert host.scripts == []


def test_every_kind_can_be_observed_on_any_machine(bench: Bench) -> None:
    """Without Docker, systemd, supervisor or the account: not there, or as far as it can be seen; never a failure."""
    seen = observe(bench.host, list(KINDS.values()))
    assert set(seen) == {resource.address for resource in KINDS.values()}
    for resource in KINDS.values():
        assert seen[resource.address].exists or resource.compare(seen[resource.address]) or not resource.wanted()


def test_a_probe_that_breaks_off_leaves_the_others_whole(bench: Bench, me: dict[str, str], tmp_path: Path) -> None:
    class Exiting(File):
        def probe(self) -> str:
            return "field type file; exit 3"

    broken, whole = Exiting(path="/x", content="", **me), Directory(path=str(tmp_path), **me)
    tmp_path.chmod(0o755)
    seen = observe(bench.host, [broken, whole])
    assert seen[broken.address].fields == {"type": "file"}
    assert whole.compare(seen[whole.address]) == ()


@pytest.mark.parametrize("result", [Result(0, ""), Result(-1, "type\tdirectory\n"), Result(124, "", "Terminated")])
def test_an_answer_that_is_cut_is_no_observation(me: dict[str, str], result: Result) -> None:
    class Cut(LocalHost):
        def run(self, script: str, **_: Any) -> Result:
            return result

    with pytest.raises(DeployError):
        observe(Cut(), [Directory(path="/srv", **me)])


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"container"}))
@given(output=st.text())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_output_of_a_probe_is_a_traceback(kind: str, output: str) -> None:
    resource = KINDS[kind]
    if kind in ("file", "unit-file") and "content\t" in output:
        return
    resource.compare(resource.parse(output))


def test_the_first_of_a_field_wins() -> None:
    assert fields("a\t1\nnoise\na\t2\nb\tx\ty\n") == {"a": "1", "b": "x\ty"}


# Services


def recorded() -> tuple[Container, list[dict[str, Any]]]:
    document = json.loads((RECORDED / "container-docker-20.10.json").read_text("utf-8"))
    return Container.model_validate(document["resource"]), document["inspect"]


def test_a_container_is_as_wanted_right_after_it_was_made() -> None:
    """Recorded from a real Engine, by ``docker container inspect`` of what ``apply`` had made."""
    container, inspect = recorded()
    assert container.compare(container.parse(json.dumps(inspect))) == ()


def _stop(found: dict[str, Any]) -> None:
    found["State"]["Status"] = "exited"


def _restarting(found: dict[str, Any]) -> None:
    found["State"]["Status"] = "restarting"


def _unlabelled(found: dict[str, Any]) -> None:
    found["Config"]["Labels"] = None


def _no_environment(found: dict[str, Any]) -> None:
    found["Config"]["Env"] = None


def _open(found: dict[str, Any]) -> None:
    found["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostIp"] = ""


def _writable(found: dict[str, Any]) -> None:
    for mount in found["HostConfig"]["Mounts"]:
        mount.pop("ReadOnly", None)


def _other_words(found: dict[str, Any]) -> None:
    found["Config"]["Cmd"] = None


def _host(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Made anew by hand, with other settings of Docker's for what holds it."""
    return lambda found: found["HostConfig"].update(changes)


def _as_root(found: dict[str, Any]) -> None:
    found["Config"]["User"] = ""


DRIFT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "stopped": (_stop, "running"),
    "restarting": (_restarting, "running"),
    "made by hand": (_unlabelled, "fingerprint"),
    "without its environment": (_no_environment, "environment"),
    "open to all": (_open, "ports"),
    "with writable mounts": (_writable, "mounts"),
    "with other arguments": (_other_words, "command"),
    "as root": (_as_root, "user"),
    "with the groups of others": (_host(GroupAdd=["44", "998"]), "groups"),
    "privileged": (_host(Privileged=True), "privileges"),
    "with a capability more": (_host(CapAdd=["SYS_ADMIN"]), "privileges"),
    "with a device": (_host(Devices=[{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda"}]), "privileges"),
    "in the host's network": (_host(NetworkMode="host"), "privileges"),
    "among the host's processes": (_host(PidMode="host"), "privileges"),
    "in the host's shared memory": (_host(IpcMode="host"), "privileges"),
    "with all of Docker's capabilities": (_host(CapDrop=None), "dropped capabilities"),
    "without its security options": (_host(SecurityOpt=None), "security options"),
    "with a root that can be written": (_host(ReadonlyRootfs=False), "read-only root"),
    "without its temporary folder": (_host(Tmpfs=None), "tmpfs"),
    "with any number of processes": (_host(PidsLimit=None), "pids limit"),
}


@pytest.mark.parametrize(("drift", "field"), DRIFT.values(), ids=DRIFT.keys())
def test_a_container_that_is_not_as_made_is_noticed(drift: Callable[[dict[str, Any]], None], field: str) -> None:
    container, inspect = recorded()
    drift(inspect[0])
    assert [item.field for item in container.compare(container.parse(json.dumps(inspect)))] == [field]


def test_environment_of_the_image_and_its_values_are_not_looked_at() -> None:
    container, inspect = recorded()
    inspect[0]["Config"]["Env"] = ["PATH=/bin", "SECRET=canary", "HF_HUB_OFFLINE=0", "HOME=/other"]
    seen = container.parse(json.dumps(inspect))
    assert container.compare(seen) == ()
    assert "canary" not in seen.model_dump_json()


@pytest.mark.parametrize("output", ["", "[]", "[]\n", "Error: No such container", "{"])
def test_no_container_is_none(output: str) -> None:
    container, _ = recorded()
    assert container.parse(output) == Observed(exists=False)


def unit() -> Unit:
    return Unit(name="deployctl-vllm.service", mark="/var/lib/deployctl/deployments/vllm/started", fingerprint="abc")


SHOWN = "LoadState\tloaded\nActiveState\t{active}\nUnitFileState\t{enabled}\nNRestarts\t0\nfingerprint\t{mark}\n"


@pytest.mark.parametrize(
    ("active", "enabled", "mark", "differing"),
    [
        ("active", "enabled", "abc", []),
        ("activating", "enabled", "abc", ["active"]),
        ("failed", "enabled", "abc", ["active"]),
        ("active", "disabled", "abc", ["enabled"]),
        ("active", "masked", "abc", ["enabled"]),
        ("active", "enabled", "", ["fingerprint"]),
        ("active", "enabled", "other", ["fingerprint"]),
    ],
)
def test_units(active: str, enabled: str, mark: str, differing: list[str]) -> None:
    seen = unit().parse(SHOWN.format(active=active, enabled=enabled, mark=mark))
    assert [item.field for item in unit().compare(seen)] == differing


def test_a_unit_that_systemd_does_not_know() -> None:
    output = "LoadState\tnot-found\nActiveState\tinactive\nUnitFileState\t\nfingerprint\tabc\n"
    assert not unit().parse(output).exists


@pytest.mark.parametrize(
    ("status", "running"),
    [
        ("vllm                             RUNNING   pid 4711, uptime 0:00:09", True),
        ("vllm                             STARTING  ", True),
        ("vllm                             BACKOFF   Exited too quickly (process log may have details)", False),
        ("vllm                             FATAL     Exited too quickly", False),
        ("vllm                             STOPPED   Not started", False),
        ("vllm: ERROR (no such process)", False),
        ("unix:///x/supervisor.sock no such file", False),
        ("", False),
    ],
)
def test_supervised_programs(status: str, running: bool) -> None:
    resources = deployment_of(Path("vllm", "venv-user-scope")).resources
    process = next(item for item in resources if isinstance(item, Process) and item.name == "vllm")
    seen = process.parse(f"status\t{status}\nprogram\tyes\nfingerprint\t{process.fingerprint}\n")
    assert seen.exists
    assert [item.field for item in process.compare(seen)] == ([] if running else ["active"])


# Images


class Recorder:
    def __init__(self) -> None:
        self.updates: list[tuple[int, int | None]] = []

    def update(self, done: int, total: int | None = None) -> None:
        self.updates.append((done, total))

    def message(self, text: str) -> None:
        return


def test_a_pull_adds_up_its_layers_and_never_goes_back() -> None:
    def downloading(layer: str, current: int, total: int) -> dict[str, Any]:
        return {"status": "Downloading", "id": layer, "progressDetail": {"current": current, "total": total}}

    events = [
        {"status": "Pulling from vllm/vllm-openai", "id": "v0.32.0"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "a"},
        {"status": "Already exists", "progressDetail": {}, "id": "z"},
        downloading("a", 10, 100),
        downloading("b", 5, 50),
        downloading("a", 90, 100),
        {"status": "Download complete", "progressDetail": {}, "id": "a"},
        {"status": "Extracting", "progressDetail": {"current": 1, "total": 100}, "id": "a"},
        {"status": "Pull complete", "progressDetail": {}, "id": "a"},
        {"status": "Download complete", "id": "b"},
        {"status": "Status: Downloaded newer image"},
    ]
    task = Recorder()
    follow_pull(events, task)
    done = [count for count, _ in task.updates]
    assert done == sorted(done)
    assert task.updates[-1] == (150, 150)


def test_a_pull_that_the_registry_ends_is_a_failure() -> None:
    from docker.errors import DockerException

    with pytest.raises(DockerException, match="toomanyrequests"):
        follow_pull([{"status": "Pulling"}, {"error": "toomanyrequests: slow down"}], Recorder())


def test_an_image_is_there_or_not() -> None:
    image = Image(reference="vllm/vllm-openai:v0.32.0")
    assert image.parse("id\tsha256:abc\n").exists
    assert not image.parse("id\t\n").exists
    assert image.compare(image.parse("id\tsha256:abc\n")) == ()

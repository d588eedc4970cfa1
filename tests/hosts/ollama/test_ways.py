"""`up ollama` over ways that are unknown, changed, indirect or dead, and to machines without internet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.hub import FakeHub
from tests.hosts.ollama.conftest import FILE, HOST, NAME, REPO, TOKEN, Box, chat, kinds
from tests.lab.machines import Machine, free_port, write_known_hosts

pytestmark = pytest.mark.hosts


@pytest.fixture
def nobody_is_known(box: Box, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a controller that trusts no machine yet."""
    box.deployctl.home.joinpath(".ssh").mkdir(mode=0o700, exist_ok=True)
    yield {"DEPLOYCTL_KNOWN_HOSTS": str(tmp_path / "known_hosts")}


def test_an_unknown_key_is_refused_until_it_is_trusted(box: Box, nobody_is_known: dict[str, str]):
    run = box.up(env=nobody_is_known).ended(3)
    (error,) = run.json()["errors"]
    assert error["host"] == HOST and f"hosts trust {HOST}" in error["remedy"]
    assert box.traces() == []
    assert "unknown" in box.deployctl("hosts", "list", "--host", HOST, env=nobody_is_known).ended(0).stdout
    trusted = box.deployctl("hosts", "trust", HOST, "--yes", "--json", env=nobody_is_known).ended(0).json()
    shown = box.machine.exec("for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done")
    assert trusted["keys"] and all(key["fingerprint"] in shown for key in trusted["keys"])
    assert trusted["file"] == nobody_is_known["DEPLOYCTL_KNOWN_HOSTS"]
    assert "known" in box.deployctl("hosts", "list", "--host", HOST, env=nobody_is_known).ended(0).stdout
    box.deployctl("status", "--host", HOST, env=nobody_is_known).ended(0)


def test_nobody_is_trusted_without_a_yes(box: Box, nobody_is_known: dict[str, str]):
    assert box.deployctl("hosts", "trust", HOST, env=nobody_is_known).exit != 0
    assert not Path(nobody_is_known["DEPLOYCTL_KNOWN_HOSTS"]).exists()


def test_a_changed_key_is_refused_loudly(box: Box, nobody_is_known: dict[str, str]):
    known = Path(nobody_is_known["DEPLOYCTL_KNOWN_HOSTS"])
    other = box.machine.exec("ssh-keygen -q -t ed25519 -N '' -f /tmp/other && cat /tmp/other.pub && rm /tmp/other*")
    known.write_text(f"[127.0.0.1]:{box.machine.ssh_port} {' '.join(other.split()[:2])}\n")
    run = box.up(env=nobody_is_known).ended(3)
    assert "CHANGED" in run.stderr and box.traces() == []
    box.deployctl("hosts", "trust", HOST, "--yes", env=nobody_is_known).ended(4)
    box.deployctl("hosts", "trust", HOST, "--yes", "--replace", env=nobody_is_known).ended(0)
    box.deployctl("status", "--host", HOST, env=nobody_is_known).ended(0)


def behind(box: Box, jump_machine: Machine) -> Path:
    """An inventory with the machine behind a jump host, and one where nobody answers; group `all`."""
    login = {"user": "root", "key": str(box.machine.key)}
    jump = [f"root@127.0.0.1:{jump_machine.ssh_port}"]
    hosts = {
        "behind": {"address": box.machine.ip, "jump": jump, **login},
        "dead": {"address": "127.0.0.1", "port": free_port(), **login},
    }
    inventory = box.deployctl.home / "ways.yaml"
    inventory.write_text(json.dumps({"hosts": hosts, "groups": {"all": {"hosts": list(hosts)}}}))
    return inventory


def test_through_a_jump_host_and_past_a_dead_one(box: Box, jump_machine: Machine, tmp_path: Path):
    """The good machine is deployed although another does not answer, and the exit status tells of that one."""
    inventory = behind(box, jump_machine)
    env = {"DEPLOYCTL_KNOWN_HOSTS": str(write_known_hosts(tmp_path / "both", [box.machine, jump_machine]))}
    run = box.up("--inventory", inventory, host="all", env=env).ended(3)
    document = run.json()
    assert document["exit_code"] == 3
    assert [item["host"] for item in document["deployments"]] == ["behind"]
    assert document["deployments"][0]["health"]["healthy"]
    (error,) = document["errors"]
    assert error["host"] == "dead" and error["remedy"]
    assert NAME in chat(box.machine)
    status = box.deployctl("status", "--inventory", inventory, "--host", "all", env=env).ended(3)
    assert "serving" in status.stdout and "dead" in status.stderr
    box.deployctl("down", "--purge", "--yes", "--inventory", inventory, "--host", "all", env=env).ended(3)
    assert box.traces() == []


def test_a_jump_host_that_is_unknown(box: Box, jump_machine: Machine, tmp_path: Path):
    inventory = behind(box, jump_machine)
    env = {"DEPLOYCTL_KNOWN_HOSTS": str(write_known_hosts(tmp_path / "one", [box.machine]))}
    run = box.deployctl("status", "--inventory", inventory, "--host", "behind", env=env).ended(3)
    assert "hosts trust behind" in run.stderr
    words = ("hosts", "trust", "behind", "--yes", "--inventory", inventory)
    assert f"[127.0.0.1]:{jump_machine.ssh_port}" in box.deployctl(*words, env=env).ended(0).stderr
    box.deployctl("status", "--inventory", inventory, "--host", "behind", env=env).ended(0)


def test_a_machine_without_internet_is_pushed_to(box: Box, gguf: Path):
    """The Hub listens on this machine's loopback, where the machine finds nobody."""
    with FakeHub("127.0.0.1", token=TOKEN) as near:
        near.add_repo(REPO, {FILE: gguf})
        run = box.up(env={"HF_ENDPOINT": near.url}).ended(0)
        assert "pushing it from here" in run.stderr
        assert len(near.downloads(to_the_end=True)) == 1
        assert kinds(box.up(env={"HF_ENDPOINT": near.url}).ended(0)) == []
        box.down("--purge").ended(0)
        box.up("--delivery", "push", env={"HF_ENDPOINT": near.url}).ended(0)
        assert len(near.downloads(to_the_end=True)) == 1, "what was pushed once is kept for the next machine"
    assert NAME in chat(box.machine)


def test_a_model_of_this_machine(box: Box, gguf: Path):
    """And the model before it stays, to be returned to, until it is purged."""
    path = box.deployctl.home / "own model.gguf"
    path.write_bytes(gguf.read_bytes())
    run = box.up("--model", path).ended(0)
    assert run.json()["deployments"][0]["endpoint"]["model"] in chat(
        box.machine, run.json()["deployments"][0]["endpoint"]["model"]
    )
    assert box.machine.exec("find /var/lib/deployctl/models -name '*.gguf'").count("\n") == 2
    box.down("--purge").ended(0)
    assert box.changed() == []

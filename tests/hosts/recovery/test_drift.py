"""What differs from what was applied: `status` says what and by whom, `up` repairs it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest

from tests.docs.schemas import closed
from tests.hosts.ollama.test_vendor import INSTALL, LISTENS, UNINSTALL
from tests.hosts.ollama.test_vendor import UNIT as VENDOR_UNIT
from tests.hosts.recovery.desk import HOST, UNIT, Desk, changes
from tests.hosts.recovery.rig import HOST as RIG_HOST
from tests.hosts.recovery.rig import Rig

pytestmark = pytest.mark.hosts
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
MODELFILE = "FROM tiny\nSYSTEM Words of somebody.\n"


@pytest.fixture(scope="module")
def applied(desk: Desk) -> Iterator[Desk]:
    desk.up("--num-parallel", "2").ended(0)
    yield desk
    desk.down("--purge")


BY_HAND = {
    "an edited unit file": (f"sed -i s/NUM_PARALLEL=2/NUM_PARALLEL=9/ {UNIT_FILE}", "systemd unit file", {"sha256"}),
    "a file's mode": ("chmod 600 /etc/deployctl/ollama/Modelfile", "file", {"mode"}),
    "a file gone": ("rm /etc/deployctl/ollama/Modelfile", "file", {"type", "sha256", "mode", "owner", "group"}),
    "a model made anew": (
        f"printf '{MODELFILE}' > /root/M; HOME=/root OLLAMA_HOST=127.0.0.1:21434 "
        "/opt/deployctl/ollama/0.33.0/bin/ollama create tiny -f /root/M; "
        "rm -rf /root/M /root/.ollama",
        "Ollama model",
        {"modelfile"},
    ),
    "an engine's program gone": ("rm /opt/deployctl/ollama/0.33.0/bin/ollama", "release", {"binary"}),
    "a unit disabled": (f"systemctl disable --quiet {UNIT}", "systemd unit", {"enabled"}),
}


@pytest.mark.parametrize("what", BY_HAND)
def test_a_change_by_hand_is_told_and_repaired(applied: Desk, what: str) -> None:
    command, title, fields = BY_HAND[what]
    before = applied.look()
    applied.machine.exec(command)
    run = applied.deployctl("status", "--host", HOST, "--exit-code", "--json").ended(7)
    jsonschema.validate(run.json(), closed("deployctl.status/1"))
    (drift,) = run.json()["deployments"][0]["drift"]
    assert (drift["title"], drift["cause"]) == (title, "by hand")
    assert {item["field"] for item in drift["differences"]} == fields
    assert f"{title} {drift['identity']} differs from what was applied, by hand" in applied.remarks()
    applied.up("--num-parallel", "2").ended(0)
    assert (applied.status()["drift"], applied.status()["state"]) == ([], "serving")
    books = ("/var/lib/deployctl/*",)
    assert [
        line for line in applied.changed(before) if not any(line.split()[1].startswith(b[:-1]) for b in books)
    ] == []


def test_a_stopped_unit_is_a_state_of_its_own(applied: Desk) -> None:
    applied.machine.exec(f"systemctl stop {UNIT}")
    run = applied.deployctl("status", "--host", HOST, "--exit-code", "--json").ended(7)
    assert run.json()["deployments"][0]["state"] == "stopped"
    assert changes(applied.up("--num-parallel", "2").ended(0)) == [("update", "unit")]
    applied.deployctl("status", "--host", HOST, "--exit-code").ended(0)


@pytest.fixture(scope="module")
def vendor(desk: Desk) -> Iterator[Desk]:
    """The vendor's own installation of 0.33.0, which deployctl uses."""
    desk.down("--purge")
    desk.machine.put("/etc/systemd/system/ollama.service", VENDOR_UNIT)
    desk.machine.exec(f"set -- ollama.tgz\n{INSTALL}", stdin=desk.archive().read_bytes())
    desk.machine.exec(LISTENS)
    desk.up(version=None).ended(0)
    yield desk
    desk.down("--purge")
    desk.machine.exec(UNINSTALL)


def upgrade(desk: Desk, version: str) -> None:
    """As the vendor's installer does it: the same files, of another version, and a restart."""
    desk.machine.exec("tar -C /usr/local -xz --no-same-owner", stdin=desk.archive(version).read_bytes())
    behind = LISTENS.replace(":11434", ":21434")  # the gateway has the usual port
    desk.machine.exec(f"systemctl restart ollama.service; {behind}")


def test_an_upgrade_of_the_vendor_is_told_as_such(vendor: Desk) -> None:
    assert vendor.status()["drift"] == []
    upgrade(vendor, "0.34.0")
    (drift,) = vendor.status()["drift"]
    assert (drift["identity"], drift["cause"]) == ("/usr/local/bin/ollama", "by an upgrade of the vendor")
    values = {item["field"]: (item["wanted"], item["observed"]) for item in drift["differences"]}
    assert values["version"] == ("0.33.0", "0.34.0") and set(values) == {"version", "binary"}
    assert "by an upgrade of the vendor (version 0.33.0 → 0.34.0" in vendor.remarks()
    run = vendor.up(version=None).ended(0)
    assert changes(run) == [("update", "vendor-engine"), ("update", "unit")]
    assert vendor.status()["drift"] == [] and vendor.answers()
    assert changes(vendor.up(version=None).ended(0)) == []


def test_the_vendor_s_unit_file_edited_by_hand_is_no_upgrade(vendor: Desk) -> None:
    vendor.machine.exec("echo '# mine' >> /etc/systemd/system/ollama.service; systemctl daemon-reload")
    (drift,) = vendor.status()["drift"]
    assert (drift["cause"], [item["field"] for item in drift["differences"]]) == ("by hand", ["unit"])
    vendor.up(version=None).ended(0)
    assert vendor.status()["drift"] == []
    assert vendor.machine.exec("tail -n 1 /etc/systemd/system/ollama.service") == "# mine\n"


def test_our_drop_in_edited_by_hand_is_no_upgrade(vendor: Desk) -> None:
    vendor.machine.exec("echo '# mine' >> /etc/systemd/system/ollama.service.d/deployctl.conf")
    (drift,) = vendor.status()["drift"]
    assert (drift["title"], drift["cause"]) == ("systemd unit file", "by hand")
    vendor.up(version=None).ended(0)
    assert vendor.status()["drift"] == []


@pytest.fixture(scope="module")
def container(rig: Rig) -> Iterator[Rig]:
    rig.down()
    rig.up("vllm").ended(0)
    yield rig
    rig.down()


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("docker rm --force deployctl-vllm", "stopped"),
        ("docker stop deployctl-vllm", "stopped"),
        (
            "docker inspect deployctl-vllm > /root/c.json; docker rm --force deployctl-vllm; "
            "docker run -d --name deployctl-vllm --restart unless-stopped --entrypoint sleep "
            '"$(python3 -c \'import json; print(json.load(open("/root/c.json"))[0]["Config"]["Image"])\')" 1000; '
            "rm /root/c.json",
            "another",
        ),
    ],
    ids=["removed", "stopped", "another in its place"],
)
def test_a_container_changed_by_hand_is_told_and_made_anew(container: Rig, command: str, state: str) -> None:
    container.machine.exec(command)
    run = container.deployctl("status", "--host", RIG_HOST, "--exit-code", "--json").ended(7)
    jsonschema.validate(run.json(), closed("deployctl.status/1"))
    (shown,) = run.json()["deployments"]
    assert shown["state"] in ("stopped", "failed"), json.dumps(shown, indent=1)  # what took its place cannot serve
    if state == "another":
        (drift,) = shown["drift"]
        assert (drift["title"], drift["cause"]) == ("container", "by hand") and drift["differences"]
    kinds = changes(container.up("vllm").ended(0))
    assert {kind for _, kind in kinds} == {"container"}
    shown = container.status("vllm")
    assert (shown["state"], shown["drift"]) == ("serving", []) and container.chat("vllm")

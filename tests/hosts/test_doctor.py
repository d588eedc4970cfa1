"""`deployctl doctor` on real machines: bare, with Docker stopped, with a full disk, a port taken; and its audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.docs.schemas import closed
from tests.doubles.gguf import write_gguf
from tests.doubles.hub import FakeHub
from tests.doubles.ollama.archive import make_archive
from tests.hosts.support import Controller, Run, give_wheels
from tests.lab.images import OPW_PASSWORD
from tests.lab.machines import Machine

pytestmark = pytest.mark.hosts

DOCKER = "systemctl {} docker.socket docker"


@pytest.fixture(scope="module", autouse=True)
def known(deployctl: Controller, second_machine: Machine, bare_machine: Machine, plain_machine: Machine) -> None:
    deployctl.knows([second_machine, bare_machine, plain_machine])


def examined(run: Run) -> dict[str, list[dict[str, Any]]]:
    """The findings of each host, from a document that is as its schema says."""
    document = run.json()
    jsonschema.validate(document, closed("deployctl.doctor/1"))
    assert document["exit_code"] == run.exit
    return {host["host"]: host["findings"] for host in document["hosts"]}


def about(findings: list[dict[str, Any]], subject: str) -> list[tuple[str, str]]:
    return [(finding["level"], finding["what"]) for finding in findings if finding["subject"] == subject]


def test_several_machines_at_once_each_with_what_it_lacks(deployctl: Controller, hub: FakeHub) -> None:
    run = deployctl("doctor", "--host", "gpu02", "--host", "bare", "--host", "plain", "--json").ended(0)
    found = examined(run)
    assert list(found) == ["gpu02", "bare", "plain"]
    for findings in found.values():
        assert about(findings, "root") == [("ok", "yes")]
        assert about(findings, "hub") == [("ok", f"{hub.url} answers the host")]
        assert {level for level, _ in about(findings, "disk")} <= {"ok", "warn"}
        assert about(findings, "clock")[0][0] in ("ok", "warn")
    assert [about(found[name], "docker")[0][0] for name in found] == ["ok", "warn", "warn"]
    assert [about(found[name], "systemd")[0][0] for name in found] == ["ok", "ok", "warn"]


def test_what_is_named_is_needed(deployctl: Controller, hub: FakeHub) -> None:
    found = examined(deployctl("doctor", "vllm", "--host", "bare", "--json").ended(4))["bare"]
    ((level, what),) = about(found, "docker")
    assert (level, what) == ("fail", "not installed: vLLM cannot run in a container here")
    assert all(finding["remedy"] for finding in found if finding["level"] == "fail")
    run = deployctl("doctor", "vllm", "--host", "bare").ended(4)
    assert "✗ docker" in run.stdout and "→ apt-get install docker.io" in run.stdout


def test_docker_that_is_stopped(deployctl: Controller, hub: FakeHub, second_machine: Machine) -> None:
    second_machine.exec(DOCKER.format("stop"))
    try:
        found = examined(deployctl("doctor", "--host", "gpu02", "--json").ended(4))["gpu02"]
    finally:
        second_machine.exec(DOCKER.format("start"))
    ((level, what),) = about(found, "docker")
    assert level == "fail" and "Cannot connect to the Docker daemon" in what
    assert about(examined(deployctl("doctor", "--host", "gpu02", "--json").ended(0))["gpu02"], "docker")[0][0] == "ok"


def test_a_disk_that_is_full(deployctl: Controller, hub: FakeHub, plain_machine: Machine) -> None:
    plain_machine.exec("mkdir /var/lib/deployctl && mount -t tmpfs -o size=8m tmpfs /var/lib/deployctl")
    try:
        found = examined(deployctl("doctor", "--host", "plain", "--json").ended(4))["plain"]
    finally:
        plain_machine.exec("umount /var/lib/deployctl && rmdir /var/lib/deployctl")
    models = [line for line in about(found, "disk") if "/var/lib/deployctl" in line[1]]
    assert [level for level, _ in models] == ["fail"] and "0.0 GiB free" in models[0][1]


def test_a_port_that_is_taken(deployctl: Controller, hub: FakeHub, second_machine: Machine) -> None:
    second_machine.exec("systemd-run -q --unit lab-blocker python3 -m http.server 11434 --bind 127.0.0.1")
    second_machine.exec("timeout 30 sh -c 'until ss -Hltn sport = 11434 | grep -q .; do sleep 0.1; done'")
    try:
        loose = examined(deployctl("doctor", "--host", "gpu02", "--json").ended(0))["gpu02"]
        firm = examined(deployctl("doctor", "ollama", "--host", "gpu02", "--json").ended(4))["gpu02"]
    finally:
        second_machine.exec("systemctl stop lab-blocker")
    assert about(loose, "ports")[0][0] == "warn"
    ((level, what),) = about(firm, "ports")
    assert level == "fail" and what.startswith("11434 is taken by python3 (pid ")


def test_a_user_without_root(deployctl: Controller, hub: FakeHub, second_machine: Machine) -> None:
    deployctl.knows([second_machine], user="plain")
    try:
        run = deployctl("doctor", "--host", "gpu02", "--json")
        agreed = deployctl("doctor", "--host", "gpu02", "--user", "--json")
    finally:
        deployctl.knows([second_machine])
    ((level, what),) = about(examined(run)["gpu02"], "root")
    assert level == "warn" and "plain deploys into directories of their own" in what
    assert about(examined(agreed)["gpu02"], "root")[0][0] == "ok"
    ((level, what),) = about(examined(agreed)["gpu02"], "docker")
    assert level == "fail" and "permission denied" in what


@pytest.mark.parametrize("user", ["op", "opw"])
def test_root_by_sudo(deployctl: Controller, hub: FakeHub, second_machine: Machine, user: str) -> None:
    deployctl.knows([second_machine], user=user)
    try:
        run = deployctl("doctor", "--host", "gpu02", "--json", env={"DEPLOYCTL_SUDO_PASSWORD": OPW_PASSWORD})
    finally:
        deployctl.knows([second_machine])
    assert about(examined(run)["gpu02"], "root") == [("ok", f"by sudo, as {user}")]
    assert OPW_PASSWORD not in run.text


def test_a_host_that_is_not_there_hides_no_other(deployctl: Controller, hub: FakeHub) -> None:
    run = deployctl("doctor", "--host", "gpu02", "--host", "root@127.0.0.1:1", "--json").ended(3)
    assert list(examined(run)) == ["gpu02"]
    assert len(run.json()["errors"]) == 1


@pytest.fixture
def ollama(
    deployctl: Controller, hub: FakeHub, second_machine: Machine, tmp_path: Path
) -> Iterator[tuple[Machine, Path]]:
    """Ollama, deployed from an archive, with a model of the Hub."""
    give_wheels(second_machine, "supervisor==4.3.0")
    archive = make_archive(tmp_path / "ollama.tar.zst").path
    hub.add_repo("org/audit-GGUF", {"audit-Q4_K_M.gguf": write_gguf(tmp_path / "audit-Q4_K_M.gguf")})
    words = ["--host", "gpu02", "--model", "hf:org/audit-GGUF:Q4_K_M", "--archive", str(archive), "--yes"]
    deployctl("up", "ollama", *words).ended(0)
    yield second_machine, archive
    deployctl("down", "--host", "gpu02", "--purge", "--yes").ended(0)
    second_machine.exec("rm -rf /etc/pip.conf /opt/lab-wheels")


def test_the_audit_says_whence_and_by_which_hash_and_finds_what_was_changed(
    deployctl: Controller, hub: FakeHub, ollama: tuple[Machine, Path]
) -> None:
    machine, archive = ollama
    run = deployctl("doctor", "--audit", "--host", "gpu02", "--json").ended(0)
    jsonschema.validate(run.json(), closed("deployctl.doctor.audit/1"))
    (deployment,) = run.json()["deployments"]
    origins = {item["kind"]: item["origins"] for item in deployment["resources"]}
    assert origins["release"][0]["source"] == str(archive)
    assert origins["release"][0]["pin"] == origins["release"][0]["here"] != ""
    (model,) = origins["model-files"]
    assert model["source"].startswith(f"{hub.url}/org/audit-GGUF/resolve/") and model["pin"].startswith("sha256:")
    assert origins["ollama-model"][0]["pin"] == model["pin"]
    assert deployment["generation"] == 1 and all(item["drift"] is None for item in deployment["resources"])

    found = examined(deployctl("doctor", "ollama", "--host", "gpu02", "--json"))["gpu02"]
    assert about(found, "ports") == [("ok", "11434 is the deployment ollama's")]
    assert about(found, "access to ollama") == [("ok", "nobody gets in without a key (ports 11434 and 21434)")]

    again = deployctl("doctor", "--audit", "--rehash", "--host", "gpu02", "--json").ended(0).json()
    (model,) = next(item["origins"] for item in again["deployments"][0]["resources"] if item["kind"] == "model-files")
    assert model["here"] == model["pin"]
    machine.exec(f"printf X | dd of='{model['path']}' bs=1 seek=100 conv=notrunc status=none")  # the size stays
    deployctl("doctor", "--audit", "--host", "gpu02").ended(0)
    damaged = deployctl("doctor", "--audit", "--rehash", "--host", "gpu02").ended(4)
    assert f"✗ model {model['path']}" in damaged.stdout and "but here it is sha256:" in damaged.stdout

    machine.exec("echo '# by hand' >> /etc/deployctl/ollama/Modelfile")
    changed = deployctl("doctor", "--audit", "--host", "gpu02").ended(4)
    assert "✗ file /etc/deployctl/ollama/Modelfile" in changed.stdout
    assert "differs from what was applied, by hand: sha256" in changed.stdout


def test_who_gets_in_past_the_gateway(deployctl: Controller, hub: FakeHub, ollama: tuple[Machine, Path]) -> None:
    machine, _ = ollama
    address = machine.exec("hostname -I").split()[0]
    machine.exec(f"systemd-run -q --unit lab-hole python3 -m http.server 21434 --bind {address}")
    try:
        machine.exec(f"timeout 30 sh -c 'until curl -so /dev/null http://{address}:21434/; do sleep 0.1; done'")
        found = examined(deployctl("doctor", "--host", "gpu02", "--json").ended(4))["gpu02"]
        status = deployctl("status", "--host", "gpu02")
    finally:
        machine.exec("systemctl stop lab-hole")
    said = f"21434 answers without a key on {address} (200, asked from gpu02)"
    assert ("fail", said) in about(found, "access to ollama")
    assert f"OPEN: {said}" in status.stdout
    assert about(examined(deployctl("doctor", "--host", "gpu02", "--json"))["gpu02"], "access to ollama")[0][0] == "ok"

"""The lab itself: what the end-to-end tests take for granted about their machines."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lab import images, snapshot
from tests.lab import lab as labs
from tests.lab.machines import Machine, write_inventory, write_known_hosts
from tests.lab.shell import CommandFailedError, docker

pytestmark = pytest.mark.hosts


@pytest.mark.parametrize("user", ["root", "op", "opw", "plain"])
def test_every_user_logs_in_by_key(second_machine: Machine, user: str) -> None:
    assert second_machine.ssh("id -un", user=user).strip() == user


def test_sudo_is_as_the_users_are_described(second_machine: Machine) -> None:
    assert second_machine.ssh("sudo -n id -un", user="op").strip() == "root"
    with pytest.raises(CommandFailedError, match="password is required"):
        second_machine.ssh("sudo -n true", user="opw")
    asked = second_machine.ssh("sudo -S -p '' id -un", user="opw", stdin=f"{images.OPW_PASSWORD}\n")
    assert asked.strip() == "root"
    with pytest.raises(CommandFailedError):
        second_machine.ssh("sudo -S -p '' true", user="plain", stdin=f"{images.OPW_PASSWORD}\n")


def test_systemd_is_up_with_nothing_failed(second_machine: Machine) -> None:
    assert second_machine.ssh("systemctl is-system-running").strip() == "running"
    assert second_machine.units()["docker.service"] == "enabled/active"


def test_host_keys_are_of_one_machine_only(second_machine: Machine, jump_machine: Machine) -> None:
    second, jump = ({line.split()[2] for line in m.known_hosts_lines()} for m in (second_machine, jump_machine))
    assert second
    assert jump
    assert not second & jump


def test_machines_reach_each_other(second_machine: Machine, jump_machine: Machine) -> None:
    banner = jump_machine.exec(f"timeout 10 bash -c 'head -1 </dev/tcp/{second_machine.ip}/22'")
    assert banner.startswith("SSH-2.0-")


def test_machines_reach_a_server_of_the_test_process(second_machine: Machine, gateway: str) -> None:
    class Hello(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((gateway, 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert second_machine.exec(f"curl -fsS http://{gateway}:{server.server_port}/") == "hello"
        finally:
            server.shutdown()
            thread.join()


def test_reboot_keeps_disks_keys_and_port(second_machine: Machine) -> None:
    keys = second_machine.exec("cat /etc/ssh/ssh_host_*_key.pub; echo here >/var/lib/lab-reboot")
    second_machine.restart()
    assert second_machine.ssh("cat /etc/ssh/ssh_host_*_key.pub") == keys
    assert second_machine.exec("cat /var/lib/lab-reboot; rm /var/lib/lab-reboot").strip() == "here"


def test_an_idle_machine_is_as_before(second_machine: Machine) -> None:
    before = second_machine.state()
    second_machine.ssh("sudo -n true && echo hello >/tmp/passing", user="op")
    assert snapshot.diff(before, second_machine.state()) == []


def test_what_is_changed_shows(second_machine: Machine) -> None:
    before = second_machine.state()
    unit = "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"
    second_machine.put("/etc/systemd/system/planted.service", unit)
    second_machine.exec(
        "useradd planted; chmod 700 /srv; chown op /opt; echo >>/etc/hosts.allow; ln -s /nowhere '/opt/a b';"
        "mkdir /var/lib/planted; systemctl enable --now planted; docker volume create planted"
    )
    changes = snapshot.diff(before, second_machine.state(), ignore=("/etc/passwd", "/etc/group"))
    second_machine.exec(
        "systemctl disable --now planted; docker volume rm planted; rmdir /var/lib/planted; rm '/opt/a b';"
        "userdel planted; chmod 755 /srv; chown root /opt; rm /etc/systemd/system/planted.service;"
        "systemctl daemon-reload"
    )
    second_machine.exec("sed -i '$d' /etc/hosts.allow")
    starts = [" ".join(line.split(":")[0].split()) for line in changes]
    for expected in (
        "added /etc/systemd/system/planted.service",
        "added unit planted.service",
        "added user planted",
        "added group planted",
        "changed /srv",
        "changed /opt",
        "changed /etc/hosts.allow",
        "added /opt/a b",
        "added /var/lib/planted",
        "added volume planted",
    ):
        assert expected in starts
    assert not any(start.endswith(("/etc/passwd", "/etc/group")) for start in starts)
    assert snapshot.diff(before, second_machine.state()) == []


def test_a_bare_machine_has_no_engine(bare_machine: Machine) -> None:
    assert bare_machine.exec("command -v docker dockerd || echo none").strip() == "none"
    assert bare_machine.ssh("systemctl is-system-running").strip() == "running"


def test_a_plain_machine_has_no_systemd(plain_machine: Machine) -> None:
    assert plain_machine.ssh(
        "ls -d /run/systemd/system 2>/dev/null || echo none; cat /proc/1/comm", user="plain"
    ).split() == [
        "none",
        "sshd",
    ]


def test_files_for_ssh_and_inventory(second_machine: Machine, tmp_path: Path) -> None:
    known = write_known_hosts(tmp_path / "known_hosts", [second_machine]).read_text()
    assert f"[127.0.0.1]:{second_machine.ssh_port} ssh-ed25519 " in known
    inventory = json.loads(
        write_inventory(tmp_path / "i.yaml", [second_machine], more={"gpu02": {"user": "opw"}}).read_text()
    )
    assert inventory["hosts"]["gpu02"] == {
        "address": "127.0.0.1",
        "port": second_machine.ssh_port,
        "user": "opw",
        "key": str(second_machine.key),
    }


@pytest.fixture
def own_lab() -> Iterator[labs.Lab]:
    lab = labs.Lab()
    yield lab
    lab.close()


def test_nothing_is_left_after_close(own_lab: labs.Lab) -> None:
    own_lab.machine("passing")
    assert labs.owned("ps", "--all", owner=own_lab.owner)
    own_lab.close()
    assert labs.owned("ps", "--all", owner=own_lab.owner) == []
    assert labs.owned("volume", "ls", owner=own_lab.owner) == []
    assert not own_lab.folder.exists()


def test_leftovers_of_a_killed_run_are_removed(lab: labs.Lab, second_machine: Machine) -> None:
    code = """
import os
from tests.lab.lab import Lab
lab = Lab()
lab.machine("lost")
print(lab.owner, lab.folder, flush=True)
os._exit(9)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert killed.returncode == 9, killed.stderr
    owner, folder = killed.stdout.split()
    assert labs.owned("ps", "--all", owner=owner)
    assert owner in labs.remove_leftovers()
    assert labs.owned("ps", "--all", owner=owner) == []
    assert labs.owned("volume", "ls", owner=owner) == []
    assert not Path(folder).exists()
    assert docker("ps", "--quiet", "--filter", f"name={second_machine.container}")


@pytest.mark.vllm
def test_the_machines_engine_runs_the_vllm_image(machine: Machine) -> None:
    assert labs.VLLM_IN_MACHINES in machine.exec("docker images --format '{{.Repository}}:{{.Tag}}'").split()
    run = "docker run --rm --network none --entrypoint"
    assert machine.exec(f"{run} vllm {labs.VLLM_IN_MACHINES} --version").split()[-1] == f"{images.VLLM_VERSION}+cpu"
    where = machine.exec(f"{run} sh {labs.VLLM_IN_MACHINES} -c 'command -v python3; pwd'").split()
    assert where == ["/opt/vllm/bin/python3", "/vllm-workspace"]

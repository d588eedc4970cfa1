"""`up ollama` by people who are not root: with sudo, with sudo and a password, and without any."""

from __future__ import annotations

import json
import threading

import pytest

from tests.hosts.ollama.conftest import FILE, HOST, NAME, Box, chat, kinds
from tests.lab.images import OPW_PASSWORD

pytestmark = pytest.mark.hosts
OP, OPW, PLAIN = (f"{HOST}-{user}" for user in ("op", "opw", "plain"))
PASSWORD = {"DEPLOYCTL_SUDO_PASSWORD": OPW_PASSWORD}
SHARE = "/home/plain/.local/share/deployctl"


def test_sudo_without_a_password_deploys_for_the_system(box: Box):
    box.up(host=OP).ended(0)
    assert box.unit("ActiveState", "UnitFileState") == ["active", "enabled"]
    assert box.machine.exec("stat -c %U /etc/deployctl/ollama/Modelfile") == "root\n"
    assert box.machine.exec("find /home/op -newer /etc/deployctl/ollama/Modelfile") == ""


def test_all_ways_in_see_the_same_deployment(box: Box):
    """The host holds the truth: root and another administrator go on where the first has been."""
    assert [item["name"] for item in box.status()] == ["ollama"]
    assert kinds(box.up(host=OPW, env=PASSWORD).ended(0)) == []
    run = box.deployctl("status", "--host", OPW, env=PASSWORD).ended(0)
    assert "serving" in run.stdout


def test_a_sudo_password_is_seen_nowhere(box: Box):
    """Not in a process list while it is at work, nor in what systemd has logged (outputs are checked at the end)."""
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(box.machine.exec("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        box.up("--num-parallel", "2", host=OPW, env=PASSWORD).ended(0)
    finally:
        over.set()
        watcher.join()
    assert any("sudo" in text for text in seen), "the watcher has seen nothing of it"
    assert not any(OPW_PASSWORD in text for text in seen)
    assert OPW_PASSWORD not in box.machine.exec("journalctl -o cat --no-pager")
    found = box.machine.exec(
        'grep -rlF "$(cat)" /etc /var/lib/deployctl /home /tmp 2>/dev/null || true', stdin=OPW_PASSWORD
    )
    assert found == ""


def test_a_wrong_or_missing_password_is_refused(box: Box):
    wrong = box.down("--purge", host=OPW, env={"DEPLOYCTL_SUDO_PASSWORD": "canary-wrong"}).ended(4)
    assert "password" in wrong.stderr and "canary-wrong" not in wrong.text
    missing = box.down("--purge", "--sudo", host=OPW).ended(4)
    assert "password" in missing.stderr and "DEPLOYCTL_SUDO_PASSWORD" in missing.stderr
    box.up("--system", host=PLAIN).ended(4)
    assert box.unit("ActiveState") == ["active"]


def test_down_with_a_password(box: Box):
    box.down("--purge", host=OPW, env=PASSWORD).ended(0)
    assert box.traces() == []


def test_without_root_it_goes_to_the_users_directories(box: Box):
    run = box.up("--set", "system=You are terse.", host=PLAIN).ended(0)
    (deployment,) = run.json()["deployments"]
    assert deployment["health"]["healthy"]
    assert {"unit", "unit-file", "account"}.isdisjoint(kinds(run)) and "process" in kinds(run)
    assert json.loads(chat(box.machine, NAME, user="plain"))["choices"]
    owners = box.machine.exec(
        "ps -eo user:16,args | grep -E '[o]llama serve|[s]upervisord|[c]addy run' | cut -d ' ' -f 1 | sort -u"
    )
    assert owners == "plain\n"
    assert [line for line in box.changed() if "/home/plain/" not in line] == []
    digest = box.machine.exec(f"sha256sum < $(find {SHARE}/models -name {FILE})").split()[0]
    links = box.machine.exec(f"stat -c %h {SHARE}/ollama/models/blobs/sha256-{digest}")
    assert links == "2\n"


def test_without_root_a_second_up_changes_nothing(box: Box):
    before = box.machine.exec("pgrep -f '[o]llama serve'")
    assert kinds(box.up("--set", "system=You are terse.", host=PLAIN).ended(0)) == []
    assert box.machine.exec("pgrep -f '[o]llama serve'") == before


def test_without_root_status_logs_and_what_others_see(box: Box):
    (shown,) = box.status(PLAIN)
    assert shown["state"] == "serving" and shown["drift"] == []
    assert "/v1/chat/completions" in box.deployctl("logs", "ollama", "--host", PLAIN).ended(0).stdout
    assert box.status() == [], "root's deployments are others"


def test_without_root_a_dead_engine_comes_back(box: Box):
    """Its llama-server, which it leaves behind, must be gone after `down` at the latest."""
    old = box.machine.exec("pgrep -f '[o]llama serve'").strip()
    box.machine.exec(f"kill -9 {old}")
    back = "timeout 60 sh -c 'until curl -fs -o /dev/null http://127.0.0.1:21434/api/version; do sleep 0.1; done'"
    box.machine.exec(back)
    assert box.machine.exec("pgrep -f '[o]llama serve'").strip() != old


def test_without_root_down_leaves_nothing_running_and_purge_nothing_at_all(box: Box):
    box.down("ollama", host=PLAIN).ended(0)
    assert box.machine.exec("pgrep -u plain -fa '[o]llama|[s]upervisord|[c]addy' || true") == ""
    assert FILE in box.machine.exec(f"find {SHARE}/models -type f")
    box.down("--purge", host=PLAIN).ended(0)
    left = {line.removeprefix("added /home/plain/").partition(":")[0] for line in box.changed()}
    assert left <= {".config", ".local", ".local/share", ".local/state"}, "more than the empty XDG directories"
    box.machine.exec("cd /home/plain && rmdir .config .local/share .local/state .local")
    assert box.changed() == []

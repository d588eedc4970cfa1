"""`up ollama` by root on a machine where no systemd runs: the embedded supervisor, for the whole system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.hub import FakeHub
from tests.hosts.ollama.conftest import FILE, NAME, REPO, Box, chat, kinds
from tests.hosts.support import Controller, give_wheels
from tests.lab.machines import Machine

pytestmark = pytest.mark.hosts


@pytest.fixture(scope="module")
def bare(plain_machine: Machine, deployctl: Controller, hub: FakeHub, archive: Path, gguf: Path) -> Iterator[Box]:
    give_wheels(plain_machine, "supervisor==4.3.0")
    deployctl.knows([plain_machine])
    hub.add_repo(REPO, {FILE: gguf})
    yield Box(plain_machine, deployctl, hub, archive, plain_machine.state())
    plain_machine.exec("rm -rf /etc/pip.conf /opt/lab-wheels")


def test_it_is_supervised_and_runs_as_its_own_account(bare: Box):
    run = bare.up(host="plain").ended(0)
    assert "process" in kinds(run) and "account" in kinds(run) and "unit" not in kinds(run)
    assert NAME in chat(bare.machine)
    assert bare.machine.exec("ps -eo user:16,args | grep '[o]llama serve' | cut -d ' ' -f 1") == "ollama\n"
    assert bare.machine.exec("ps -eo user:32,args | grep '[c]addy run' | cut -d ' ' -f 1") == "deployctl-gateway\n"
    (shown,) = bare.status("plain")
    assert shown["state"] == "serving" and shown["drift"] == []
    assert kinds(bare.up(host="plain").ended(0)) == []


def test_after_a_sudden_end_up_starts_it_again(bare: Box):
    """As after a power cut: its socket and pid files are still there."""
    bare.machine.exec("pkill -9 -f '[s]upervisord'; pkill -9 -f '[o]llama'; pkill -9 -f '[c]addy'")
    assert bare.status("plain")[0]["state"] in ("stopped", "failed")
    assert kinds(bare.up(host="plain").ended(0)) == ["process", "process"]
    assert NAME in chat(bare.machine)


def test_purge_leaves_the_machine_as_it_was(bare: Box):
    bare.down("--purge", host="plain").ended(0)
    assert bare.machine.exec("pgrep -fa '[o]llama|[s]upervisord|[c]addy' || true") == ""
    assert bare.changed() == []

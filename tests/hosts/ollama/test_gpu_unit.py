"""The unit for a machine with a GPU, held as it is there, by systemd itself: it serves, and reaches nothing else.

The machine has no GPU, only what tells of one. That CUDA computes within this unit was tried on a real one
(docs/architecture.md, Confinement).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.ollama.conftest import Box, chat
from tests.hosts.support import exposure
from tests.lab.shell import CommandFailedError

pytestmark = pytest.mark.hosts
UNIT = "deployctl-ollama.service"
TOLD = Path(__file__).parents[2] / "facts/recorded/h100-idle"
SMI = "/usr/local/bin/nvidia-smi"
ANSWERS = f"""#!/bin/sh
case "$*" in "-q -x") cat {SMI}.xml;; -L) cat {SMI}.txt;; *compute_cap*) cat {SMI}.csv;; *) exit 2;; esac
"""


@pytest.fixture(scope="module", autouse=True)
def gpu(box: Box) -> Iterator[None]:
    """A card, as far as anybody is told, and Ollama deployed for it."""
    for suffix, name in (("xml", "q.xml"), ("txt", "L.txt"), ("csv", "compute_cap.csv")):
        box.machine.put(f"{SMI}.{suffix}", (TOLD / name).read_bytes())
    box.machine.put(SMI, ANSWERS, mode="755")
    box.up().ended(0)
    yield
    box.down("--purge")
    box.machine.exec(f"rm -f {SMI}*")
    assert box.changed() == []


def test_it_serves(box: Box):
    wanted = ["active", "closed", "yes", "yes"]
    assert box.unit("ActiveState", "DevicePolicy", "MemoryDenyWriteExecute", "ProtectClock") == wanted
    assert json.loads(chat(box.machine))["choices"][0]["message"]["content"]


def test_it_is_locked_up(box: Box):
    assert exposure(box.machine, UNIT) <= 3.0
    invocation = 'INVOCATION_ID="$(systemctl show -p InvocationID --value ' + UNIT + ')"'  # not of tests before
    complaints = box.machine.exec(f"journalctl -b -o cat --no-pager -p warning _PID=1 {invocation}")
    assert complaints == ""


def test_it_writes_to_its_own_folder_only(box: Box):
    with pytest.raises(CommandFailedError, match="Permission denied"):
        box.machine.exec("ls /var/lib/deployctl/ollama", user="plain")
    assert box.machine.exec("stat -c '%a %U' /var/lib/deployctl/ollama/.ollama/id_ed25519") == "600 ollama\n"
    inside = "nsenter -t $(systemctl show -p MainPID --value deployctl-ollama) -m"
    refused = box.machine.exec(f"for d in /etc /usr /opt /var/lib; do {inside} touch $d/x 2>&1 || true; done")
    assert refused.count("Read-only file system") == 4
    assert box.machine.exec(f"{inside} ls -A /home /root") == "/home:\n\n/root:\n"

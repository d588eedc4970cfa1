"""`up ollama` where Ollama's own installer has been before: its unit, store and account are used, and not changed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.hosts.ollama.conftest import FILE, HOST, NAME, REPO, Box, chat, kinds
from tests.hosts.support import BEHIND
from tests.lab import snapshot as snapshots

pytestmark = pytest.mark.hosts

UNIT = """\
[Unit]
Description=Ollama Service
After=network-online.target

[Service]
ExecStart=/usr/local/bin/ollama serve
User=ollama
Group=ollama
Restart=always
RestartSec=3
Environment="PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Environment="OLLAMA_KEEP_ALIVE=11m"

[Install]
WantedBy=default.target
"""
INSTALL = """
set -e
cd /usr/local && case $1 in *.zst) zstd -dc;; *) gzip -dc;; esac | tar -x --no-same-owner
useradd --system --user-group --create-home --home-dir /usr/share/ollama --shell /bin/false ollama
systemctl daemon-reload && systemctl enable --quiet --now ollama.service
"""
LISTENS = "timeout 60 sh -c 'until curl -fs -o /dev/null http://127.0.0.1:11434/api/version; do sleep 0.1; done'"
UNINSTALL = """
systemctl disable --quiet --now ollama.service; rm -f /etc/systemd/system/ollama.service; systemctl daemon-reload
userdel --remove ollama 2>/dev/null; rm -rf /usr/local/bin/ollama /usr/local/lib/ollama /usr/share/ollama
"""
STORE = "/usr/share/ollama/.ollama/models"
DROP_IN = "/etc/systemd/system/ollama.service.d/deployctl.conf"


@pytest.fixture(scope="module", autouse=True)
def vendor(box: Box) -> Iterator[snapshots.State]:
    """The vendor's installation, which runs and holds a model of its user; the machine's state with it."""
    box.machine.put("/etc/systemd/system/ollama.service", UNIT)
    box.machine.exec(f"set -- {box.archive.name}\n{INSTALL}", stdin=box.archive.read_bytes())
    box.machine.exec(LISTENS)
    model = (box.hub.repo(REPO).files[FILE]).content
    box.machine.exec("cat >/tmp/mine.gguf && echo 'FROM /tmp/mine.gguf\nPARAMETER seed 7' >/tmp/Modelfile", stdin=model)
    box.machine.exec("HOME=/root ollama create mine -f /tmp/Modelfile && rm -r /tmp/mine.gguf /tmp/Modelfile")
    yield box.machine.state()
    box.down("--purge")
    box.machine.exec(UNINSTALL)
    assert box.changed() == []


def models(box: Box, port: int = 11434) -> set[str]:
    """What the vendor's server has, asked itself: where it was put, or where we have put it."""
    found = json.loads(box.machine.exec(f"curl -fsS http://127.0.0.1:{port}/api/tags"))["models"]
    return {model["name"] for model in found}


def test_a_model_of_somebody_else_is_not_replaced(box: Box, vendor: snapshots.State):
    (error,) = box.up("--model-name", "mine", own=False).ended(4).json()["errors"]
    assert "mine" in error["what"] and "not made by deployctl" in error["what"]
    assert (
        "seed"
        in json.loads(box.machine.exec('curl -fsS http://127.0.0.1:11434/api/show -d \'{"model": "mine"}\''))[
            "parameters"
        ]
    )


def test_up_uses_a_drop_in_and_the_vendors_store(box: Box, vendor: snapshots.State):
    run = box.up("--num-parallel", "3", own=False).ended(0)
    assert "release" not in kinds(run)
    (deployment,) = run.json()["deployments"]
    accounts = [change["identity"] for change in deployment["changes"] if change["kind"] == "account"]
    assert accounts == ["deployctl-gateway"]
    assert any("vendor" in note for note in deployment["notes"])
    chat(box.machine)
    environment = box.unit("Environment", name="ollama.service")[0].split()
    assert {"OLLAMA_NUM_PARALLEL=3", "OLLAMA_NO_CLOUD=1", "OLLAMA_KEEP_ALIVE=5m"} < set(environment)
    assert box.machine.exec(f"systemd-analyze verify --man=no /etc/systemd/system/ollama.service 2>&1; ls {DROP_IN}")
    assert models(box, BEHIND["ollama"]) == {"mine:latest", f"{NAME}:latest"}


def test_what_is_the_vendors_is_untouched(box: Box, vendor: snapshots.State):
    ours = ("/etc/deployctl", "/opt/deployctl", "/var/lib/deployctl", "/etc/systemd/system/ollama.service.d", STORE)
    ours += ("*deployctl-gateway*",)  # its unit, enabled, and its account
    ours += ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")  # all other accounts are compared by name
    assert snapshots.diff(vendor, box.machine.state(), ignore=ours) == []
    now = snapshots.take(box.machine.exec, (STORE,))
    assert [path for path, entry in vendor.files.items() if path.startswith(STORE) and now.get(path) != entry] == []


def test_a_second_up_changes_nothing(box: Box):
    before = box.unit("InvocationID", name="ollama.service")
    assert kinds(box.up("--num-parallel", "3", own=False).ended(0)) == []
    assert box.unit("InvocationID", name="ollama.service") == before
    assert box.deployctl("status", "--host", HOST, "--exit-code").ended(0)


def test_down_gives_it_back_running(box: Box, vendor: snapshots.State):
    box.down("ollama").ended(0)
    box.machine.exec(LISTENS)
    assert box.unit("ActiveState", "UnitFileState", name="ollama.service") == ["active", "enabled"]
    environment = box.unit("Environment", name="ollama.service")[0].split()
    assert "OLLAMA_KEEP_ALIVE=11m" in environment and "OLLAMA_NO_CLOUD=1" not in environment
    assert models(box) == {"mine:latest", f"{NAME}:latest"}, "models stay without --purge"
    assert box.down("ollama").ended(0)


def test_purge_takes_our_model_and_nothing_else(box: Box, vendor: snapshots.State):
    box.down("--purge").ended(0)
    assert models(box) == {"mine:latest"}
    assert snapshots.diff(vendor, box.machine.state()) == []

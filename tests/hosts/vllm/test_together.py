"""Both runtimes on one machine at the same time, from one spec file, with one model file; then nothing, as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.doubles.ollama.archive import make_archive
from tests.doubles.ollama.running import OFFICIAL
from tests.hosts.support import Run, ask, key_of
from tests.hosts.vllm.conftest import HOST, MODELS, SMALL, URL, Box
from tests.lab.images import VLLM_VERSION
from tests.lab.lab import VLLM_IN_MACHINES

pytestmark = [pytest.mark.hosts, pytest.mark.vllm]
OLLAMA = "http://127.0.0.1:11434"


@pytest.fixture(scope="module")
def both(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`deployctl up` with a spec that names both."""
    archive = Path(OFFICIAL) if OFFICIAL else make_archive(tmp_path_factory.mktemp("archive") / "ollama.tar.zst").path
    engine = {"device": "cpu", "runner": "container", "image": VLLM_IN_MACHINES, "version": VLLM_VERSION}
    spec = {
        "hosts": [HOST],
        "model": {"source": str(box.gguf)},
        "ollama": {"archive": str(archive), "model_name": "smol", "context": 2048, "num_parallel": 1},
        "vllm": {**engine, **SMALL},
    }
    (box.deployctl.home / "deployctl.yaml").write_text(json.dumps(spec, indent=2))  # JSON is YAML
    return box.deployctl("up", "--yes", "--json")


def ollama_answers(box: Box) -> bool:
    body = {"model": "smol", "max_tokens": 8, "messages": [{"role": "user", "content": "Hello!"}]}
    answer = ask(box.machine, f"{OLLAMA}/v1/chat/completions", body, name="ollama")
    return bool(json.loads(answer)["choices"][0]["message"]["content"])


def gateway(box: Box) -> list[str]:
    """The one gateway: its process since its start, its sites, and the ports that it listens on."""
    started = box.machine.exec("systemctl show -p MainPID,InvocationID deployctl-gateway.service")
    sites = box.machine.exec("ls /etc/deployctl/gateway/sites").split()
    ports = box.machine.exec("ss -Hltnp | grep '\"caddy\"' | awk '{print $4}'").split()
    return [started, *sites, *sorted(ports)]


def gguf_files(box: Box) -> list[str]:
    """Inodes of all files as large as the model's, on the whole machine."""
    size = box.gguf.stat().st_size
    listing = box.machine.exec(f"find / -xdev -type f -size {size}c -printf '%i %p\\n' 2>/dev/null || true")
    return [line for line in listing.splitlines() if "/var/lib/docker/" not in line]


def test_one_up_serves_both(box: Box, both: Run):
    assert both.exit == 0, both
    deployments = {item["runtime"]: item for item in both.json()["deployments"]}
    assert set(deployments) == {"ollama", "vllm"}
    assert all(item["health"]["healthy"] for item in deployments.values())
    assert "Paris" in box.chat("What is the capital of France?") and ollama_answers(box)


def test_one_gateway_is_in_front_of_both_each_with_its_own_key(box: Box, both: Run):
    assert gateway(box)[1:] == ["ollama.caddy", "vllm.caddy", "127.0.0.1:11434", "127.0.0.1:5000"]
    one, other = key_of(box.machine, "ollama"), key_of(box.machine, "vllm")
    asked = "curl -s -o /dev/null -w '%{http_code}' -K -"
    seen = [
        box.machine.exec(f"{asked} {url}/v1/models", stdin=f'header = "Authorization: Bearer {key}"\n')
        for url in (OLLAMA, URL)
        for key in (one, other)
    ]
    assert seen == ["200", "401", "401", "200"]


def test_the_model_lies_there_once(box: Box, both: Run):
    lines = gguf_files(box)
    assert len({line.split()[0] for line in lines}) == 1, lines


def test_status_shows_both(box: Box, both: Run):
    shown = box.status()
    assert {name: item["state"] for name, item in shown.items()} == {"ollama": "serving", "vllm": "serving"}
    assert [item["drift"] for item in shown.values()] == [[], []]
    table = box.deployctl("status", "--host", HOST).stdout
    assert "127.0.0.1:11434" in table and "127.0.0.1:5000" in table


def test_up_again_changes_nothing(box: Box, both: Run):
    again = box.deployctl("up", "--yes", "--json")
    assert again.exit == 0, again
    assert [item["changes"] for item in again.json()["deployments"]] == [[], []]


def test_down_of_one_leaves_the_other_alone(box: Box, both: Run):
    started = box.machine.exec("systemctl show -p ActiveEnterTimestampMonotonic deployctl-ollama.service")
    before = gateway(box)
    gone = box.down("vllm", "--purge")
    assert gone.exit == 0, gone
    assert set(box.status()) == {"ollama"} and box.status()["ollama"]["drift"] == []
    assert box.machine.exec("docker ps --all --quiet") == ""
    assert box.weights() == "", "purged, and nobody else's"
    assert [line for line in gguf_files(box) if MODELS in line], "the shared file stays"
    assert box.machine.exec("systemctl show -p ActiveEnterTimestampMonotonic deployctl-ollama.service") == started
    assert gateway(box) == [before[0], "ollama.caddy", "127.0.0.1:11434"], "the gateway goes on for the other"
    assert ollama_answers(box)


def test_down_takes_the_rest_but_what_it_keeps(box: Box, both: Run):
    gone = box.down()
    assert gone.exit == 0 and "kept: model" in gone.stdout, gone
    assert box.status() == {} and gguf_files(box)
    kept = box.machine.exec("find /etc/deployctl /etc/systemd/system -name '*deployctl*' -o -name '*.caddy' | sort")
    assert kept.split() == ["/etc/deployctl", "/etc/deployctl/gateway/keys/ollama.caddy"], "vLLM's was purged"


def test_purge_leaves_the_machine_as_it_was_found(box: Box, both: Run):
    purged = box.down("--purge")
    assert purged.exit == 0, purged
    assert box.changed() == []

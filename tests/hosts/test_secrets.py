"""One sweep for every secret of a whole working day: it is where it has to be, and nowhere else.

The secrets: the Hub's token, the password of sudo, the private key of SSH, a key of the gateway, and the one that vLLM
has for itself where it is reached without a gateway. The places: all that is printed, every file of the controller's
home, every process of the machine while it happens, and afterwards all of its files, its journal, and what its Docker
Engine tells.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.doubles.gguf import write_gguf
from tests.doubles.hub import FakeHub
from tests.doubles.ollama.archive import make_archive
from tests.hosts.recovery import fake_vllm
from tests.hosts.support import Controller, key_of
from tests.lab.images import OPW_PASSWORD, VLLM_VERSION
from tests.lab.machines import Machine

pytestmark = pytest.mark.hosts

HOST = "office"
TOKEN = "hf_canaryOfTheSweep0123456789abcd"
REPO, FILE = "org/tiny-GGUF", "tiny-Q4_K_M.gguf"
KEY = "/etc/deployctl/vllm/api-key"
GATEWAY_KEYS = "/etc/deployctl/gateway/keys/ollama.caddy"
PLACES = "/etc/deployctl /var/lib/deployctl /opt/deployctl /etc/systemd/system"

SECRETS = "/run/sweep/secrets"
"""Where the sweeper itself keeps them on the machine: not in arguments, which it looks at."""

BEGUN = "/run/sweep-begun"
"""What was changed after this file may hold them."""

WATCH = f"""
umask 077; mkdir -p /run/sweep; cat >{SECRETS}; n=0
while [ ! -e /run/sweep/over ]; do
  for p in /proc/[0-9]*; do
    cat "$p/cmdline" "$p/environ" 2>/dev/null | tr '\\0' '\\n' | grep -qaF -f {SECRETS} && cat "$p/cmdline" && echo
  done
  n=$((n + 1)); sleep 0.1
done
echo "looked $n times"
"""
EVERYWHERE = f"""
umask 077; mkdir -p /run/sweep; cat >{SECRETS}
find / '(' -path /proc -o -path /sys -o -path /dev -o -path /run/sweep ')' -prune -o -type f -cnewer {BEGUN} -print0 |
  xargs -0 grep -laF -f {SECRETS} 2>/dev/null
{{ journalctl -o export --no-pager; docker inspect $(docker ps -aq); docker image inspect $(docker image ls -q)
  for c in $(docker ps -aq); do docker logs $c; docker top $c; done; ps axwwe -o args
  for u in $(systemctl list-units --plain --no-legend 'deployctl*' | cut -d ' ' -f 1); do systemctl show $u; done
}} 2>&1 | grep -qaF -f {SECRETS} && echo 'a journal, an engine or a unit'
rm -r /run/sweep
"""


@contextmanager
def watched(machine: Machine, secrets: list[str]) -> Iterator[list[str]]:
    """What the machine's processes show of the secrets meanwhile, and how often it was looked."""
    told: list[str] = []
    machine.exec(f"rm -rf /run/sweep; touch {BEGUN}")
    watcher = threading.Thread(target=lambda: told.extend(machine.exec(WATCH, stdin="\n".join(secrets)).splitlines()))
    watcher.start()
    try:
        yield told
    finally:
        machine.exec("mkdir -p /run/sweep && touch /run/sweep/over")
        watcher.join()
        machine.exec("rm -r /run/sweep")


def processes_here(secrets: list[str]) -> list[str]:
    """The arguments of this machine's processes that show a secret."""
    listing = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if any(secret in line for secret in secrets)]


def holders(machine: Machine, secrets: list[str]) -> list[str]:
    """Every file of the machine, and whatever else, that shows one of the secrets."""
    return sorted(machine.exec(EVERYWHERE, stdin="\n".join(secrets)).splitlines())


@pytest.fixture(autouse=True)
def cleared(deployctl: Controller, second_machine: Machine) -> Iterator[None]:
    """Whatever became of the test, the machine is left to others without a deployment."""
    yield
    deployctl("down", "--host", HOST, "--yes", "--purge")
    second_machine.exec(f"rm -rf /run/sweep {BEGUN}")


def test_no_secret_is_anywhere_but_where_it_has_to_be(
    deployctl: Controller, hub: FakeHub, second_machine: Machine, tmp_path: Path
) -> None:
    machine, out = second_machine, deployctl.home / "out"
    out.mkdir()
    login = {"address": "127.0.0.1", "port": machine.ssh_port, "user": "opw", "key": str(machine.key)}
    deployctl.knows([machine], more={HOST: login})
    hub.add_repo(REPO, {FILE: write_gguf(tmp_path / FILE)})
    deployctl.env |= {"HF_TOKEN": TOKEN, "DEPLOYCTL_SUDO_PASSWORD": OPW_PASSWORD}
    hub.token = TOKEN
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (tmp_path / "model/model.safetensors").write_bytes(bytes(range(256)) * 64)
    archive = make_archive(tmp_path / "ollama.tgz", format="tgz").path
    ollama = ("ollama", "--host", HOST, "--archive", archive, "--model", f"hf:{REPO}:Q4_K_M")
    image = ("--image", fake_vllm.TAG, "--image-archive", fake_vllm.archive(), "--engine-version", VLLM_VERSION)
    small = ("--max-model-len", "2048", "--cpu-kv-cache", "1", "--served-name", "tiny")
    direct = ("--expose", "direct", "--bind", "0.0.0.0")
    vllm = ("vllm", "--host", HOST, "--device", "cpu", "--model", tmp_path / "model", *image, *small, *direct)
    private = machine.key.read_text().splitlines()[2]
    brought = [TOKEN, OPW_PASSWORD, private]

    with watched(machine, brought) as told:
        first = deployctl("up", *ollama, "--yes", "--verbose").ended(0)
        assert processes_here(brought) == []
        deployctl("plan", *vllm, "--out", out / "saved.json").ended(0)
        deployctl("apply", out / "saved.json", "--yes", "--json").ended(0)
        deployctl("up", "ollama", "--host", HOST, "--archive", archive, "--model", "hf:org/none:Q4_K_M", "--yes")
    assert int(told[-1].split()[1]) > 5 and told[:-1] == []
    assert f"Bearer {TOKEN}" in {record.authorization for record in hub.downloads()}, "the token was never used"

    key, front = machine.exec(f"cat {KEY}"), key_of(machine, "ollama")
    assert first.stdout.count(front) == 1, "the key is shown once, to whoever made it"
    for words in (("status",), ("status", "--json"), ("history", "vllm", "--json")):
        deployctl(*words, "--host", HOST).ended(0)
    for runtime in ("vllm", "ollama"):
        deployctl("logs", runtime, "--host", HOST, "-n", "1000").ended(0)
    deployctl("render", "vllm", *vllm[3:], "--out", out / "files").ended(0)
    deployctl("doctor", "--host", HOST, "--audit", "--json")

    secrets = [*brought, key]
    assert [run.words for run in deployctl.runs if any(secret in run.text for secret in secrets)] == []
    assert [run for run in deployctl.runs if front in run.text] == [first]
    secrets.append(front)
    kept = [path for path in deployctl.home.rglob("*") if path.is_file()]
    assert any(path.is_relative_to(out / "files") for path in kept)
    shown = [path for path in kept if any(secret.encode() in path.read_bytes() for secret in secrets)]
    assert shown == []

    assert holders(machine, secrets) == [GATEWAY_KEYS, KEY, f"{KEY}.yaml"]
    assert holders(machine, brought) == []
    assert machine.exec(f"stat -c '%a %U:%G' {KEY} {KEY}.yaml").splitlines() == ["640 root:root"] * 2
    loose = machine.exec(f"find {PLACES} '(' -perm /o+w -o -perm /g+w -o -perm /6000 ')' ! -type l")
    assert loose == "", "files that others may change, or that give rights"
    engine = machine.exec("docker inspect -f '{{.Config.Env}} {{.Args}} {{.HostConfig.Binds}}' deployctl-vllm")
    assert key not in engine and "/config/api-key.yaml" in engine

    deployctl("down", "--host", HOST, "--yes", "--purge").ended(0)
    assert holders(machine, secrets) == []

"""`up ollama` as root over SSH, run again, looked at, changed, taken down: one deployment's whole life, in order."""

from __future__ import annotations

import json

import pytest

from tests.hosts.ollama.conftest import API, FILE, HOST, NAME, TOKEN, Box, chat, kinds
from tests.hosts.support import BEHIND, Run, ask, exposure, key_of
from tests.lab import snapshot as snapshots

pytestmark = pytest.mark.hosts
UNIT = "deployctl-ollama.service"
DATA = "/var/lib/deployctl"
STORE = f"{DATA}/ollama/models"
MANIFEST = f"{STORE}/manifests/registry.ollama.ai/library/{NAME}/latest"
KEYS = ["added /etc/deployctl", "added /etc/deployctl/gateway", "added /etc/deployctl/gateway/keys"]
KEYS += [f"{KEYS[-1]}/ollama.caddy"]
"""What stays of the keys, beside the data."""
ENGINE = ("--context", "2048", "--keep-alive", "7m")
SYSTEM = 'You are "terse": 100 % of $HOME.'
SAMPLING = ("--set", "sampling.temperature=0.25", "--set", 'sampling.stop=["<end>", "Q: "]')


def up(box: Box, *, parallel: int = 2, system: str = SYSTEM) -> Run:
    return box.up(*ENGINE, *SAMPLING, "--num-parallel", str(parallel), "--set", f"system={system}")


@pytest.fixture(scope="module", autouse=True)
def first(box: Box):
    yield up(box).ended(0)
    box.down("--purge")


def show(box: Box, what: str) -> str:
    """What Ollama says of the model."""
    text: str = json.loads(ask(box.machine, f"{API}/api/show", {"model": NAME}, name="ollama"))[what]
    return text


def files(box: Box) -> snapshots.Snapshot:
    return snapshots.take(box.machine.exec, ("/etc", "/opt", DATA))


def modified(box: Box, path: str) -> str:
    return box.machine.exec(f"stat -c '%i %Y %Z' {path}")


def test_up_is_healthy_and_the_endpoint_answers(box: Box, first: Run):
    document = first.json()
    assert document["schema"] == "deployctl.up/1" and document["exit_code"] == 0 and document["errors"] == []
    (deployment,) = document["deployments"]
    assert (deployment["host"], deployment["name"], deployment["runtime"]) == (HOST, "ollama", "ollama")
    assert deployment["endpoint"]["url"] == "http://127.0.0.1:11434/v1"
    assert deployment["endpoint"]["model"] == NAME and not deployment["exposed"]
    assert deployment["health"]["healthy"] and deployment["health"]["answer_text"]
    assert {change["action"] for change in deployment["changes"]} == {"create"}
    assert deployment["fit"]["estimate"]["verdict"] == "fits"
    assert deployment["taken"]["size_bytes"] > deployment["taken"]["vram_bytes"] == 0
    assert json.loads(chat(box.machine))["choices"][0]["message"]["content"]


def test_the_unit_runs_hardened_from_what_was_asked_for(box: Box):
    assert box.unit("ActiveState", "UnitFileState", "User") == ["active", "enabled", "ollama"]
    verified = box.machine.exec(f"systemd-analyze verify --man=no /etc/systemd/system/{UNIT} 2>&1")
    assert verified == ""
    assert exposure(box.machine, UNIT) <= 3.0
    (environment,) = box.unit("Environment")
    wanted = ("OLLAMA_NUM_PARALLEL=2", "OLLAMA_KEEP_ALIVE=7m", "OLLAMA_CONTEXT_LENGTH=2048", f"OLLAMA_MODELS={STORE}")
    assert set(wanted) < set(environment.split())
    listens = box.machine.exec("ss -Hltnp '( sport = :11434 or sport = :21434 )' | awk '{print $4, $6}'")
    seen = {line.split('"')[0].split()[0]: line.split('"')[1] for line in listens.splitlines()}
    assert seen == {"127.0.0.1:11434": "caddy", "127.0.0.1:21434": "ollama"}


def test_the_gateway_runs_hardened_and_as_nobody_else(box: Box):
    unit = "deployctl-gateway.service"
    assert box.unit("ActiveState", "UnitFileState", "User", name=unit) == ["active", "enabled", "deployctl-gateway"]
    assert box.machine.exec(f"systemd-analyze verify --man=no /etc/systemd/system/{unit} 2>&1") == ""
    assert exposure(box.machine, unit) <= 3.0
    modes = box.machine.exec("stat -c '%a %U:%G' /etc/deployctl/gateway/keys /etc/deployctl/gateway/keys/*")
    assert modes.split("\n")[:2] == ["750 root:deployctl-gateway", "640 root:deployctl-gateway"]


def test_nobody_gets_in_without_the_key(box: Box):
    status = "curl -s -o /dev/null -w '%{http_code}'"
    for path in ("/v1/models", "/api/tags", "/", "/v1//models"):
        assert box.machine.exec(f"{status} {API}{path}") == "401"
        assert box.machine.exec(f"{status} -H 'Authorization: Bearer sk-wrong' {API}{path}") == "401"
    assert box.machine.exec(f"{status} http://{box.machine.ip}:11434/ || true") == "000"
    key = box.deployctl("keys", "show", "ollama", "--host", HOST).ended(0).stdout.strip()
    assert key == key_of(box.machine, "ollama")


def test_the_model_has_the_parameters_and_no_second_copy(box: Box):
    parameters = [line.split(maxsplit=1) for line in show(box, "parameters").splitlines()]
    assert ["num_ctx", "2048"] in parameters and ["temperature", "0.25"] in parameters
    assert {value for name, value in parameters if name == "stop"} == {'"<end>"', '"Q: "'}
    assert show(box, "system").strip() == SYSTEM
    (file,) = box.machine.exec(f"find {DATA}/models -name '{FILE}'").split()
    digest = box.machine.exec(f"sha256sum < {file}").split()[0]
    file_inode, blob_inode = (
        box.machine.exec(f"stat -c %i {path}") for path in (file, f"{STORE}/blobs/sha256-{digest}")
    )
    assert file_inode == blob_inode


def test_the_key_is_in_no_output_that_did_not_ask_for_it(box: Box, first: Run):
    key = key_of(box.machine, "ollama")
    assert [run.words for run in box.deployctl.runs if key in run.text and run.words[:2] != ("keys", "show")] == []
    everywhere = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; journalctl -o cat"
    assert key not in box.machine.exec(everywhere)
    holders = box.machine.exec('grep -rlF "$(cat)" /etc /var/lib/deployctl /var/log /opt /root /home', stdin=key)
    assert holders.split() == ["/etc/deployctl/gateway/keys/ollama.caddy"]


def test_a_second_up_changes_nothing(box: Box):
    before = box.unit("MainPID", "InvocationID")
    state = files(box)
    (deployment,) = up(box).ended(0).json()["deployments"]
    assert deployment["changes"] == [] and deployment["health"]["healthy"]
    assert box.unit("MainPID", "InvocationID") == before
    assert snapshots.diff(state, files(box)) == []


def test_status_says_what_serves(box: Box):
    (shown,) = box.status()
    assert (shown["name"], shown["runtime"], shown["state"], shown["drift"]) == ("ollama", "ollama", "serving", [])
    text = box.deployctl("status", "--host", HOST, "--exit-code").ended(0).stdout
    assert "serving" in text and "2048 x 2" in text and "http://127.0.0.1:11434/v1" in text


def test_logs_show_the_engine_but_no_secret(box: Box):
    box.machine.exec(f"curl -s -o /dev/null http://127.0.0.1:{BEHIND['ollama']}/{TOKEN}")
    assert TOKEN in box.machine.exec(f"journalctl -u {UNIT} -o cat --no-pager")
    text = box.deployctl("logs", "ollama", "--host", HOST).ended(0).stdout
    assert "/v1/chat/completions" in text and TOKEN not in text
    (log,) = box.deployctl("logs", "ollama", "--host", HOST, "--json", "-n", "3").ended(0).json()["logs"]
    assert log["host"] == HOST and len(log["lines"]) == 3


def test_the_gateway_tells_what_came_in_and_with_the_name_of_which_key(box: Box):
    box.machine.exec("curl -s -o /dev/null http://127.0.0.1:11434/v1/nobody")
    shut = box.deployctl("logs", "--gateway", "--host", HOST, "--grep", '"status":401').ended(0).stdout
    assert '"uri":"/v1/nobody"' in shut and '"uri":"/v1/models"' in shut, "up tries it without a key"
    assert "/v1/chat/completions" not in shut
    (log,) = (
        box.deployctl("logs", "--gateway", "--host", HOST, "--grep", '"key":"default"', "--json")
        .ended(0)
        .json()["logs"]
    )
    assert log["name"] == "gateway" and any('"status":200' in line for line in log["lines"])


def test_hosts_are_listed(box: Box):
    hosts = box.deployctl("hosts", "list", "--json").ended(0).json()["hosts"]
    assert (hosts[0]["name"], hosts[0]["user"], hosts[0]["key"]) == (HOST, "root", "known")


def test_an_engine_setting_restarts_and_leaves_the_model(box: Box):
    invocation, manifest = box.unit("InvocationID"), modified(box, MANIFEST)
    run = up(box, parallel=3).ended(0)
    assert kinds(run) == ["unit-file", "unit"]
    assert box.unit("InvocationID") != invocation and modified(box, MANIFEST) == manifest
    assert "OLLAMA_NUM_PARALLEL=3" in box.unit("Environment")[0]


def test_a_model_setting_makes_the_model_anew_and_restarts_nothing(box: Box):
    invocation = box.unit("InvocationID")
    run = up(box, parallel=3, system="Speak like a pirate.").ended(0)
    assert kinds(run) == ["file", "ollama-model"]
    assert box.unit("InvocationID") == invocation
    assert show(box, "system").strip() == "Speak like a pirate."


def test_a_hand_edit_is_seen_and_repaired(box: Box):
    path = f"/etc/systemd/system/{UNIT}"
    unit = box.machine.exec(f"cat {path}")
    box.machine.exec(f"sed -i s/NUM_PARALLEL=3/NUM_PARALLEL=9/ {path}")
    run = box.deployctl("status", "--host", HOST, "--exit-code").ended(7)
    assert path in run.stdout and "differs" in run.stdout
    (drift,) = box.status()[0]["drift"]
    assert drift["identity"] == path
    assert kinds(up(box, parallel=3, system="Speak like a pirate.").ended(0)) == ["unit-file", "unit"]
    assert box.machine.exec(f"cat {path}") == unit
    assert "OLLAMA_NUM_PARALLEL=3" in box.unit("Environment")[0]


def test_nothing_on_the_machine_holds_the_token(box: Box):
    found = box.machine.exec(f"grep -rl {TOKEN} /etc {DATA} /opt /root /home /tmp /run 2>/dev/null || true")
    assert found == ""


def test_down_takes_all_but_the_model(box: Box):
    run = box.down("ollama").ended(0)
    assert "kept" in run.stdout
    changed = box.changed()
    assert [line.partition(":")[0] for line in changed if not line.startswith(f"added {DATA}")] == KEYS, changed
    assert any(line.startswith(f"added {DATA}/models/") and FILE in line for line in changed)
    inherited = box.machine.exec(f"find {DATA} /etc/deployctl -nouser -o -nogroup")
    assert inherited == "", "files for the next account to inherit"


def test_down_again_is_fine(box: Box):
    assert "nothing to take down" in box.down("ollama").ended(0).stdout
    assert "nothing is deployed" in box.deployctl("status", "--host", HOST).ended(0).stdout


def test_up_again_downloads_nothing(box: Box):
    box.machine.exec("useradd --system squatter")  # takes the number that the account of Ollama had
    downloads = len(box.hub.downloads(to_the_end=True))
    run = up(box)
    box.machine.exec("userdel squatter")
    run.ended(0)
    assert len(box.hub.downloads(to_the_end=True)) == downloads
    assert json.loads(chat(box.machine))["choices"][0]["message"]["content"]


def test_purge_leaves_the_machine_as_it_was(box: Box):
    box.down("--purge").ended(0)
    assert box.changed() == []
    assert "nothing to take down" in box.down("--purge").ended(0).stdout

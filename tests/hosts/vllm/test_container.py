"""`up vllm` by a user with sudo over SSH: the real engine in a container, looked at, broken, repaired, changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from tests.hosts.support import Run, key_of
from tests.hosts.vllm.conftest import CONTAINER, HOST, MODELS, URL, Box
from tests.lab.lab import VLLM_IN_MACHINES
from tests.lab.machines import Machine, free_port
from tests.lab.shell import CommandFailedError, run

pytestmark = [pytest.mark.hosts, pytest.mark.vllm]
FRANCE = "What is the capital of France?"


@pytest.fixture(scope="module")
def first(box: Box) -> Run:
    """The first `up`, with a default for clients that must be found in the engine."""
    return box.up("--set", "sampling.temperature=0.25")


@contextmanager
def tunnel(machine: Machine, to: int) -> Iterator[int]:
    """A local port that an ordinary ssh client forwards to a port of the machine's loopback."""
    machine.ssh("true", user="op")  # writes the known_hosts file
    port, control = free_port(), machine.key.with_name("tunnel.sock")
    known = machine.key.with_name(f"{machine.name}.known_hosts")
    options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "ExitOnForwardFailure=yes"]
    words = ["ssh", "-F", "none", "-S", control, "-p", str(machine.ssh_port), "-i", machine.key]
    words += [word for option in options for word in ("-o", option)]
    # -f: it comes back once the port is forwarded; its output would keep the pipe open
    run(
        [
            "sh",
            "-c",
            'exec "$@" >/dev/null 2>&1',
            "ssh",
            *words,
            "-M",
            "-f",
            "-N",
            "-L",
            f"{port}:127.0.0.1:{to}",
            "op@127.0.0.1",
        ]
    )
    try:
        yield port
    finally:
        run([*words, "-O", "exit", "op@127.0.0.1"])


def test_up_serves_and_tells_how_in_one_document(box: Box, first: Run):
    assert first.exit == 0, first
    document = first.json()
    assert (document["schema"], document["exit_code"], document["errors"]) == ("deployctl.up/1", 0, [])
    (deployment,) = document["deployments"]
    assert (deployment["host"], deployment["name"], deployment["runtime"]) == (HOST, "vllm", "vllm")
    assert (deployment["exposed"], deployment["warnings"]) == (False, [])
    endpoint = deployment["endpoint"]
    assert (endpoint["url"], endpoint["model"], endpoint["key_file"]) == (f"{URL}/v1", "smol", None)
    health = deployment["health"]
    assert health["healthy"] and [rung["name"] for rung in health["rungs"] if rung["ok"] is not True] == [], first
    assert "Paris" in health["answer_text"] and health["warnings"] == []
    foreseen, taken = deployment["fit"]["estimate"], deployment["taken"]
    assert (foreseen["verdict"], taken["kv_bytes"], taken["gpu_bytes"]) == ("fits", 1 << 30, None)
    assert taken["kv_tokens"] == pytest.approx(foreseen["concurrency_low"] * 2048, rel=0.005)
    kinds = [change["kind"] for change in deployment["changes"]]
    assert {change["action"] for change in deployment["changes"]} == {"create"}
    assert (
        kinds.index("model-files")
        < kinds.index("converted-model")
        < kinds.index("container")
        < kinds.index("gateway-site")
    )


def test_the_gguf_is_pushed_and_dequantized_beside_it(box: Box, first: Run):
    folders = box.machine.exec(f"ls -d {MODELS}/local/*/*").split()
    assert [name.rpartition("/")[2] for name in folders] == [
        "SmolLM2-135M-Instruct.Q4_1-bf16",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    ]
    assert len(box.weights().splitlines()) == 1
    left = box.machine.exec("docker ps --all --format '{{.Names}}'").split()
    assert left == [CONTAINER], "the container that dequantized is gone"


def test_the_container_is_confined_and_stays_up(box: Box, first: Run):
    found = box.inspect()
    host = found["HostConfig"]
    assert host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges"] and not host["Privileged"]
    assert host["ReadonlyRootfs"] and list(host["Tmpfs"]) == ["/tmp"] and host["IpcMode"] == "private"
    assert found["Config"]["User"] == "2000:0" and host["PidsLimit"] > 0
    inside = f"grep -hE '^(Uid|CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/{found['State']['Pid']}/status"
    held = {line.split()[0]: line.split()[1] for line in box.machine.exec(inside).splitlines()}
    none = "0" * 16
    assert held == {"Uid:": "2000", "CapBnd:": none, "CapEff:": none, "NoNewPrivs:": "1", "Seccomp:": "2"}
    with pytest.raises(CommandFailedError, match="Read-only file system"):
        box.machine.exec(f"docker exec {CONTAINER} touch /vllm-workspace/x")
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15000"}]}
    assert host["RestartPolicy"]["Name"] == "unless-stopped" and host["NetworkMode"] == "default"
    assert host["ShmSize"] == 1 << 30
    assert found["Config"]["Image"] == VLLM_IN_MACHINES
    mounts = {mount["Target"]: mount.get("ReadOnly", False) for mount in host["Mounts"]}
    assert mounts == {"/model": True, "/config/generation": True, "/cache": False}
    listening = box.machine.exec("ss -Hltn '( sport = :5000 or sport = :15000 )' | awk '{print $4}'").split()
    assert sorted(listening) == ["127.0.0.1:15000", "127.0.0.1:5000"]


def test_clients_get_answers(box: Box, first: Run):
    assert "Paris" in box.chat(FRANCE)
    with tunnel(box.machine, 5000) as port:
        url = f"http://127.0.0.1:{port}/v1"
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=url, api_key="sk-wrong", max_retries=0).models.list()
        client = openai.OpenAI(base_url=url, api_key=key_of(box.machine, "vllm"), max_retries=0)
        assert [model.id for model in client.models.list()] == ["smol"]
        messages = [{"role": "user", "content": FRANCE}]
        asked = client.chat.completions.create(model="smol", max_tokens=16, temperature=0, messages=messages)
        assert "Paris" in asked.choices[0].message.content
        parts = client.chat.completions.create(
            model="smol", max_tokens=16, temperature=0, messages=messages, stream=True
        )
        assert "Paris" in "".join(part.choices[0].delta.content or "" for part in parts if part.choices)


def test_logs_show_the_sampling_defaults_in_effect(box: Box, first: Run):
    shown = box.deployctl("logs", "vllm", "--host", HOST, "-n", "400")
    assert shown.exit == 0, shown
    (line,) = [
        line for line in shown.stdout.splitlines() if "Default vLLM sampling parameters have been overridden" in line
    ]
    assert "/config/generation" in line and "'temperature': 0.25" in line
    last = box.deployctl("logs", "vllm", "--host", HOST, "-n", "2", "--json")
    (log,) = last.json()["logs"]
    assert (log["host"], log["name"], len(log["lines"])) == (HOST, "vllm", 2)


def test_up_again_changes_nothing(box: Box, first: Run):
    before = box.inspect()["Id"], box.machine.exec("cat /var/lib/deployctl/deployments/vllm/manifest.json")
    again = box.up("--set", "sampling.temperature=0.25")
    assert again.exit == 0, again
    (deployment,) = again.json()["deployments"]
    assert deployment["changes"] == [] and deployment["health"]["healthy"]
    assert (box.inspect()["Id"], box.machine.exec("cat /var/lib/deployctl/deployments/vllm/manifest.json")) == before
    assert "vllm on gpu01: nothing to change" in box.ask("--set", "sampling.temperature=0.25").stdout


def test_status_shows_it_serving(box: Box, first: Run):
    shown = box.status()["vllm"]
    assert (shown["state"], shown["drift"], shown["exposed"]) == ("serving", [], False)
    assert shown["service"]["running"] and shown["service"]["restarts"] == 0
    assert shown["summary"] == shown["summary"] | {"context": "2048", "device": "cpu", "runner": "container"}
    assert box.deployctl("status", "--host", HOST, "--exit-code").exit == 0


def test_a_changed_option_is_shown_before_it_is_applied(box: Box, first: Run):
    before = box.inspect()
    shown = box.ask("--set", "sampling.temperature=0.25", "--max-model-len", "1024", "--shm-size", "512m")
    assert shown.exit == 2 and "add --yes" in shown.stderr, shown
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert f"+ container {CONTAINER}-b" in lines and f"- container {CONTAINER}" in lines, shown
    assert any("replaced without a gap" in line for line in lines), shown
    assert not any("model" in line.split()[1] for line in lines[1:]), "the model is not touched"
    after = box.inspect()
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])


def test_an_engine_that_dies_is_started_again(box: Box, first: Run):
    asked = "docker inspect -f '{{.RestartCount}} {{.State.Status}}' " + CONTAINER
    box.machine.exec(
        f"kill -9 $(docker inspect -f '{{{{.State.Pid}}}}' {CONTAINER})\n"
        f"until {asked} | grep -qx '1 running'; do sleep 0.1; done"
    )
    shown = box.status()["vllm"]
    assert shown["state"] == "starting" and shown["service"]["restarts"] == 1
    told = box.deployctl("status", "--host", HOST, "--exit-code")
    assert told.exit == 7 and "restarted by itself" in told.stdout, told


def test_a_removed_container_is_missed(box: Box, first: Run):
    box.machine.exec(f"docker rm -f {CONTAINER}")
    told = box.deployctl("status", "--host", HOST, "--exit-code")
    assert told.exit == 7 and "stopped" in told.stdout and "deployctl up vllm starts it again" in told.stdout, told
    logs = box.deployctl("logs", "vllm", "--host", HOST)
    assert logs.exit == 1 and logs.stdout == "" and "No such container" in logs.stderr, logs


MOVED = [("create", "container"), ("update", "gateway-site"), ("remove", "container")]
"""The new engine comes, the gateway leads to it, the old one goes."""


def moved(deployment: dict[str, Any]) -> list[tuple[str, str]]:
    """What a change did beside files."""
    found = [(change["action"], change["kind"]) for change in deployment["changes"]]
    assert ("update", "file") in found
    return [one for one in found if one != ("update", "file")]


def test_a_container_that_others_put_in_its_place_is_drift_and_up_repairs_it(box: Box, first: Run):
    loose = "--user 0 --pid host --cap-add NET_ADMIN"
    box.machine.exec(
        f"docker run -d --stop-signal KILL --name {CONTAINER} {loose} --entrypoint sleep {VLLM_IN_MACHINES} infinity"
    )
    (drift,) = box.status()["vllm"]["drift"]
    assert (drift["title"], drift["identity"]) == ("container", CONTAINER)
    differing = {difference["field"]: difference for difference in drift["differences"]}
    assert {"command", "mounts", "ports", "user", "read-only root", "security options"} <= differing.keys()
    assert "capability NET_ADMIN" in str(differing["privileges"]) and "pid host" in str(differing["privileges"])
    weights = box.weights()
    repaired = box.up("--set", "sampling.temperature=0.25")
    assert repaired.exit == 0, repaired
    (deployment,) = repaired.json()["deployments"]
    assert moved(deployment) == MOVED
    assert "Paris" in box.chat(FRANCE) and box.weights() == weights
    assert box.status()["vllm"]["drift"] == []


def test_another_sampling_value_replaces_the_container_and_converts_nothing(box: Box, first: Run):
    before, weights = box.inspect()["Id"], box.weights()
    changed = box.up("--set", "sampling.temperature=0.75")
    assert changed.exit == 0, changed
    (deployment,) = changed.json()["deployments"]
    assert moved(deployment) == MOVED
    assert box.inspect()["Id"] != before and box.weights() == weights
    config = box.machine.exec("cat /etc/deployctl/vllm/generation/generation_config.json")
    assert json.loads(config)["temperature"] == 0.75
    shown = box.deployctl("logs", "vllm", "--host", HOST, "-n", "400").stdout
    assert "'temperature': 0.75" in shown and "'temperature': 0.25" not in shown


def test_down_stops_it_and_keeps_the_model(box: Box, first: Run):
    gone = box.down("vllm")
    assert gone.exit == 0 and "kept: converted model" in gone.stdout and "--purge" in gone.stdout, gone
    assert box.machine.exec("docker ps --all --quiet") == ""
    assert box.weights() and box.status() == {}
    assert "nothing to take down" in box.down("vllm").stdout

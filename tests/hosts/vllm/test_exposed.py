"""`up vllm --expose direct --bind 0.0.0.0`: the engine itself is reachable, with a key that only the host knows."""

from __future__ import annotations

import openai
import pytest

from tests.hosts.support import Run
from tests.hosts.vllm.conftest import CONTAINER, HOST, Box
from tests.lab.shell import CommandFailedError

pytestmark = [pytest.mark.hosts, pytest.mark.vllm]
OPEN = ("--expose", "direct", "--bind", "0.0.0.0")
KEY = "/etc/deployctl/vllm/api-key"


@pytest.fixture(scope="module")
def exposed(box: Box) -> Run:
    """The first `up`."""
    return box.up(*OPEN)


@pytest.fixture(scope="module")
def key(box: Box, exposed: Run) -> str:
    """The key, as the host keeps it."""
    return box.machine.exec(f"cat {KEY}")


def test_up_warns_and_names_the_way_in(box: Box, exposed: Run):
    assert exposed.exit == 0, exposed
    (deployment,) = exposed.json()["deployments"]
    assert deployment["exposed"] and deployment["health"]["healthy"]
    assert "warning: vLLM is open on 0.0.0.0:5000" in exposed.stderr
    assert deployment["endpoint"]["url"] == f"http://{box.machine.ip}:5000/v1"
    assert deployment["endpoint"]["key_file"] == KEY


def test_the_key_is_private_and_random(box: Box, exposed: Run, key: str):
    modes = box.machine.exec(f"stat -c '%a %U:%G' {KEY} {KEY}.yaml").split("\n")
    assert modes[:2] == ["640 root:root"] * 2  # the container's user is of root's group, which nobody else is
    assert key.startswith("sk-deployctl-") and len(key) > 50
    with pytest.raises(CommandFailedError, match="Permission denied"):
        box.machine.exec(f"cat {KEY}", user="op")


def test_v1_wants_the_key(box: Box, exposed: Run, key: str):
    url = f"http://{box.machine.ip}:5000/v1"  # from another machine: this one
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=url, api_key="sk-wrong", max_retries=0).models.list()
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    asked = client.chat.completions.create(model="smol", max_tokens=16, temperature=0, messages=messages)
    assert "Paris" in asked.choices[0].message.content


def test_the_key_is_seen_nowhere_else(box: Box, exposed: Run, key: str):
    again = box.up(*OPEN)
    assert again.exit == 0 and again.json()["deployments"][0]["changes"] == [], again
    box.deployctl("logs", "vllm", "--host", HOST, "-n", "1000")
    assert [run.words for run in box.deployctl.runs if key in run.text] == []
    places = (f"docker inspect {CONTAINER}", f"docker logs {CONTAINER} 2>&1", "ps axwwe", "cat /proc/[0-9]*/cmdline")
    for place in places:
        assert key not in box.machine.exec(f"{place} | tr '\\0' ' '"), place
    holders = box.machine.exec(f"grep -rlF -f {KEY} /etc /var/lib/deployctl /var/log /opt /root /home").split()
    assert sorted(holders) == [KEY, f"{KEY}.yaml"]


def test_status_says_that_it_is_open(box: Box, exposed: Run):
    shown = box.status()["vllm"]
    assert shown["state"] == "serving" and shown["exposed"]
    assert "OPEN" in box.deployctl("status", "--host", HOST).stdout


def test_closing_it_again_would_take_the_key_away(box: Box, exposed: Run, key: str):
    shown = box.ask()
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert f"- API key {KEY}" in lines and any(line.startswith(f"~ container {CONTAINER}") for line in lines), shown


def test_down_takes_the_key_away(box: Box, exposed: Run, key: str):
    assert box.down().exit == 0
    assert box.machine.exec("ls -A /etc/deployctl 2>/dev/null || true") == ""

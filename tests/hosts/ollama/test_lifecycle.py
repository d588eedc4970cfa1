"""`up ollama` as root over SSH, run again, looked at, changed, taken down: one deployment's whole life, in order."""

from __future__ import annotations

import json

import pytest

from tests.hosts.ollama.conftest import FILE, MODEL, NAME, REPO, TOKEN, Box, chat

pytestmark = pytest.mark.hosts
UNIT = "deployctl-ollama.service"
PROGRAM = "/opt/deployctl/ollama/0.33.0/bin/ollama"
STORE = "/var/lib/deployctl/ollama/models"


@pytest.fixture(scope="module")
def first(box: Box):
    """The first `up`, with options that must be found again on the machine."""
    run = box.up(
        *("--context", "2048", "--num-parallel", "2", "--keep-alive", "7m"),
        *("--set", "sampling.temperature=0.25", "--set", "sampling.stop=[\"<end>\"]", "--set", "system=You are \"terse\"."),
    )
    yield run
    box.down("--purge")


def test_up_serves(box: Box, first):
    first.ended(0)
    (deployment,) = first.json()["deployments"]
    assert deployment["health"]["healthy"] and deployment["health"]["failed"] is None
    assert deployment["endpoint"]["url"] == "http://127.0.0.1:11434/v1"
    assert json.loads(chat(box.machine))["choices"][0]["message"]["content"]
    print(first.stderr, first.stdout)

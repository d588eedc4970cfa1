"""vLLM is replaced without a gap where memory allows two: clients of the gateway notice nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hosts.recovery.rig import HOST, Rig

pytestmark = pytest.mark.hosts

FOLDER = "/run/beside"
_ASK = r"""
mkdir -p FOLDER; rm -f FOLDER/*
key=$(awk '{sub(/.*\+/, "", $2); sub(/\$"$/, "", $2); print $2; exit}' /etc/deployctl/gateway/keys/vllm.caddy)
printf 'header = "Authorization: Bearer %s"\n' "$key" > FOLDER/curl
while [ ! -e FOLDER/stop ]; do
  curl -q -s -K FOLDER/curl -o /dev/null -w '%{http_code}\n' -d '{"model":"tiny","messages":[]}' \
    http://127.0.0.1:5000/v1/chat/completions >> FOLDER/seen
done
: > FOLDER/done
""".replace("FOLDER", FOLDER)


@contextmanager
def asking(rig: Rig) -> Iterator[list[str]]:
    """Ask the endpoint without a pause, on its machine; afterwards the list holds every status."""
    seen: list[str] = []
    rig.machine.put(f"{FOLDER}.sh", _ASK)
    begun = f"until [ -s {FOLDER}/seen ]; do sleep 0.05; done"
    rig.machine.exec(f"setsid sh {FOLDER}.sh </dev/null >/dev/null 2>&1 & {begun}")
    try:
        yield seen
    finally:
        rig.machine.exec(f": > {FOLDER}/stop; until [ -e {FOLDER}/done ]; do sleep 0.05; done")
        seen += rig.machine.exec(f"cat {FOLDER}/seen; rm -rf {FOLDER} {FOLDER}.sh").split()


def containers(rig: Rig) -> list[str]:
    return sorted(rig.machine.exec("docker ps --format '{{.Names}}'").split())


def test_a_change_of_the_engine_is_not_noticed(clean: Rig) -> None:
    clean.up("vllm").ended(0)
    assert containers(clean) == ["deployctl-vllm"]
    plan = clean.deployctl("plan", "vllm", "--host", HOST, *clean.words["vllm"], "--max-num-seqs", "7").ended(0)
    assert "vLLM is replaced without a gap" in plan.stdout
    with asking(clean) as statuses:
        clean.up("vllm", "--max-num-seqs", "7").ended(0)
    assert set(statuses) == {"200"}
    assert containers(clean) == ["deployctl-vllm-b"]
    assert clean.up("vllm", "--max-num-seqs", "7").ended(0).json()["deployments"][0]["changes"] == []
    with asking(clean) as statuses:
        clean.up("vllm").ended(0)
    assert set(statuses) == {"200"}
    assert containers(clean) == ["deployctl-vllm"]


def test_one_that_does_not_start_never_takes_over(clean: Rig) -> None:
    clean.up("vllm").ended(0)
    with asking(clean) as statuses:
        failed = clean.up("vllm", "--set", "vllm.env.FAKE_VLLM_DIES=no such kernel")
    assert failed.exit == 5, failed
    assert set(statuses) == {"200"}
    assert containers(clean) == ["deployctl-vllm"]
    assert clean.status("vllm")["state"] == "serving"


def test_without_room_for_two_the_plan_says_so(clean: Rig) -> None:
    clean.up("vllm").ended(0)
    plan = clean.deployctl("plan", "vllm", "--host", HOST, *clean.words["vllm"], "--cpu-kv-cache", "4000").ended(0)
    assert "replaces its container and loads its weights anew" in plan.stdout
    assert "replaced with a gap: the host has" in plan.text


def test_an_engine_that_holds_the_public_port_makes_way_for_the_gateway_and_back(clean: Rig) -> None:
    """It cannot go on beside the new one: as on hosts that were deployed before there was a gateway."""
    direct = ("--expose", "direct")
    clean.up("vllm", *direct).ended(0)
    clean.up("vllm").ended(0)
    assert containers(clean) == ["deployctl-vllm"] and clean.chat("vllm")
    clean.up("vllm", *direct).ended(0)
    assert "tiny" in clean.machine.exec("curl -fsS http://127.0.0.1:5000/v1/models")
    assert clean.status("vllm")["drift"] == []

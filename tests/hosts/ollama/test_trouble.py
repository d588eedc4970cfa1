"""Two machines, one with systemd and one with the embedded supervisor: their logs as one, and what breaks on them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.hub import FakeHub, Fault
from tests.hosts.ollama.conftest import FILE, HOST, MODEL, REPO, TOKEN, Found
from tests.hosts.support import Controller, give_wheels
from tests.lab.machines import Machine

pytestmark = pytest.mark.hosts
PLAIN = "plain"
BOTH = ("--host", HOST, "--host", PLAIN)
UNIT = "deployctl-ollama.service"
LAST = "/tokens-nobody-may-see"
SUPERVISOR = "$(find /opt -name supervisorctl) -c $(find /etc/deployctl -name supervisord.conf)"


class Pair:
    """The two machines, and the controller that deploys to both."""

    def __init__(self, unit: Machine, program: Machine, deployctl: Controller, words: tuple[str, ...]) -> None:
        self.unit, self.program, self.deployctl, self.words = unit, program, deployctl, words

    def up(self, host: str, *words: str) -> dict[str, Any]:
        """The document of `up` on one of them, whatever became of it."""
        run = self.deployctl("up", "ollama", "--host", host, "--yes", "--json", *self.words, *words)
        return {**run.json(), "exit": run.exit}

    def diagnosis(self, host: str) -> dict[str, Any]:
        """What `diagnose` finds there; it must find a cause."""
        run = self.deployctl("diagnose", "ollama", "--host", host, "--json").ended(5)
        (finding,) = run.json()["findings"]
        assert finding["verdict"] == "failing"
        return dict(finding["diagnosis"])

    def explained(self, text: str) -> str:
        """The id that `diagnose --log -` gives to a text."""
        words = [str(self.deployctl.program[0]), "diagnose", "--log", "-", "--json"]
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        return str(json.loads(done.stdout)["findings"][0]["diagnosis"]["id"])

    def repair(self, host: str = HOST) -> None:
        """It serves again."""
        assert self.up(host)["exit"] == 0


@pytest.fixture(scope="module")
def pair(
    found: Found, plain_machine: Machine, deployctl: Controller, hub: FakeHub, archive: Path, gguf: Path
) -> Iterator[Pair]:
    give_wheels(plain_machine, "supervisor==4.3.0")
    deployctl.knows([found.machine, plain_machine])
    deployctl.env["HF_TOKEN"] = hub.token = TOKEN
    hub.add_repo(REPO, {FILE: gguf})
    pair = Pair(found.machine, plain_machine, deployctl, ("--archive", str(archive), "--model", MODEL))
    deployctl("up", "ollama", *BOTH, "--yes", *pair.words).ended(0)
    yield pair
    deployctl("down", *BOTH, "--yes", "--purge").ended(0)
    plain_machine.exec("rm -rf /etc/pip.conf /opt/lab-wheels")


def ask(machine: Machine, path: str) -> None:
    """A request that leaves a line in the log, in a second of its own: access logs tell no finer time."""
    machine.exec(
        f"curl -s -o /dev/null http://127.0.0.1:21434{path}; now=$(date +%s)\n"
        "while [ $(date +%s) = $now ]; do sleep 0.05; done"
    )


# their logs


def test_logs_are_one_in_the_order_of_time(pair: Pair):
    for machine, path in ((pair.unit, "/one"), (pair.program, "/two"), (pair.unit, "/three"), (pair.program, "/four")):
        ask(machine, path)
    shown = pair.deployctl("logs", "ollama", *BOTH, "--grep", '"/(one|two|three|four)"').ended(0).stdout
    lines = [(line.split(" | ")[0].strip(), re.search(r'"(/\w+)"', line)[1]) for line in shown.splitlines()]
    assert lines == [(HOST, "/one"), (PLAIN, "/two"), (HOST, "/three"), (PLAIN, "/four")]


def test_since_leaves_out_what_is_older_from_the_journal_and_from_a_file(pair: Pair):
    ask(pair.unit, "/before")
    ask(pair.program, "/before")
    moment = pair.unit.exec("date --iso-8601=seconds").strip()
    ask(pair.unit, "/after")
    ask(pair.program, "/after")
    shown = pair.deployctl("logs", *BOTH, "--since", moment, "--json").ended(0).json()["logs"]
    assert [log["host"] for log in shown] == [HOST, PLAIN]
    for log in shown:
        text = "\n".join(log["lines"])
        assert '"/after"' in text and '"/before"' not in text


def test_a_secret_is_masked_wherever_it_was_logged(pair: Pair):
    for machine in (pair.unit, pair.program):
        ask(machine, f"/{TOKEN}{LAST}")
    assert TOKEN in pair.unit.exec(f"journalctl -u {UNIT} -o cat --no-pager")
    text = pair.deployctl("logs", *BOTH, "--grep", LAST).ended(0).text
    assert text.count("/hf_***") == 2 and TOKEN not in text


def test_they_are_followed_together_until_interrupted(pair: Pair):
    with pair.deployctl.start("logs", *BOTH, "--follow", "-n", "1", "--grep", '"/followed') as process:
        try:
            seen: set[str] = set()
            assert process.stdout is not None
            pair.unit.exec("true")
            for _ in range(20):  # until both are connected; every request is a line of its own
                ask(pair.unit, "/followed")
                ask(pair.program, "/followed")
                os.set_blocking(process.stdout.fileno(), False)
                seen |= {line.split(" | ")[0].strip() for line in process.stdout.readlines()}
                if seen == {HOST, PLAIN}:
                    break
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert seen == {HOST, PLAIN} and process.returncode == 130 and err == ""


def test_each_host_has_a_colour_on_a_terminal(pair: Pair):
    controller, terminal = pty.openpty()
    words = [str(pair.deployctl.program[0]), "logs", *BOTH, "-n", "1"]
    home = str(pair.deployctl.home)
    environment = {"HOME": home, "PATH": os.environ["PATH"], "DEPLOYCTL_KNOWN_HOSTS": str(pair.deployctl.known_hosts)}
    with subprocess.Popen(
        words, stdin=terminal, stdout=terminal, stderr=terminal, cwd=home, env=environment
    ) as process:
        process.wait(timeout=60)
    os.close(terminal)
    shown = os.read(controller, 65536).decode()
    os.close(controller)
    assert process.returncode == 0
    assert f"\x1b[36m{HOST}\x1b[0m | " in shown and f"\x1b[33m{PLAIN}\x1b[0m | " in shown, shown


# what breaks


@contextmanager
def moved_away(machine: Machine) -> Iterator[None]:
    """The engine's program is gone."""
    machine.exec("mv /opt/deployctl/ollama/*/bin/ollama /opt/deployctl/gone")
    try:
        yield
    finally:
        machine.exec("mv /opt/deployctl/gone $(ls -d /opt/deployctl/ollama/*/bin)/ollama")


@pytest.mark.provokes("unit-program-missing")
def test_a_unit_without_its_program(pair: Pair):
    with moved_away(pair.unit):
        pair.unit.exec(f"systemctl restart {UNIT} || true")
        found = pair.diagnosis(HOST)
    assert found["id"] == "unit-program-missing" and "deployctl up" in found["remedy"]
    pair.repair()


@pytest.mark.provokes("supervisor-program-missing")
def test_a_supervised_program_that_is_gone(pair: Pair):
    with moved_away(pair.program):
        pair.program.exec("pkill -9 -x ollama")
        pair.program.exec(f"timeout 60 sh -c 'until {SUPERVISOR} status ollama | grep -q FATAL; do sleep 0.2; done'")
        found = pair.diagnosis(PLAIN)
    assert found["id"] == "supervisor-program-missing" and "/bin/ollama" in found["cause"]
    pair.repair(PLAIN)


@pytest.mark.provokes("stopped-by-hand")
@pytest.mark.parametrize("host", [HOST, PLAIN])
def test_an_engine_that_somebody_stopped(pair: Pair, host: str):
    machine, stop = (
        (pair.unit, f"systemctl stop {UNIT}") if host == HOST else (pair.program, f"{SUPERVISOR} stop ollama")
    )
    machine.exec(stop)
    assert pair.diagnosis(host)["id"] == "stopped-by-hand"
    pair.repair(host)


@pytest.mark.provokes("port-taken")
@pytest.mark.parametrize("host", [HOST, PLAIN])
def test_a_port_that_another_took_while_it_was_down(pair: Pair, host: str):
    machine = pair.unit if host == HOST else pair.program
    verbs = ("stop", "start")
    stop, start = (f"systemctl {verb} {UNIT}" if host == HOST else f"{SUPERVISOR} {verb} ollama" for verb in verbs)
    machine.exec(stop)
    machine.exec("nohup python3 -m http.server 21434 --bind 127.0.0.1 >/dev/null 2>&1 & echo $! >/tmp/blocker")
    machine.exec("timeout 30 sh -c 'until ss -Hltn sport = 21434 | grep -q .; do sleep 0.1; done'")
    try:
        machine.exec(f"{start} || true")
        found = pair.diagnosis(host)
    finally:
        machine.exec("kill $(cat /tmp/blocker); rm /tmp/blocker")
    assert found["id"] == "port-taken" and "127.0.0.1:21434" in found["cause"] and "ss -ltnp" in found["remedy"]
    pair.repair(host)


@pytest.mark.provokes("unit-masked")
def test_a_unit_that_somebody_masked(pair: Pair):
    """`up` cannot start it, and says what keeps it from that."""
    unit = f"/etc/systemd/system/{UNIT}"
    pair.unit.exec(f"systemctl stop {UNIT}; mv {unit} /tmp/unit; systemctl daemon-reload; systemctl mask {UNIT}")
    try:
        said = pair.unit.exec(f"systemctl start {UNIT} 2>&1 || true")
    finally:
        pair.unit.exec(f"systemctl unmask {UNIT}; mv /tmp/unit {unit}; systemctl daemon-reload")
    assert pair.explained(said) == "unit-masked"
    pair.repair()


@pytest.mark.provokes("disk-full")
def test_a_disk_that_is_full(pair: Pair):
    """So full that not even the files of the configuration can be written."""
    pair.unit.exec("mount -t tmpfs -o size=4k tmpfs /etc/deployctl && head -c 4096 /dev/zero >/etc/deployctl/fill")
    try:
        document = pair.up(HOST)
    finally:
        pair.unit.exec("umount /etc/deployctl")
    (error,) = document["errors"]
    assert document["exit"] == 1 and "No space left on device" in error["why"], document
    assert "is full" in error["remedy"] and "df -h" in error["remedy"]
    pair.repair()


def test_a_token_that_the_hub_refuses(pair: Pair, hub: FakeHub):
    hub.add_repo("org/gated-GGUF", {"gated-Q4_K_M.gguf": b"GGUF"})
    fault = hub.add_fault(Fault(path="/api/models/org/gated-GGUF", status=401, times=9))
    document = pair.up(HOST, "--model", "hf:org/gated-GGUF:Q4_K_M")
    fault.times = 0
    (error,) = document["errors"]
    assert document["exit"] == 1 and "HF_TOKEN" in error["remedy"]

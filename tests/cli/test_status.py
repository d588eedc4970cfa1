"""``deployctl status``: the table, the round trips, and many hosts of which half are dead."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from orchestrator.cli.status_table import NOTHING, Shown, exposure, lines, span, told
from orchestrator.errors import UnreachableError
from orchestrator.facts import Facts, gather
from orchestrator.health.engine import Load
from orchestrator.health.phases import Phase
from orchestrator.health.service import ServiceState
from orchestrator.health.taken import Taken
from orchestrator.hosts.base import Result
from orchestrator.hosts.local import LocalHost
from orchestrator.planning.condition import Condition, conditions
from orchestrator.planning.deploy import Survey
from orchestrator.planning.devices import Devices
from orchestrator.planning.standing import Remark
from tests.cli.run import VARIABLES, deployctl
from tests.hosts_room.conftest import keygen, start_sshd, stop_sshd
from tests.planning.test_standing import DRIFT, OLLAMA, RUNS, VLLM, manifest

GIB = 1 << 30


def vllm(**changes: object) -> Condition:
    given = {
        "manifest": manifest(VLLM),
        "state": "serving",
        "service": ServiceState(running=True, restarts=3),
        "load": Load(running=50, waiting=2, kv_cache_percent=43.2, tokens_per_second=1234.5, concurrency=50.7),
        "devices": Devices(gpus=(0,), gpu_bytes=15 * GIB, meant=(0,), predicted_high_bytes=16 * GIB),
        "uptime_s": 7300,
    }
    return Condition.model_validate({**given, **changes})


def ollama(**changes: object) -> Condition:
    given = {
        "manifest": manifest(OLLAMA),
        "state": "serving",
        "service": RUNS,
        "taken": Taken(size_bytes=10 * GIB, vram_bytes=10 * GIB),
        "loaded": True,
        "devices": Devices(meant=(0,)),
        "uptime_s": 59,
    }
    return Condition.model_validate({**given, **changes})


def table(*found: tuple[str, Condition], width: int | None = 100, **more: object) -> list[str]:
    return [click.unstyle(line) for line in lines(Shown(found=list(found), **more), width)]  # type: ignore[arg-type]


def test_every_column_where_there_is_room() -> None:
    head, first, second, *_ = table(("gpu01", vllm()), ("gpu02", ollama()), width=None)
    titles = "HOST NAME STATE MODEL CONTEXT ON GIB REQ KV TOK/S UP RESTARTS ENDPOINT VIA GEN APPLIED"
    assert " ".join(head.split()) == titles
    for said in ("Qwen2.5-14B-Instruct Q4_K_M", "24576 x 50", "GPU 0", "15.0/16.0", "50+2", "43 %", "1234", "2 h"):
        assert said in first
    assert "http://127.0.0.1:5000/v1" in first and "gateway" in first
    # Ollama tells of no requests, and nothing stands there as if it did
    assert "10.0" in second and "59 s" in second and second.count(NOTHING) == 4


def test_requests_that_the_gateway_counts_are_not_told_apart_from_those_that_wait() -> None:
    assert " 3  " in table(("gpu01", ollama(load=Load(running=3))), width=None)[1]
    assert "3+0" not in "".join(table(("gpu01", ollama(load=Load(running=3))), width=None))


def test_a_hundred_columns_hold_what_counts() -> None:
    long = "a-host-with-quite-a-long-name-of-its-own.example.org"
    rows = table((long, vllm()), ("gpu02", ollama()))
    assert all(len(row) <= 100 for row in rows[:3])
    assert rows[1].startswith("a-ho") and ".org  " in rows[1] and long not in rows[1]
    for said in ("serving", "http://127.0.0.1:5000/v1", "Q4_K_M", "50+2"):
        assert said in rows[1]


@pytest.mark.parametrize("width", [20, 60, 79, 100, 140])
def test_the_name_the_state_and_the_model_are_always_there(width: int) -> None:
    rows = table(("gpu01", vllm()), width=width)
    assert rows[0].split()[:4] == ["HOST", "NAME", "STATE", "MODEL"]
    assert "serving" in rows[1] and len(rows[1]) <= max(width, 60)


def test_columns_that_tell_nothing_make_room() -> None:
    head = table(("gpu02", ollama()))[0]
    assert "REQ" not in head and "TOK/S" not in head and "VIA" in head


def test_a_start_tells_how_far_it_is() -> None:
    phase = Phase(name="loading weights", index=5, total=11, percent=43)
    rows = table(("gpu01", vllm(state="starting", phase=phase, load=None)))
    assert "starting 43 %" in rows[1]
    assert rows[2] == "  vllm on gpu01: loading weights 43 % (phase 5 of 11)"
    rows = table(("gpu01", vllm(state="starting", phase=phase.model_copy(update={"percent": None}))))
    assert "starting 5/11" in rows[1]


def test_what_is_wrong_stands_below_with_its_remedy() -> None:
    item = vllm(state="degraded", remarks=(Remark(what="it limps", remedy="mend it"),), drift=(DRIFT,))
    below = table(("gpu01", item))[2:]
    assert below == [
        "  vllm on gpu01: it limps → mend it",
        "  vllm on gpu01: file /etc/x differs from what was applied, by hand (gone); `deployctl up` repairs it",
    ]


def test_an_open_engine_is_red() -> None:
    made = manifest(VLLM)
    endpoint = made.endpoint.model_copy(update={"gateway": None, "open": True})
    row = lines(Shown(found=[("gpu01", vllm(manifest=made.model_copy(update={"endpoint": endpoint})))]), 140)[1]
    assert click.style("direct", fg="red") in row.replace(" \x1b", "\x1b") or "\x1b[31mdirect" in row
    assert exposure(endpoint) == "direct"
    assert exposure(endpoint.model_copy(update={"open": False})) == "loopback"
    gateway = made.endpoint.gateway
    assert gateway is not None and exposure(made.endpoint) == "gateway"
    secure = gateway.model_copy(update={"tls": "internal"})
    assert exposure(made.endpoint.model_copy(update={"gateway": secure})) == "tls"


def test_a_host_without_an_answer_has_a_row() -> None:
    rows = table(("gpu01", vllm()), unknown=["gpu02"])
    assert rows[2].split()[:3] == ["gpu02", NOTHING, "unknown"]
    assert table(unknown=["gpu02"])[1].split()[0] == "gpu02"
    assert table(silent=["gpu03"], down=[("gpu04", "vllm")]) == [
        "gpu03: nothing is deployed",
        "gpu04: vllm is down, its models are kept (`deployctl down vllm --purge` deletes them)",
    ]


def test_nothing_of_a_host_moves_the_cursor() -> None:
    item = vllm(manifest=manifest(VLLM, summary={"model": "evil\x1b[2J\r\x07name"}))
    error = UnreachableError("no\x1b[2J answer", host="gpu\x1b01", remedy="look\nthere")
    text = "".join([*table(("gpu\x1b[1Aa", item)), *told([error])])
    assert not any(ord(char) < 32 or ord(char) == 0x7F for char in text)


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (200000, "2 d")])
def test_times(seconds: int, said: str) -> None:
    assert span(seconds) == said


class Counted(LocalHost):
    """This machine, counting how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.trips = 0

    def run(self, script: str, **options: object) -> Result:  # type: ignore[override]
        self.trips += 1
        return super().run(script, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def facts() -> Facts:
    return gather(LocalHost(), scope="user")


def test_any_number_of_deployments_takes_one_round_trip_after_the_survey(facts: Facts) -> None:
    host = Counted()
    apart = {"generation": 3, "status": "applied"}
    made = [manifest(OLLAMA, **apart), manifest(VLLM, **apart)]
    made += [item.model_copy(update={"name": f"{item.name}-2"}) for item in made]
    found = conditions(host, Survey(facts, tuple(made), ()))
    assert host.trips == 1
    assert [item.manifest.name for item in found] == ["ollama", "vllm", "ollama-2", "vllm-2"]
    assert {item.state for item in found} == {"stopped"} and all(item.drift for item in found)


def test_what_is_down_is_not_asked_for(facts: Facts) -> None:
    host = Counted()
    assert conditions(host, Survey(facts, (manifest(status="down"),), ())) == [] and host.trips == 0


# Many hosts


class Silent:
    """Machines that hang: they take connections, and never say a word. Notices when all are waited for at once."""

    def __init__(self, count: int) -> None:
        self.servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        self.ports: list[int] = [server.getsockname()[1] for server in self.servers]
        self.taken: list[socket.socket] = []
        self.at_once = False
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        while self._ended not in (ready := select.select([self._ended, *self.servers], [], [])[0]):
            self.taken += [server.accept()[0] for server in ready]
            self.at_once |= sum(not _gone(each) for each in self.taken) == len(self.servers)

    def close(self) -> None:
        self._end.close()
        self._thread.join()
        for each in (self._ended, *self.servers, *self.taken):
            each.close()


def _gone(connection: socket.socket) -> bool:
    """Whether the other side has given up, after which nothing more comes from it."""
    connection.setblocking(False)
    try:
        return any(not connection.recv(4096) for _ in range(2))
    except BlockingIOError:
        return False


@dataclass(frozen=True)
class Fleet:
    """Machines that answer: user, key and place of each, and the file that knows their host keys."""

    entries: list[dict[str, object]]
    known_hosts: Path


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """25 machines: real sshds, with several addresses each (no more than 16)."""
    folder = tmp_path_factory.mktemp("fleet")
    key, known = keygen(folder / "key"), folder / "known_hosts"
    entries: list[dict[str, object]] = []
    with ExitStack() as running:
        for first, last in ((2, 14), (14, 27)):
            addresses = [f"127.0.0.{number}" for number in range(first, last)]
            listen = "".join(f"ListenAddress {address}\n" for address in addresses)
            server = start_sshd(folder / str(first), key, more=listen)
            running.callback(stop_sshd, server)
            blob = server.known_hosts_line.partition(" ")[2]
            with known.open("a") as file:
                file.writelines(f"[{address}]:{server.port} {blob}" for address in addresses)
            login = {"user": "root", "key": str(key), "port": server.port}
            entries += [{**login, "address": address} for address in addresses]
        yield Fleet(entries, known)


def test_half_of_fifty_hosts_are_dead(fleet: Fleet, tmp_path: Path) -> None:
    """All are asked at once, so the dead ones cost their time limit once, however many they are."""
    dead = Silent(25)
    live = {f"live{number}": entry for number, entry in enumerate(fleet.entries)}
    places = [{**fleet.entries[0], "address": "127.0.0.1", "port": port} for port in dead.ports]
    gone = {f"dead{number}": entry for number, entry in enumerate(places)}
    hosts = dict(pair for pairs in zip(live.items(), gone.items(), strict=True) for pair in pairs)
    inventory = tmp_path / "many.json"
    inventory.write_text(json.dumps({"hosts": hosts, "groups": {"many": {"hosts": list(hosts)}}}))
    words = ("status", "--user", "--inventory", str(inventory), "--host", "many", "--connect-timeout", "20")
    variables = {"HOME": str(tmp_path), "DEPLOYCTL_KNOWN_HOSTS": str(fleet.known_hosts)}
    try:
        ran = deployctl(*words, cwd=tmp_path, **variables)
    finally:
        dead.close()
    assert dead.at_once, "the dead ones were waited for one after the other"
    assert len(dead.taken) == 25, "a dead one was tried again"
    assert ran.status == 3, ran.err
    rows = [line.split()[:3] for line in ran.out.splitlines()]
    assert [row for row in rows if row[2] == "unknown"] == [[name, NOTHING, "unknown"] for name in gone]
    assert [row[0] for row in rows if row[1:] == ["nothing", "is"]] == [f"{name}:" for name in live]
    errors = [line for line in ran.err.splitlines() if line.startswith("error:")]
    assert [line.rpartition(" ")[2] for line in errors] == list(gone), ran.err


# --watch


@contextmanager
def on_a_terminal(*words: str, home: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`deployctl WORDS…` with a terminal of its own as its output."""
    ours, theirs = pty.openpty()
    env = {**VARIABLES, "HOME": str(home), "TERM": "xterm"}
    program = [sys.executable, "-c", "from orchestrator.cli import main; main()", *words]
    with subprocess.Popen(program, cwd=home, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as run:
        os.close(theirs)
        try:
            yield run, ours
        finally:
            run.kill()
            os.close(ours)


def read_until(terminal: int, mark: bytes, times: int) -> bytes:
    said = b""
    while said.count(mark) < times:
        assert select.select([terminal], [], [], 60)[0], said
        said += os.read(terminal, 65536)
    return said


def test_watch_goes_on_in_place_until_it_is_interrupted(tmp_path: Path) -> None:
    with on_a_terminal("status", "--watch", "--user", home=tmp_path) as (run, terminal):
        said = read_until(terminal, b"nothing is deployed", 2)
        assert b"\x1b[2J" not in said, "the screen is not wiped: that flickers"
        assert b"\x1b[2K" in said or b"\x1b[1A" in said, "the second look stands where the first one stood"
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130


def test_watch_without_a_terminal_is_one_answer_after_the_other(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from orchestrator.cli import main; main()", "status", "--watch", "--user"]
    env = {**VARIABLES, "HOME": str(tmp_path)}
    with subprocess.Popen(program, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert [run.stdout.readline() for _ in range(2)] == [b"local: nothing is deployed\n"] * 2
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
        assert run.returncode == 130

"""Who gets in, as the ladder sees it: the gateway with and without a key, and every way from outside."""

from __future__ import annotations

import socket
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from orchestrator.health.endpoint import Endpoint, Gateway
from orchestrator.health.entrance import from_here
from orchestrator.health.format import lines
from orchestrator.health.ladder import check
from orchestrator.health.report import HealthReport
from tests.health.doubles import Entrance, FakeClock, FakeService, Heard, ScriptedHost
from tests.health.test_ladder import VLLM, rungs, script

SECRET = "sk-deployctl-c4nary"
FUTURE, PAST = 32503680000, 1
OPENS, CLOSED = "a key opens it", "closed without a key"


def keys(folder: Path, *lines: tuple[str, str, int]) -> str:
    """A file of keys: secret, role and end of each."""
    path = folder / "vllm.caddy"
    path.write_text(
        "".join(f'"~^(?i:bearer) +{secret}$" default {role} {end} # 1\n' for secret, role, end in lines), "utf-8"
    )
    return str(path)


def behind(keys_file: str) -> Endpoint:
    gateway = Gateway(url="http://127.0.0.1:5000", connect="127.0.0.1:5000", keys=keys_file)
    return VLLM.model_copy(update={"key_file": None, "probe_url": "http://127.0.0.1:15000", "gateway": gateway})


def look(endpoint: Endpoint, seen: Entrance) -> tuple[HealthReport, ScriptedHost]:
    host = ScriptedHost(script(), {}, seen)
    report = check(host, endpoint, FakeService(), deadline_s=60, progress=Heard(), clock=FakeClock())
    assert SECRET not in report.model_dump_json() and all(SECRET not in sent for sent in host.scripts)
    return report, host


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return behind(keys(tmp_path, ("sk-deployctl-old", "user", PAST), (SECRET, "user", FUTURE)))


def test_a_key_opens_and_nothing_else_does(endpoint: Endpoint) -> None:
    report, host = look(endpoint, Entrance())
    assert report.healthy and all(rungs(report).values())
    assert len(host.scripts) == 1, "what is well is seen in the first look"


def test_a_gateway_that_has_just_started_is_asked_again(endpoint: Endpoint) -> None:
    report, host = look(endpoint, Entrance(right=502))
    assert report.healthy
    assert len(host.scripts) == 2


@pytest.mark.parametrize(("status", "said"), [(401, "answers 401 with a key"), (404, "answers 404 with a key")])
def test_a_key_that_opens_nothing(endpoint: Endpoint, status: int, said: str) -> None:
    report, _ = look(endpoint, Entrance(right=status))
    assert (report.failed, report.healthy) == (OPENS, False)
    assert said in "\n".join(lines(report))


@pytest.mark.parametrize("held", [[], [(SECRET, "user", PAST)], [(SECRET, "admin", FUTURE)]])
def test_no_key_for_users_that_may_be_used(tmp_path: Path, held: list[tuple[str, str, int]]) -> None:
    report, _ = look(behind(keys(tmp_path, *held)), Entrance())
    assert report.failed == OPENS
    assert "holds no key for users" in "\n".join(lines(report))


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Entrance(none=200), "http://127.0.0.1:5000 answers 200 without a key, not 401"),
        (Entrance(wrong=200), "http://127.0.0.1:5000 answers 200 with a wrong key, not 401"),
        (Entrance(outside=200), "5000 answers without a key on 10.0.0.11 (200, asked from gpu01)"),
        (Entrance(outside=204), "15000 answers without a key on [fd00::11] (204, asked from gpu01)"),
        (Entrance(outside_wrong=200), "15000 answers with a wrong key on 10.0.0.11 (200, asked from gpu01)"),
    ],
)
def test_who_gets_in_without_a_right_key_is_told_with_the_place(endpoint: Endpoint, seen: Entrance, said: str) -> None:
    report, _ = look(endpoint, seen)
    assert (report.failed, report.healthy) == (CLOSED, False)
    assert rungs(report)[OPENS] is True
    (rung,) = [rung for rung in report.rungs if rung.name == CLOSED]
    assert said in rung.detail
    assert "127.0.0.2" not in rung.detail


def test_an_engine_without_a_gateway_that_answers_others_is_told_unless_that_is_asked_for() -> None:
    open_engine = VLLM.model_copy(update={"key_file": None})
    report, _ = look(open_engine, Entrance(outside=200))
    assert report.failed == CLOSED and rungs(report)[OPENS] is None
    report, _ = look(open_engine.model_copy(update={"open": True}), Entrance(outside=200))
    assert report.healthy and rungs(report)[CLOSED] is None


def test_places_that_are_none_are_no_endpoint() -> None:
    """A saved plan may hold anything."""
    for place in ("127.0.0.1", "", "http://127.0.0.1:5000", "127.0.0.1:5000/", "127.0.0.1:x", "127.0.0.1:5000\n"):
        with pytest.raises(ValueError, match="connect"):
            Gateway(url="http://127.0.0.1:5000", connect=place, keys="/k")
    assert behind("/k").ports == (15000, 5000)


@pytest.fixture
def address() -> str:
    """One of this machine's own addresses that is not loopback."""
    said = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout
    found = next((word for word in said.split() if "." in word), "")
    return found or pytest.skip("this machine has no address but loopback")


class Door(BaseHTTPRequestHandler):
    """Lets in whoever has any key at all, or nobody."""

    def do_GET(self) -> None:
        lax = self.server.server_name == "lax"
        self.send_response(200 if lax and self.headers.get("Authorization") else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.parametrize("name", ["lax", "strict"])
def test_the_controller_tries_every_port_itself(address: str, name: str) -> None:
    with ThreadingHTTPServer((address, 0), Door) as server:
        server.server_name = name
        Thread(target=server.serve_forever).start()
        try:
            port = server.server_port
            gateway = Gateway(url=f"http://{address}:{port}", connect=f"127.0.0.1:{port}", keys="/k")
            closed = f"http://127.0.0.1:{free_port()}"
            endpoint = VLLM.model_copy(update={"probe_url": closed, "gateway": gateway})
            leaks = from_here([address, "127.0.0.1", "localhost", "::1"], endpoint)
        finally:
            server.shutdown()
    said = f"{port} answers with a wrong key on {address} (200, asked from here)"
    assert [str(leak) for leak in leaks] == ([said] if name == "lax" else [])


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])

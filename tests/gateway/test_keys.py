"""Keys of a gateway that runs: made, changed and taken away under load."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import DeployError, RefusedError
from orchestrator.hosts.local import LocalHost
from orchestrator.progress import Quiet
from orchestrator.resources.gateway_keys import parse_keys
from orchestrator.resources.gateway_site import GatewaySite
from tests.gateway.client import ask, connection, request
from tests.gateway.gate import PATIENCE, Gate, Site
from tests.gateway.upstream import Exchange, Upstream


def running(own: Gate, engine: Upstream) -> Site:
    site = own.add("ollama", "ollama", engine.port)
    own.make_keys(site)
    own.start()
    return site


def status(site: Site, key: str) -> int:
    return ask(site.port, "GET", "/v1/models", key).status


def names(site: Site) -> list[str]:
    return [key.name for key, _ in parse_keys(site.keys_file.read_text())]


def test_no_stream_is_lost_while_keys_come_change_and_go(own: Gate, engine: Upstream) -> None:
    """Twenty streams; between each two tokens of all of them the gateway takes in other keys or another site."""
    site = running(own, engine)
    tokens, everyone = 6, threading.Barrier(21)
    changes = [
        lambda: site.keys.create(own.host, "new", "user", None),
        lambda: site.keys.rotate(own.host, "user", 0, None),
        lambda: site.keys.revoke(own.host, "user"),
        lambda: own.add("ollama", "ollama", engine.port, max_body="1m"),
        lambda: own.add("other", "vllm", engine.port),
    ]

    def generate(exchange: Exchange) -> None:
        exchange.begin("text/event-stream")
        for number in range(tokens):
            everyone.wait(PATIENCE)  # the changes stand between two tokens
            exchange.chunk(b"data: %d\n\n" % number)
        exchange.end()

    def listen(_: int) -> list[bytes]:
        with connection(site.port) as client:
            client.send(request("POST", "/v1/chat/completions", site.secrets["user"], b"{}"))
            assert client.head()[0] == 200
            return list(client.lines())

    with engine.playing(generate), ThreadPoolExecutor(20) as clients:
        heard = [clients.submit(listen, number) for number in range(20)]
        everyone.wait(PATIENCE)
        for change in changes:
            change()
            everyone.wait(PATIENCE)
        for each in heard:
            assert each.result(PATIENCE) == [b"data: %d\n\n" % number for number in range(tokens)]
    assert status(site, site.secrets["user"]) == 401, "the key that they came in with is gone by now"


def test_a_new_key_opens_at_once_and_a_revoked_one_does_not(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    key = site.keys.create(own.host, "ci", "user", None).reveal()
    with connection(site.port) as kept:
        kept.send(request("GET", "/v1/models", key))
        assert kept.reply().status == 200
        site.keys.revoke(own.host, "ci")
        with engine.sees_nothing():
            kept.send(request("GET", "/v1/models", key))
            assert kept.reply().status in {0, 401}, "also on a connection that was open before, if it still is"
            assert status(site, key) == 401
    assert status(site, site.secrets["user"]) == 200


def test_a_rotated_key_is_good_until_it_was_told_and_all_before_it_no_longer(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    old = site.secrets["user"]
    new = site.keys.rotate(own.host, "user", int(time.time()) + 3600, None).reveal()
    assert (status(site, old), status(site, new)) == (200, 200)
    newest = site.keys.rotate(own.host, "user", 0, None).reveal()
    assert (status(site, old), status(site, new), status(site, newest)) == (401, 401, 200)
    assert names(site).count("user") == 1
    site.keys.revoke(own.host, "user")
    assert (status(site, old), status(site, new), status(site, newest)) == (401, 401, 401)


def test_a_rotated_key_keeps_its_role(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    new = site.keys.rotate(own.host, "metrics", 0, None).reveal()
    assert status(site, new) == 403
    assert [key.role for key, _ in parse_keys(site.keys_file.read_text()) if key.name == "metrics"] == ["metrics"]


def test_a_key_ends_by_itself(own: Gate, engine: Upstream) -> None:
    """Nobody touches the gateway: the same file, and no reload in its log."""
    site = running(own, engine)
    life = 2
    while True:  # a machine so busy that the key ends before it is first used gives it longer
        key = site.keys.create(own.host, f"for-{life}", "user", int(time.time()) + life).reveal()
        before, told = site.keys_file.stat(), len(own.log)
        if status(site, key) == 200:
            break
        life *= 2
    while status(site, key) == 200:
        assert status(site, site.secrets["user"]) == 200
    assert status(site, key) == 401
    assert (site.keys_file.stat().st_ino, site.keys_file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not [line for line in own.log[told:] if "load" in line and "admin" in line]


def test_changes_at_once_lose_nothing(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    made = [f"key-{number}" for number in range(8)]
    hosts = [LocalHost() for _ in range(16)]
    with ThreadPoolExecutor(8) as several:
        list(several.map(lambda pair: site.keys.create(pair[0], pair[1], "user", None), zip(hosts, made, strict=False)))
        assert set(made) <= set(names(site))
        gone = made[:4]
        work = [several.submit(site.keys.revoke, host, name) for host, name in zip(hosts, gone, strict=False)]
        work += [several.submit(site.keys.create, host, f"more-{n}", "user", None) for n, host in enumerate(hosts[4:8])]
        for each in work:
            each.result(PATIENCE)
    left = names(site)
    assert not set(gone) & set(left)
    assert {*made[4:], *(f"more-{number}" for number in range(4))} <= set(left)
    assert len(left) == len(set(left))
    for host in hosts:
        host.close()


def test_the_file_stays_private_and_nothing_is_left_beside_it(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    folder = site.keys_file.parent

    def modes() -> set[str]:
        return {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}

    assert modes() == {f"0o{site.keys.mode}"}
    site.keys.create(own.host, "a", "user", None)
    site.keys.rotate(own.host, "a", 0, None)
    site.keys.revoke(own.host, "a")
    for refuse in (lambda: site.keys.revoke(own.host, "a"), lambda: site.keys.create(own.host, "user", "user", None)):
        with pytest.raises(RefusedError):
            refuse()
    assert modes() == {f"0o{site.keys.mode}"}
    assert [path.name for path in folder.iterdir()] == [site.keys_file.name]


def test_keys_that_the_gateway_does_not_take_are_undone(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    old = site.keys_file.read_text()
    broken = old + "}\n"
    site.keys_file.write_text(broken)  # as somebody's own hand would
    with pytest.raises(DeployError) as failed:
        site.keys.create(own.host, "ci", "user", None)
    assert failed.value.why, "the reason is told"
    assert "sk-deployctl" not in f"{failed.value.what}{failed.value.why}{failed.value.remedy}"
    assert site.keys_file.read_text() == broken
    assert status(site, site.secrets["user"]) == 200, "it goes on with what it had"
    site.keys_file.write_text(old)
    key = site.keys.create(own.host, "ci", "user", None).reveal()
    assert status(site, key) == 200


@pytest.mark.parametrize("there", [True, False])
def test_a_site_that_the_gateway_does_not_take_is_undone(own: Gate, engine: Upstream, there: bool) -> None:
    site = running(own, engine)
    wanted = own.site("ollama" if there else "other", "ollama", engine.port)
    own.apply(wanted.keys)
    resource = next(item for item in wanted.resources if isinstance(item, GatewaySite))
    broken = resource.model_copy(update={"content": f"{resource.content}\n:1 {{\n\tno_directive_of_caddy\n}}\n"})
    path = wanted.site_file
    before = path.read_text() if there else None
    with pytest.raises(DeployError) as failed:
        own.apply(broken)
    assert "no_directive_of_caddy" in failed.value.why
    assert (path.read_text() if path.exists() else None) == before
    assert sorted(item.name for item in path.parent.iterdir()) == ["ollama.caddy"]
    assert status(site, site.secrets["user"]) == 200


def test_a_port_that_is_taken_is_undone_too(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    with pytest.raises(DeployError) as failed:
        own.add("other", "vllm", engine.port, **{"vllm.port": engine.port, "vllm.engine_port": 1})
    assert re.search("address already in use", failed.value.why)
    assert [item.name for item in site.site_file.parent.iterdir()] == ["ollama.caddy"]
    assert status(site, site.secrets["user"]) == 200


def test_a_site_that_goes_lets_go_of_its_port(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    other = own.add("other", "vllm", engine.port)
    assert ask(other.port, "GET", "/v1/models").status == 401
    next(item for item in other.resources if isinstance(item, GatewaySite)).remove(own.host, Quiet())
    with pytest.raises(ConnectionRefusedError):
        ask(other.port, "GET", "/v1/models")
    assert status(site, site.secrets["user"]) == 200


def test_keys_change_while_the_gateway_is_down(own: Gate, engine: Upstream) -> None:
    site = own.add("ollama", "ollama", engine.port)
    own.make_keys(site)
    own.start()
    assert own.process
    own.process.kill()
    own.process.wait()
    assert Path(site.gateway.socket).exists(), "a killed gateway leaves its socket"
    key = site.keys.create(own.host, "ci", "user", None).reveal()
    own.start()
    assert status(site, key) == 200


def test_a_file_without_keys_lets_nobody_in(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    for name in names(site):
        site.keys.revoke(own.host, name)
    assert names(site) == []
    with engine.sees_nothing():
        for key in (*site.secrets.values(), "", "x"):
            assert status(site, key) == 401


def test_the_key_is_in_no_log(own: Gate, engine: Upstream) -> None:
    site = running(own, engine)
    secret = site.secrets["user"]
    for target in ("/v1/models", "/api/create"):
        ask(site.port, "GET", target, secret, Cookie=f"session={secret}")
    ask(site.port, "GET", "/v1/models", secret + "X")
    own.wait_for('"status":401')
    assert [line for line in own.log if '"key":"user"' in line], "who it was is told"
    assert not [line for line in own.log if secret in line]

"""Opening hosts by entry, and working on several at once."""

import subprocess
import sys
import threading

import pytest

from orchestrator.errors import DeployError, UnreachableError
from orchestrator.hosts.connect import on_each, open_host
from orchestrator.hosts.local import LocalHost
from tests.hosts_room.conftest import Entry


class Named(LocalHost):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.closed = threading.Event()

    @property
    def name(self) -> str:
        return self._name

    def close(self) -> None:
        self.closed.set()


HOSTS = [Named(f"h{number}") for number in range(6)]


def test_local_and_remote_entries(sshd, monkeypatch):
    assert open_host(Entry("local", "local")).is_local
    assert open_host(Entry("me", "local")).is_local
    monkeypatch.setenv("DEPLOYCTL_KNOWN_HOSTS", str(sshd.known_hosts))
    host = open_host(sshd.entry("far"))
    assert not host.is_local and host.name == "far"
    assert host.run("true")
    host.close()


def test_outcomes_come_in_order_and_one_failure_stops_nobody():
    def work(host):
        if host.name in ("h1", "h4"):
            raise UnreachableError("gone", host=host.name)
        return host.name.upper()

    outcomes = on_each(HOSTS, work)
    assert [outcome.host.name for outcome in outcomes] == [host.name for host in HOSTS]
    assert [outcome.value for outcome in outcomes] == ["H0", None, "H2", "H3", None, "H5"]
    assert [isinstance(outcome.error, DeployError) for outcome in outcomes] == [False, True, False, False, True, False]
    assert [outcome.is_done for outcome in outcomes] == [True, False, True, True, False, True]
    assert on_each([], work) == []


def test_no_more_than_the_limit_at_once():
    lock, now, most = threading.Lock(), 0, 0
    pair = threading.Barrier(2)

    def work(host):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        pair.wait(20)  # both must be there: the limit is reached
        with lock:
            now -= 1

    on_each(HOSTS, work, limit=2)
    assert most == 2


def test_a_bug_is_not_an_outcome():
    ended = []

    def work(host):
        if host.name == "h0":
            raise ZeroDivisionError
        ended.append(host.name)

    with pytest.raises(ZeroDivisionError):
        on_each(HOSTS, work, limit=1)
    assert len(ended) == 5


def test_an_interrupt_drops_the_rest_and_closes_the_running():
    hosts = [Named(f"h{number}") for number in range(3)]
    begun = []

    def work(host):
        begun.append(host.name)
        signal_main()
        assert host.closed.wait(20)

    def signal_main():
        import signal

        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        on_each(hosts, work, limit=1)
    assert begun == ["h0"]
    assert hosts[0].closed.is_set()


def test_opening_costs_no_heavy_import():
    code = (
        "import sys, orchestrator.hosts.connect, orchestrator.hosts.trust;"
        "print([n for n in ('paramiko', 'fabric', 'docker', 'requests') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"

"""SSHHost on the lab's machines: sudo of every kind, jump hosts, dead links, engines."""

import pytest

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.base import UNKNOWN, HttpRequest
from orchestrator.hosts.secret import Secret
from orchestrator.hosts.ssh import SSHHost
from orchestrator.hosts.trust import known, scan, trust
from tests.hosts_room.conftest import Entry
from tests.lab.images import OPW_PASSWORD
from tests.lab.machines import write_known_hosts

pytestmark = pytest.mark.hosts
PASSWORD = Secret(OPW_PASSWORD)


@pytest.fixture
def login(second_machine, tmp_path):
    """Open the second machine as one of its users."""
    hosts = []
    known_hosts = write_known_hosts(tmp_path / "known_hosts", [second_machine])

    def opened(user: str, become: str = "auto", password: Secret | None = None) -> SSHHost:
        entry = Entry("gpu02", user=user, port=second_machine.ssh_port, key=second_machine.key, become=become)
        hosts.append(SSHHost(entry, sudo_password=password, known_hosts=known_hosts))
        return hosts[-1]

    yield opened
    for host in hosts:
        host.close()


@pytest.mark.parametrize(
    ("user", "become", "password", "who"),
    [
        ("root", "auto", None, "root"),
        ("root", "never", None, "root"),
        ("op", "auto", None, "root"),
        ("op", "always", None, "root"),
        ("op", "never", None, "op"),
        ("op", "auto", PASSWORD, "root"),
        ("opw", "auto", None, "opw"),
        ("opw", "auto", PASSWORD, "root"),
        ("opw", "always", PASSWORD, "root"),
        ("plain", "auto", None, "plain"),
    ],
)
def test_who_runs(login, user, become, password, who):
    host = login(user, become, password)
    assert host.run("id -un").stdout == f"{who}\n"
    assert host.run("id -un; cat", stdin=b"data\n").stdout == f"{who}\ndata\n"
    assert host.run("id -un", privileged=False).stdout == f"{user}\n"
    assert host.privileged is (who == "root")


def test_root_that_is_not_to_be_had(login):
    for host in (login("plain", "always"), login("opw", "always")):
        with pytest.raises(RefusedError) as caught:
            host.run("touch /tmp/never")
        assert caught.value.host == "gpu02" and caught.value.remedy
        assert "sudo" in caught.value.why or "password" in caught.value.why


def test_a_wrong_sudo_password(login):
    host = login("opw", "auto", Secret("canary-wrong"))
    with pytest.raises(RefusedError, match="wants another password") as caught:
        host.run("touch /tmp/never")
    error = caught.value
    assert "canary" not in f"{error} {error.why} {error.remedy}"


def test_a_password_is_seen_nowhere(login, second_machine):
    host = login("opw", "auto", PASSWORD)
    seen = host.run("cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; set; cat")
    assert "sudo" in seen.stdout
    assert OPW_PASSWORD not in seen.stdout + seen.stderr
    assert OPW_PASSWORD not in second_machine.exec("cat /var/log/auth.log 2>/dev/null; journalctl -o cat --no-pager")


@pytest.mark.parametrize(("user", "password"), [("op", None), ("opw", PASSWORD)])
def test_root_scripts_are_killed_in_time(login, second_machine, user, password):
    host = login(user, "auto", password)
    assert host.run("sh -c 'trap \"\" TERM; sleep 4444; sleep 4445' & sleep 4446", timeout=1).exited == 124
    second_machine.exec("timeout 10 sh -c 'while pgrep -f \"sleep 444[4-6]\" | grep -qv $$; do sleep 0.1; done'")


@pytest.mark.parametrize(
    ("user", "password"), [("root", None), ("op", None), ("opw", PASSWORD)], ids=["root", "sudo", "password"]
)
def test_the_engine_is_reached_as_root(login, second_machine, user, password):
    host = login(user, "auto", password)
    client = host.docker()
    assert client.ping() and client.info()["Name"] == "gpu02"
    host.close()
    second_machine.exec("timeout 10 sh -c 'while pgrep -f dial-stdi[o]; do sleep 0.1; done'")


def test_an_engine_that_may_not_be_used(login):
    with pytest.raises(RefusedError, match="may not be used") as caught:
        login("plain").docker()
    assert "docker" in caught.value.remedy


def test_an_engine_that_is_stopped_and_started(login, second_machine):
    host = login("op")
    client = host.docker()
    assert client.ping()
    second_machine.exec("systemctl stop docker.socket docker")
    try:
        with pytest.raises(RefusedError, match="does not answer") as caught:
            login("op").docker()
        assert "systemctl start docker" in caught.value.remedy
    finally:
        second_machine.exec("systemctl start docker")
    assert client.ping()


def test_a_machine_without_engine_and_through_a_jump_host(second_machine, jump_machine, home):
    entry = Entry(
        "bastion",
        address=jump_machine.ip,
        user="op",
        port=22,
        key=second_machine.key,
        jump=(f"op@127.0.0.1:{second_machine.ssh_port}",),
    )
    file = home / ".ssh/known_hosts"
    while known(entry) == "unknown":
        keys = scan(entry)
        assert {key.type for key in keys} == {"ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"}
        trust(entry, file, keys)
    host = SSHHost(entry)
    assert host.run("hostname; id -un").stdout == "bastion\nroot\n"
    with pytest.raises(RefusedError, match="not installed"):
        host.docker()
    assert host.http(HttpRequest("http://127.0.0.1:1/")).status == 0
    host.close()


def test_a_dead_link_ends(login, second_machine, monkeypatch):
    monkeypatch.setattr("orchestrator.hosts.ssh._PATIENCE", 1.0)
    host = login("op")
    try:
        lost = host.run("echo up; sleep 1; echo never", timeout=2, on_line=lambda _: second_machine.freeze())
        assert (lost.exited, lost.stdout) == (UNKNOWN, "up\n")
        frozen = SSHHost(host._entry, known_hosts=host._known_hosts, connect_timeout=1)
        with pytest.raises(UnreachableError):
            frozen.run("true")
    finally:
        second_machine.thaw()
    assert host.run("echo back").stdout == "back\n"

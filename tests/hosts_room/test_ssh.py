"""SSHHost against a real sshd."""

import hashlib
import io
import os
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import UnreachableError
from orchestrator.hosts.base import UNKNOWN
from orchestrator.hosts.channel import converse
from orchestrator.hosts.ssh import SSHHost
from tests.hosts_room.conftest import free_port, keygen, start_sshd, stop_sshd
from tests.hosts_room.test_local import wait_until_gone


def test_output_status_and_input(box):
    result = box.run("echo out; echo err >&2; cat; exit 3")
    assert (result.exited, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert box.name == "box" and not box.is_local and box.privileged


@pytest.mark.parametrize("script", ["", "# comment", "cat <<'X'\n$HOME\nX", "echo a \\", 'echo "it\'s"'])
def test_scripts_of_every_shape(box, script):
    assert box.run(script).exited == 0
    assert box.run(script, stdin=b"").exited == 0


def test_huge_output_on_both_streams(box):
    result = box.run("head -c 8000000 /dev/zero | tr '\\0' y >&2; head -c 8000000 /dev/zero | tr '\\0' x")
    assert (len(result.stdout), len(result.stderr)) == (8_000_000, 8_000_000)


def test_lines_come_while_it_runs(box, tmp_path):
    os.mkfifo(tmp_path / "gate")
    lines: list[str] = []

    def see(line: str) -> None:
        lines.append(line)
        if line == "first":
            (tmp_path / "gate").write_text("go\n")

    box.run(f"echo first; read -r x < {tmp_path}/gate; echo $x; printf last", on_line=see)
    assert lines == ["first", "go", "last"]


def test_upload_of_fifty_megabytes(box, tmp_path):
    source = tmp_path / "source"
    digest = hashlib.sha256()
    with source.open("wb") as out:
        for _ in range(50):
            block = os.urandom(1_000_000)
            digest.update(block)
            out.write(block)
    with source.open("rb") as stream:
        result = box.run(f"umask 077; cat > {tmp_path}/target && sha256sum < {tmp_path}/target", stdin=stream)
    assert result.stdout.split()[0] == digest.hexdigest()
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600


def test_a_command_that_does_not_want_its_input(box):
    assert box.run("echo enough", stdin=bytes(10_000_000)).stdout == "enough\n"


def test_a_source_that_fails_is_no_end_of_file(box, tmp_path):
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk is gone"):
        box.run(f"cat > {tmp_path}/part && touch {tmp_path}/whole", stdin=Broken())
    assert box.run("echo on").stdout == "on\n"


def test_timeout_kills_the_script_and_its_children_there(box, tmp_path):
    result = box.run(
        f"sh -c 'trap \"\" TERM; while :; do sleep 1; done' & echo $! > {tmp_path}/child; echo begun; sleep 300",
        timeout=0.5,
    )
    assert (result.exited, result.stdout) == (124, "begun\n")
    wait_until_gone(int((tmp_path / "child").read_text()))


def test_death_by_signal_is_not_a_lost_connection(box):
    assert box.run("kill -9 $$").exited == 137


def test_a_child_that_keeps_the_output_open_does_not_hold_us(box, tmp_path):
    result = box.run(f"setsid sleep 300 & echo $! > {tmp_path}/child; echo done")
    os.kill(int((tmp_path / "child").read_text()), 9)
    assert (result.exited, result.stdout) == (0, "done\n")


def test_secrets_in_scripts_are_in_no_process_list(box):
    seen = box.run("x=canary-7731; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'canary-773[1]'")
    assert seen.stdout.strip() == "0"


def test_a_lost_connection_is_unknown_and_the_next_run_connects_again(box, sshd, tmp_path):
    lost = box.run(f"echo $$ > {tmp_path}/pid; echo up; exec sleep 300", on_line=lambda _: sshd.cut())
    assert (lost.exited, lost.stdout) == (UNKNOWN, "up\n")
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert box.run("echo again").stdout == "again\n"


class Cut:
    """A channel whose connection is cut while it sends: then paramiko raises EOFError, and not the OSError of later."""

    exit_status, status_event = UNKNOWN, threading.Event()

    def settimeout(self, seconds: float) -> None:
        return

    def recv(self, size: int) -> bytes:
        self.status_event.wait(20)
        return b""

    recv_stderr = recv

    def send(self, data: bytes) -> int:
        self.status_event.set()
        raise EOFError

    close = shutdown_write = lambda self: self.send(b"")


def test_a_connection_that_is_cut_while_it_sends_is_unknown():
    assert converse(Cut(), iter([b"script"]), limit=20, on_line=None).exited == UNKNOWN


def test_an_idle_connection_that_died_is_not_noticed(box, sshd):
    assert box.run("true")
    sshd.cut()
    assert box.run("echo again").stdout == "again\n"


def test_close_from_elsewhere_ends_the_waiting(box):
    begun = threading.Event()
    results = []
    worker = threading.Thread(
        target=lambda: results.append(box.run("echo up; sleep 3", timeout=5, on_line=lambda _: begun.set()))
    )
    worker.start()
    assert begun.wait(20)
    box.close()
    worker.join(20)
    assert results[0].exited == UNKNOWN
    assert box.run("echo again").stdout == "again\n"


def test_nothing_is_left_after_close(sshd):
    before = set(sshd.sessions())
    host = SSHHost(sshd.entry(), known_hosts=sshd.known_hosts)
    assert host.run("true")
    served = set(sshd.sessions()) - before
    assert served
    host.close()
    while served & set(sshd.sessions()):  # ends, or the test's time limit fails it
        time.sleep(0.01)


def refused(entry, known_hosts=None) -> UnreachableError:
    host = SSHHost(entry, known_hosts=known_hosts, connect_timeout=3)
    with pytest.raises(UnreachableError) as caught:
        host.run("true")
    assert caught.value.host == entry.name
    return caught.value


def test_an_unknown_key_is_refused(sshd):
    error = refused(sshd.entry())
    assert "not known" in error.what and "SHA256:" in error.why
    assert error.remedy == "deployctl hosts trust box"


def test_a_changed_key_is_refused_loudly(sshd, tmp_path):
    keygen(tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {other}\n")
    error = refused(sshd.entry(), known)
    assert "HAS CHANGED" in error.what
    assert error.why.count("SHA256:") == 2
    assert "deployctl hosts trust box --replace" in error.remedy


def test_another_key_type_than_the_known_one_is_a_change(sshd, tmp_path):
    keygen(tmp_path / "other", "ecdsa")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {' '.join((tmp_path / 'other.pub').read_text().split()[:2])}\n")
    assert "HAS CHANGED" in refused(sshd.entry(), known).what


def test_a_wrong_key_is_refused(sshd, tmp_path):
    error = refused(sshd.entry(key=keygen(tmp_path / "stranger")), sshd.known_hosts)
    assert "refuses the login of root" in error.what
    assert error.remedy.startswith("ssh-copy-id -i ") and f"-p {sshd.port} root@127.0.0.1" in error.remedy


def test_a_key_with_a_passphrase(sshd, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "sesame", "-f", tmp_path / "locked"], check=True)
    error = refused(sshd.entry(key=tmp_path / "locked"), sshd.known_hosts)
    assert error.remedy == f"ssh-add {tmp_path}/locked"


def test_a_missing_key_file(sshd):
    assert "is missing" in refused(sshd.entry(key=Path("/nonexistent/id"))).what


def test_nobody_there(sshd):
    error = refused(sshd.entry(port=free_port()))
    assert "nothing answers" in error.what and "refused" in error.why


def test_a_name_that_does_not_exist(sshd):
    assert "is not known" in refused(sshd.entry(address="no-such-host.invalid")).what


def test_something_that_is_no_sshd(sshd, web):
    assert "no SSH session" in refused(sshd.entry(port=web.server_port)).what


@pytest.mark.parametrize(
    "address", ["a@b", "host:99999", "-oProxyCommand=touch /tmp/pwned", "a b", "", "[::1", "host:x"]
)
def test_hostile_addresses(sshd, address):
    refused(sshd.entry(address=address))
    assert not Path("/tmp/pwned").exists()


def test_a_jump_host(sshd, second_sshd, tmp_path):
    known = tmp_path / "known_hosts"
    entry = second_sshd.entry("inner", jump=(f"root@127.0.0.1:{sshd.port}",))
    known.write_text(second_sshd.known_hosts_line)
    error = refused(entry, known)
    assert "jump host" in error.what and str(sshd.port) in error.what  # the jump host's key counts as well
    known.write_text(sshd.known_hosts_line)
    assert "jump host" not in refused(entry, known).what
    known.write_text(sshd.known_hosts_line + second_sshd.known_hosts_line)
    host = SSHHost(entry, known_hosts=known)
    port = host.run("echo $SSH_CONNECTION").stdout.split()[-1]
    assert int(port) == second_sshd.port
    host.close()
    unreachable = replace(entry, port=free_port())
    assert "cannot reach" in refused(unreachable, known).what


def test_ssh_config_and_its_jumps_in_order(sshd, second_sshd, client_key, home, tmp_path):
    third = start_sshd(tmp_path / "third", client_key)
    try:
        common = f"HostName 127.0.0.1\n User root\n IdentityFile {client_key}\n"
        (home / ".ssh/config").write_text(
            f"Host outer\n {common} Port {sshd.port}\n"
            f"Host middle\n {common} Port {second_sshd.port}\n"
            f"Host inner\n {common} Port {third.port}\n ProxyJump outer,middle\n"
            "Host *\n ProxyJump outer\n"  # not for itself
        )
        lines = [sshd.known_hosts_line, second_sshd.known_hosts_line, third.known_hosts_line]
        for count, missing in ((0, sshd), (1, second_sshd), (2, third)):
            (home / ".ssh/known_hosts").write_text("".join(lines[:count]))
            entry = sshd.entry("inner", address="inner", user=None, port=None, key=None)
            assert f"port {missing.port} is not known" in refused(entry).what
        (home / ".ssh/known_hosts").write_text("".join(lines))
        host = SSHHost(entry)
        assert int(host.run("echo $SSH_CONNECTION").stdout.split()[-1]) == third.port
        host.close()
    finally:
        stop_sshd(third)

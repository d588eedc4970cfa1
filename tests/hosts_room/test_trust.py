"""Host keys: scanned, compared, written down; changed ones refused."""

import subprocess

import pytest

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.ssh import SSHHost
from orchestrator.hosts.trust import HostKey, known, scan, trust
from tests.hosts_room.conftest import Entry, free_port


def key_line(name: str, blob: str, kind: str = "ssh-ed25519") -> HostKey:
    return HostKey(name, kind, "SHA256:x", f"{name} {kind} {blob}")


def test_scan_shows_what_ssh_keygen_shows(sshd):
    keys = scan(sshd.entry())
    told = subprocess.run(
        ["ssh-keygen", "-lf", sshd.folder / "host_ed25519.pub"], capture_output=True, text=True
    ).stdout
    assert [(key.type, key.fingerprint_sha256) for key in keys] == [("ssh-ed25519", told.split()[1])]
    assert keys[0].line == sshd.known_hosts_line.strip()


def test_trust_makes_a_host_known_and_reachable(sshd, home):
    file = home / ".ssh/new/known_hosts"
    entry = sshd.entry()
    assert known(entry, file) == "unknown"
    trust(entry, file, scan(entry, file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert known(entry, file) == "known"
    assert known(sshd.entry(port=free_port()), file) == "unknown"
    host = SSHHost(entry, known_hosts=file)
    assert host.run("true")
    host.close()
    again = file.read_text()
    trust(entry, file, scan(entry, file))
    assert file.read_text() == again


def test_what_was_there_stays(sshd, home):
    file = home / ".ssh/known_hosts"
    file.write_text("# mine\n\nother ssh-ed25519 AAAA comment")  # no line break at the end
    trust(sshd.entry(), file, scan(sshd.entry()))
    assert file.read_text() == f"# mine\n\nother ssh-ed25519 AAAA comment\n{sshd.known_hosts_line}"


def test_a_changed_key_is_refused_and_then_replaced(sshd, home):
    file = home / ".ssh/known_hosts"
    name = f"[127.0.0.1]:{sshd.port}"
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    before = f"# mine\n{name},other ssh-ed25519 {other} note\n@revoked * ssh-ed25519 {other}\n"
    file.write_text(before)
    keys = scan(sshd.entry())
    with pytest.raises(RefusedError, match="HAS CHANGED") as caught:
        trust(sshd.entry(), file, keys)
    assert caught.value.why.count("SHA256:") == 2 and "--replace" in caught.value.remedy
    assert file.read_text() == before
    trust(sshd.entry(), file, keys, replace=True)
    assert file.read_text() == before.replace(f"{name},", "") + sshd.known_hosts_line
    assert known(sshd.entry(), file) == "known"


def test_another_file_is_never_rewritten(sshd, home, tmp_path):
    mine, theirs = tmp_path / "known_hosts", home / ".ssh/known_hosts"
    theirs.write_text(f"[127.0.0.1]:{sshd.port} ssh-ed25519 AAAA\n")
    with pytest.raises(RefusedError) as caught:
        trust(sshd.entry(), mine, scan(sshd.entry()), replace=True)
    assert caught.value.remedy == f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {theirs}"
    assert not mine.exists()


def test_hashed_names_are_recognised(sshd, home):
    file = home / ".ssh/known_hosts"
    file.write_text(sshd.known_hosts_line)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    file.with_suffix(".old").unlink()
    assert "127.0.0.1" not in file.read_text()
    assert known(sshd.entry()) == "known"
    file.write_text(file.read_text().replace(sshd.known_hosts_line.split()[2], "AAAA"))
    with pytest.raises(RefusedError, match="HAS CHANGED"):
        trust(sshd.entry(), file, scan(sshd.entry()))


def test_further_types_of_a_known_machine_are_added(home):
    file = home / ".ssh/known_hosts"
    file.write_text("box ssh-ed25519 AAAA\n")
    entry = Entry("box", "box")
    trust(entry, file, [key_line("box", "AAAA"), key_line("box", "BBBB", "ssh-rsa")])
    assert file.read_text() == "box ssh-ed25519 AAAA\nbox ssh-rsa BBBB\n"
    with pytest.raises(RefusedError):
        trust(entry, file, [key_line("box", "CCCC"), key_line("box", "BBBB", "ssh-rsa")])
    with pytest.raises(RefusedError):
        trust(entry, file, [key_line("box", "DDDD", "ecdsa-sha2-nistp256")])


def test_damaged_lines_do_not_matter(sshd, home):
    file = home / ".ssh/known_hosts"
    file.write_bytes(
        b"one\n|1|x ssh-rsa AAAA\n|1|!!|@@ ssh-rsa AAAA\n\xff\xfe ssh-rsa AAAA\n" + sshd.known_hosts_line.encode()
    )
    assert known(sshd.entry()) == "known"
    host = SSHHost(sshd.entry())
    assert host.run("true")
    host.close()


def test_a_file_that_cannot_be_written(sshd, home):
    with pytest.raises(RefusedError, match="cannot write"):
        trust(sshd.entry(), home / ".ssh", scan(sshd.entry()))


def test_jump_hosts_come_first(sshd, second_sshd, home):
    file = home / ".ssh/known_hosts"
    entry = second_sshd.entry("inner", jump=(f"root@127.0.0.1:{sshd.port}",))
    names = []
    while known(entry) != "known":
        keys = scan(entry)
        names.append(keys[0].name)
        trust(entry, file, keys)
    assert names == [f"[127.0.0.1]:{sshd.port}", f"[127.0.0.1]:{second_sshd.port}"]
    assert scan(entry)[0].name == names[-1]


def test_nobody_to_scan(sshd, web):
    for port in (free_port(), web.server_port):
        with pytest.raises(UnreachableError):
            scan(sshd.entry(port=port), timeout=3)

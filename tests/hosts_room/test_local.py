"""LocalHost: scripts on this machine."""

import hashlib
import io
import json
import os
import pickle
import threading
import time
from pathlib import Path

import pytest

from orchestrator.hosts.base import quote
from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.secret import Secret


@pytest.fixture
def host():
    host = LocalHost()
    yield host
    host.close()


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    """It was killed before we were told, but the kernel may take a moment. Else the test's time limit says so."""
    while is_alive(pid):
        time.sleep(0.01)


def test_output_and_status(host):
    result = host.run("echo out; echo err >&2; exit 3")
    assert (result.exited, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert not result


@pytest.mark.parametrize(
    ("script", "stdout"),
    [
        ("", ""),
        ("# only a comment", ""),
        ("echo a # a comment at the end", "a\n"),
        ("cat <<'X'\n$HOME `id` }\nX", "$HOME `id` }\n"),
        ("echo a \\", "a\n"),
        ("cat", ""),
        ("read -r line || echo none", "none\n"),
        ("set -e\nfalse\necho never", ""),
        ("f() {\n  echo in; }\nf", "in\n"),
        ("trap 'echo bye' EXIT\necho hi", "hi\nbye\n"),
        ("echo ünï", "ünï\n"),
    ],
)
def test_scripts_of_every_shape(host, script, stdout):
    assert host.run(script).stdout == stdout


def test_hostile_words_stay_words(host):
    words = ["a b", "'; touch /tmp/pwned; '", "$(id)", "`id`", "-n", "\n", "}", "*", "\\", "ü", "EOF", "\x7f\x1b[0m"]
    result = host.run("printf '%s\\0' " + " ".join(map(quote, words)))
    assert result.stdout.split("\0")[:-1] == words
    with pytest.raises(ValueError, match="NUL"):
        host.run("echo a\0b")


def test_a_script_with_a_broken_end_does_not_begin(host, tmp_path):
    marker = tmp_path / "ran"
    for end in ("if true; then", "cat <<X", "echo 'open", "(", "case x in"):
        result = host.run(f"touch {marker}\n{end}")
        assert result.exited not in (0, 124)
        assert not marker.exists(), end


def test_timeout_ends_the_script_and_its_children(host, tmp_path):
    result = host.run(f"sleep 300 & echo $! > {tmp_path}/child; echo begun; sleep 300", timeout=0.5)
    assert (result.exited, result.stdout) == (124, "begun\n")
    wait_until_gone(int((tmp_path / "child").read_text()))


def test_timeout_kills_who_ignores_the_request(host, tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.hosts.shell.GRACE", 0.3)
    result = host.run(
        f"trap '' TERM; sh -c 'trap \"\" TERM; sleep 300; :' & echo $! > {tmp_path}/child; while :; do sleep 1; done",
        timeout=0.5,
    )
    assert result.exited == 124
    wait_until_gone(int((tmp_path / "child").read_text()))


def test_a_script_that_closed_its_output_is_still_limited(host):
    assert host.run("exec >&- 2>&-; sleep 300", timeout=0.3).exited == 124


def test_a_child_that_keeps_the_output_open_does_not_hold_us(host, tmp_path):
    result = host.run(f"setsid sleep 300 & echo $! > {tmp_path}/child; echo done")
    os.kill(int((tmp_path / "child").read_text()), 9)
    assert (result.exited, result.stdout) == (0, "done\n")


def test_death_by_signal_is_a_status(host):
    assert host.run("kill -9 $$").exited == 137


def test_lines_come_while_it_runs(host, tmp_path):
    os.mkfifo(tmp_path / "gate")
    lines: list[str] = []

    def see(line: str) -> None:
        lines.append(line)
        if line == "first":  # the script goes on only because this line was told in time
            (tmp_path / "gate").write_text("go\n")

    result = host.run(f"echo first; read -r x < {tmp_path}/gate; echo $x; printf last", on_line=see)
    assert lines == ["first", "go", "last"]
    assert result.stdout == "first\ngo\nlast"


def test_huge_output_on_both_streams(host):
    result = host.run("head -c 20000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero | tr '\\0' y >&2")
    assert (len(result.stdout), len(result.stderr)) == (20_000_000, 5_000_000)


def test_output_that_is_no_text(host):
    assert host.run("printf 'a\\377b'").stdout == "a�b"


def test_stdin_bytes_and_files(host):
    blob = os.urandom(3_000_000)
    digest = hashlib.sha256(blob).hexdigest()
    assert host.run("sha256sum", stdin=blob).stdout.split()[0] == digest
    assert host.run("sha256sum", stdin=io.BytesIO(blob)).stdout.split()[0] == digest
    assert host.run("wc -c", stdin=b"").stdout.strip() == "0"
    assert host.run("exec >&- 2>&-; cat > /dev/null", stdin=blob).exited == 0
    assert host.run("echo enough", stdin=blob).stdout == "enough\n"


def test_a_source_that_fails_is_no_end_of_file(host, tmp_path):
    class Broken(io.RawIOBase):
        def __init__(self) -> None:
            self.count = 0

        def read(self, size: int = -1) -> bytes:
            self.count += 1
            if self.count > 3:
                raise OSError("the disk is gone")
            return b"x" * 1000

    with pytest.raises(OSError, match="disk is gone"):
        host.run(f"cat > {tmp_path}/part && touch {tmp_path}/whole", stdin=Broken())
    assert not (tmp_path / "whole").exists()


def test_secrets_in_scripts_are_in_no_process_list(host):
    seen = host.run("x=canary-7731; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'canary-773[1]'")
    assert seen.stdout.strip() == "0"


def test_close_ends_what_runs(host):
    begun = threading.Event()
    results = []
    worker = threading.Thread(
        target=lambda: results.append(host.run("echo up; sleep 300", on_line=lambda _: begun.set()))
    )
    worker.start()
    assert begun.wait(20)
    host.close()
    worker.join(20)
    assert results[0].exited != 0


def test_plain_user_and_root(host):
    assert host.privileged is (os.geteuid() == 0)
    assert host.name == "local" and host.is_local


def test_a_secret_does_not_show():
    secret = Secret("hunter2")
    assert secret.reveal() == "hunter2"
    assert f"{secret} {secret!r} {[secret]} {secret:>10}".count("hunter2") == 0
    for write in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            write(secret)

"""The pure part: what is said to shells, and who a host turns out to be."""

import shlex
import subprocess

import pytest

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.base import UNKNOWN, Result
from orchestrator.hosts.secret import Secret
from orchestrator.hosts.shell import Introduction, command_line, feed, lasting, limited, preamble, with_sudo

SAYS, GO = "deployctl:says:", "deployctl:go"


def who(stdout: str, become="auto", password=None, exited=0):
    return Introduction("box", become, password).heard(Result(exited, stdout))


@pytest.mark.parametrize("identity", ["root", "sudo", "password"])
def test_who_it_is(identity):
    assert who(f"{SAYS}{identity}\n{GO}\n") == (identity, Result(0))
    assert who(f"\n{SAYS}{identity}\n{GO}\nits own\n{GO}\n", exited=3) == (identity, Result(3, f"its own\n{GO}\n"))


def test_why_not_root():
    refused = f"{SAYS}plain\nop is not in the sudoers file.\n{GO}\n"
    assert who(refused, password=Secret("x")) == ("plain", Result(0))
    with pytest.raises(RefusedError, match="cannot become root") as caught:
        who(refused, "always", Secret("x"))
    assert caught.value.why == "op is not in the sudoers file."


SUDO = """#!/bin/sh
# sudo, as far as an introduction sees it: it counts how often it is given a password, and asks three times
echo "$*" >> {folder}/calls
case $1$2 in -n*|-k-n) {free} ;; esac
for n in 1 2 3; do
  IFS= read -r given || break
  echo "$given" >> {folder}/given
  [ "$given" != right ] || {{ while [ "$1" != -- ]; do shift; done; shift; exec "$@"; }}
  echo 'Sorry, try again.' >&2
done
exit 1
"""
_FREE = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'


@pytest.fixture
def meet(tmp_path):
    """Introduces itself to a machine where the login is not root, and sudo is ours; gives exit status and output."""

    def meet(become="auto", password=None, free=False, script="cat; echo done") -> Result:
        (tmp_path / "sudo").write_text(SUDO.format(folder=tmp_path, free=_FREE if free else "exit 1"))
        (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
        for name in ("sudo", "id"):
            (tmp_path / name).chmod(0o755)
        introduction = Introduction("box", become, Secret(password) if password else None)
        line = f"PATH={tmp_path}:$PATH; {introduction.line(limited(20))}"
        text = b"".join(feed(introduction.before, script, None))
        done = subprocess.run(["sh", "-c", line], input=text, capture_output=True, timeout=30)
        return introduction.heard(Result(done.returncode, done.stdout.decode(), done.stderr.decode()))

    return meet


def test_the_first_words_and_the_first_script_go_together(meet, tmp_path):
    assert meet(free=True) == ("sudo", Result(0, "done\n"))
    assert meet(free=True, password="right") == ("sudo", Result(0, "done\n"))
    assert meet("never", password="right") == ("plain", Result(0, "done\n"))
    assert meet() == ("plain", Result(0, "done\n"))
    assert not (tmp_path / "given").exists()
    assert meet(password="right") == ("password", Result(0, "done\n"))
    assert (tmp_path / "given").read_text() == "right\nright\n"
    assert "right" not in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("become", ["auto", "always"])
def test_a_wrong_password_is_tried_once_and_runs_nothing(meet, tmp_path, become):
    with pytest.raises(RefusedError, match="another password"):
        meet(become, password="canary", script=f"touch {tmp_path}/ran")
    assert (tmp_path / "given").read_text() == "canary\n" and not (tmp_path / "ran").exists()


def test_nothing_runs_without_the_root_that_is_a_must(meet, tmp_path):
    with pytest.raises(RefusedError, match="cannot become root"):
        meet("always", script=f"touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()


def test_a_lasting_script_survives_every_shell_on_its_way(tmp_path):
    script = "echo 'it''s' \"$((1+1))\" \\\\; cat"
    line = with_sudo("root", lasting(script))
    done = subprocess.run(["sh", "-c", line], input=b"input", capture_output=True)
    assert done.stdout.decode() == "its 2 \\\ninput"


@pytest.mark.parametrize(
    ("stdout", "what"),
    [(f"Welcome!\n{SAYS}root\n{GO}\n", "prints text"), ("This account is not available.\n", "no commands")],
)
def test_login_shells_that_are_none(stdout, what):
    with pytest.raises(RefusedError, match=what) as caught:
        who(stdout)
    assert caught.value.why == stdout.split("\n")[0]
    assert caught.value.remedy


def test_a_lost_connection_is_no_answer():
    with pytest.raises(UnreachableError):
        who("", exited=UNKNOWN)


@pytest.mark.parametrize("password", ["two\nlines", "nul\0"])
def test_passwords_that_sudo_cannot_read(password):
    with pytest.raises(RefusedError):
        who("", password=Secret(password))


def test_command_lines_are_constant_and_hold_no_secret():
    password = Secret("canary")
    for identity in ("root", "plain", "sudo", "password"):
        line = command_line(identity, 5)
        assert "canary" not in line and "timeout -k 5 5.000 sh -s" in line
    assert shlex.split(command_line("sudo", 5))[:4] == ["sudo", "-n", "--", "sh"]
    assert shlex.split(command_line("password", 5))[:6] == ["sudo", "-k", "-S", "-p", "", "--"]
    assert preamble("password", password).startswith(b"canary\n")
    assert preamble("sudo", password) == b""


def test_a_password_that_sudo_did_not_ask_for_reaches_nobody():
    """With a rule that needs no password sudo leaves it in the input, where the script comes next."""
    line = with_sudo("password", "cat").partition(" -- ")[2]
    piped = preamble("password", Secret("canary; touch /tmp/pwned")) + b"data\n"
    assert subprocess.run(["sh", "-c", line], input=piped, capture_output=True).stdout == b"data\n"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_scripts_run_the_same_in_every_shell(shell, tmp_path):
    """What a remote login shell is given, by the shells that are called ``sh`` somewhere."""
    try:
        (tmp_path / "sh").symlink_to(subprocess.check_output(["which", shell], text=True).strip())
    except subprocess.CalledProcessError:
        pytest.skip(f"no {shell} here")

    def run(script: str, timeout: float = 20) -> tuple[int, str]:
        text = b"".join(feed(b"", script, None))
        line = f"PATH={tmp_path}:$PATH; {command_line('root', timeout)}"
        done = subprocess.run([shell, "-c", line], input=text, capture_output=True)
        return done.returncode, done.stdout.decode()

    assert run("cat; cat <<'X'\n$x }\nX\nexit 4") == (4, "$x }\n")
    assert run("kill -9 $$")[0] == 137
    assert run("echo begun; sleep 300", 0.3) == (124, "begun\n")
    assert run("echo never; if true; then")[1] == ""

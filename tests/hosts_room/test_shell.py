"""The pure part: what is said to shells, and who a host turns out to be."""

import shlex
import subprocess

import pytest

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.base import UNKNOWN, Result
from orchestrator.hosts.secret import Secret
from orchestrator.hosts.shell import command_line, feed, identify, preamble, with_sudo

SAYS = "deployctl:says:"


def who(stdout: str, become="auto", password=None, exited=0):
    return identify("box", become, password, lambda line, stdin: Result(exited, stdout))


@pytest.mark.parametrize("identity", ["root", "sudo", "password"])
def test_who_it_is(identity):
    assert who(f"{SAYS}{identity}\n") == (identity, "")
    assert who(f"\n{SAYS}{identity}\n") == (identity, "")


def test_why_not_root():
    assert who(f"{SAYS}plain\nsudo: a password is required\n") == ("plain", "sudo: a password is required")
    refused = f"{SAYS}wrong\nplain\nop is not in the sudoers file.\n"
    assert who(refused, password=Secret("x")) == ("plain", "op is not in the sudoers file.")
    with pytest.raises(RefusedError, match="cannot become root") as caught:
        who(refused, "always", Secret("x"))
    assert caught.value.why == "op is not in the sudoers file."


@pytest.mark.parametrize("text", ["Sorry, try again.\n", "sudo: 1 incorrect password attempt\n"])
def test_a_wrong_password(text):
    with pytest.raises(RefusedError, match="another password"):
        who(f"{SAYS}wrong\nplain\n{text}", password=Secret("canary"))


@pytest.mark.parametrize(
    ("stdout", "what"),
    [(f"Welcome!\n{SAYS}root\n", "prints text"), ("This account is not available.\n", "no commands")],
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

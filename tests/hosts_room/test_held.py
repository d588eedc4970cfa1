"""Scripts that are held: the lock, and what comes with it; and several questions in one."""

import subprocess

import pytest

from orchestrator.errors import UnreachableError
from orchestrator.hosts.base import Host
from orchestrator.hosts.held import LocalHeld, check_held
from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.together import together

SCRIPT = "echo one; echo two; printf 'three\\nfour'; c=$(dd bs=1 count=1 2>/dev/null); printf '\\n%s\\nend\\n' \"$c\""


@pytest.fixture(params=["local", "ssh"])
def host(request: pytest.FixtureRequest) -> Host:
    """This machine, and one over SSH that has not been asked anything yet."""
    return LocalHost() if request.param == "local" else request.getfixturevalue("box")


def test_it_answers_up_to_a_line_and_then_to_the_next(host: Host) -> None:
    held = host.hold(SCRIPT, timeout=20)
    assert held.answer("two") == "one\ntwo\n"
    assert host.run("echo beside").stdout == "beside\n"
    assert held.beat()
    assert held.answer("end") == "three\nfour\n.\nend\n"
    assert held.answer("more") == ""
    held.release()
    assert host.run("echo on").stdout == "on\n"


def test_a_word_within_a_line_is_not_the_line(host: Host) -> None:
    held = host.hold("echo the end is; echo not; exit 3", timeout=20)
    assert held.answer("end") == "the end is\nnot\n"
    held.release()


def test_nothing_goes_on_that_relied_on_it(host: Host) -> None:
    held = host.hold("echo up", timeout=20)
    assert held.answer("never") == "up\n"
    while held.beat():
        pass
    with pytest.raises(UnreachableError, match="lost its hold"):
        host.run("touch /tmp/never")
    held.release()


def test_one_that_hears_nothing_any_more_is_lost_before_it_is_gone() -> None:
    deaf = ["sh", "-c", "exec <&-; echo deaf; exec sleep 60"]
    process = subprocess.Popen(deaf, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    held = LocalHeld(process, b"", timeout=20)
    try:
        assert held.answer("deaf") == "deaf\n"
        assert not held.beat()
        with pytest.raises(UnreachableError, match="lost its hold"):
            check_held("here", [held])
    finally:
        process.kill()
        held.abandon()


def test_several_questions_are_answered_apart(host: Host) -> None:
    first, second, third = together(host, ["echo 1; exit 4", "echo why >&2; cat /nonexistent/file", "printf three"])
    assert (first.exited, first.stdout) == (4, "1\n")
    assert second.exited != 0 and second.stdout.startswith("why\n") and "/nonexistent/file" in second.stdout
    assert (third.exited, third.stdout) == (0, "three")


def test_questions_that_are_not_reached_have_no_answer(host: Host) -> None:
    first, second = together(host, ["sleep 30", "echo never"], timeout=0.5)
    assert (first.exited, second.exited) == (124, 124)

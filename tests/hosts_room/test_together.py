"""Several questions in one round trip."""

from pathlib import Path

from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.together import at_once, together


def test_answers_come_in_order_with_their_ends() -> None:
    scripts = [("echo one; exit 3", 9.0), ("printf two; echo oops >&2", 9.0), (":", 9.0), ("cat; echo four", 9.0)]
    answers = at_once(LocalHost(), scripts)
    assert [(answer.exited, answer.stdout) for answer in answers] == [
        (3, "one\n"),
        (0, "twooops\n"),
        (0, ""),
        (0, "four\n"),
    ]
    assert [answer.stdout for answer in together(LocalHost(), [script for script, _ in scripts])] == [
        answer.stdout for answer in answers
    ]


def test_each_waits_for_none_of_the_others(tmp_path: Path) -> None:
    """Two that need each other: the first reads what only the second writes, and the other way round."""
    one, other = tmp_path / "one", tmp_path / "other"
    scripts = [
        (f"cat {one}; echo asked > {other}", 30.0),
        (f"echo answered > {one}; cat {other}", 30.0),
    ]
    host = LocalHost()
    assert host.run(f"mkfifo {one} {other}")
    assert [answer.stdout for answer in at_once(host, scripts)] == ["answered\n", "asked\n"]


def test_one_that_hangs_takes_no_other_with_it() -> None:
    answers = at_once(LocalHost(), [("echo begun; exec sleep 600", 0.5), ("echo there", 9.0)])
    assert (answers[0].exited, answers[0].stdout) == (124, "begun\n")
    assert (answers[1].exited, answers[1].stdout) == (0, "there\n")


def test_more_than_a_pipe_holds() -> None:
    long = "head -c 300000 /dev/zero | tr '\\0' x"
    answers = at_once(LocalHost(), [(long, 9.0), ("echo short", 9.0), (long, 9.0)])
    assert [len(answer.stdout) for answer in answers] == [300_000, 6, 300_000]


def test_nothing_to_ask() -> None:
    assert at_once(LocalHost(), []) == []

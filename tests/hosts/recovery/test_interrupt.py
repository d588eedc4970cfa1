"""Ctrl+C while a host is changed: once it stops at the next step, twice it cuts; a download stops at once."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import pytest

from tests.hosts.recovery.rig import STATE, Rig
from tests.hosts.recovery.test_cut import downloading, goes_on
from tests.hosts.recovery.test_two_runs import ME

pytestmark = [pytest.mark.hosts]
USERADD, GATE = "/usr/local/bin/useradd", "/run/gate"
STEP = "account:ollama"


@contextmanager
def in_a_step(rig: Rig) -> Iterator[subprocess.Popen[str]]:
    """`up ollama` in the step that makes the account, which ends once `open_gate` lets it."""
    rig.machine.exec(f"rm -f {GATE}; mkfifo {GATE}")
    rig.machine.put(USERADD, f'#!/bin/sh\nread -r _ < {GATE}\nexec /usr/sbin/useradd "$@"\n', mode="755")
    with rig.deployctl.start(*rig.command("ollama")) as run:
        try:
            begun = f"tail -n 1 {STATE}/deployments/ollama/journal.jsonl 2>/dev/null | grep -q {STEP}"
            rig.machine.exec(f"timeout 120 sh -c 'until {begun}; do sleep 0.1; done'")
            yield run
        finally:
            run.kill()
            rig.machine.exec(f"rm -f {USERADD} {GATE}")


def open_gate(rig: Rig) -> None:
    """Let the step go on; one that was cut may be gone already, and then nobody is there to be let."""
    rig.machine.exec(f"timeout 10 sh -c 'echo > {GATE}' || [ $? = 124 ]")


def says(stream: IO[str] | None, words: str) -> str:
    """All that it says up to the line with these words, which must come."""
    assert stream
    said = ""
    for line in stream:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} is not said:\n{said}")


def audit(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rig.machine.exec(f"cat {STATE}/audit.jsonl").splitlines()]


def test_once_it_stops_after_the_step_at_work(clean: Rig):
    rig = clean
    with in_a_step(rig) as run:
        run.send_signal(signal.SIGINT)
        says(run.stderr, "stopping after the step at work")
        open_gate(rig)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    (error,) = json.loads(out)["errors"]
    assert (error["what"], error["exit_code"]) == ("interrupted", 130)
    assert "steps are done" in error["why"] and "run the same command again" in error["remedy"]
    last = rig.journal("ollama")[-1]
    assert (last["address"], last["phase"]) == (STEP, "end")
    assert rig.status("ollama")["state"] == "unfinished" and rig.leftovers() == []
    (line,) = audit(rig)
    assert line["result"].startswith("interrupted; ollama: ") and line["by"] == ME
    assert "taken over" not in goes_on(rig)


def test_twice_it_cuts_and_the_next_run_tells_where(clean: Rig):
    rig = clean
    with in_a_step(rig) as run:
        run.send_signal(signal.SIGINT)
        says(run.stderr, "Ctrl+C again cuts")
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=120)
        assert run.returncode == 130 and "run the same command again" in err, err
        open_gate(rig)
    step = rig.journal("ollama")[-1]
    assert (step["address"], step["phase"]) == (STEP, "begin")
    assert "its lock is taken over" in goes_on(rig)
    cut, done = audit(rig)
    assert cut["result"] == f"cut in step {step['step']} of generation 1: create {STEP}; found by {ME}"
    assert (cut["by"], cut["command"], done["result"]) == (ME, "deployctl up ollama", "healthy")


def test_a_download_stops_at_once_and_keeps_what_it_has(clean: Rig):
    rig = clean
    with downloading(rig, cut_after=None) as (run, _):  # the Hub holds it: nothing ends this step but the signal
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=120)
        assert run.returncode == 130, err
        assert "what has come is kept" in json.loads(out)["errors"][0]["why"]
        assert int(rig.machine.exec(f"stat -c %s $(find {STATE}/models -name '*.part')")) > 0
    assert rig.journal("ollama")[-1]["phase"] == "stopped"
    assert "taken over" not in goes_on(rig)

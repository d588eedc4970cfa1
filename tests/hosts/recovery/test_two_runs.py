"""Two `up` of one deployment at once: one at work, the other refused or queued; and locks whose run is dead."""

from __future__ import annotations

import getpass
import re
import signal
import socket

import pytest

from tests.hosts.recovery.matrix import ALL
from tests.hosts.recovery.rig import Rig
from tests.hosts.recovery.test_cut import downloading, goes_on

pytestmark = [pytest.mark.hosts]
ME = f"{getpass.getuser()}@{socket.gethostname()}"


def test_the_second_is_refused_and_told_who_is_at_work(clean: Rig):
    rig = clean
    with downloading(rig, cut_after=None) as (first, fault):
        refused = rig.up("ollama").ended(6)
        (error,) = refused.json()["errors"]
        assert "another run is at work on ollama" in error["what"] and "--wait" in error["remedy"]
        told = re.search(r"`deployctl up ollama` of (\S+), since (\S+); last heartbeat (\d+) s ago", error["why"])
        assert told and told[1] == ME and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told[2]), error
        assert int(told[3]) < 30
        rig.deployctl("down", "--host", "gpu07", "--yes").ended(6)
        fault.go_on.set()
        _, err = first.communicate(timeout=120)
        assert first.returncode == 0, err
    assert rig.leftovers() == []


def test_the_second_queues_and_finds_nothing_to_do(clean: Rig):
    rig = clean
    with downloading(rig, cut_after=None) as (first, fault):
        with rig.deployctl.start(*rig.command("ollama", "--wait", "60")) as second:
            waiting = "pgrep -f '^(sh -c )?.*flock -w 60' >/dev/null"
            rig.machine.exec(f'timeout 60 sh -c "until {waiting}; do sleep 0.1; done"')
            fault.go_on.set()
            out, err = second.communicate(timeout=120)
            assert second.returncode == 0, err
        first.communicate(timeout=120)
        assert first.returncode == 0
    assert '"changes": []' in out and "taken over" not in err
    assert rig.leftovers() == []


def test_the_lock_of_a_killed_run_is_free_at_once(clean: Rig):
    rig = clean
    with downloading(rig) as (first, fault):
        first.kill()
        first.wait()
        fault.go_on.set()
        said = goes_on(rig)
    assert f"`deployctl up ollama` of {ME}, since" in said
    assert "ended without finishing; its lock is taken over" in said
    assert "taken over" not in rig.up("ollama").ended(0).stderr


@pytest.mark.skipif(not ALL, reason="waits out the host's patience of a minute: make test-faults")
def test_a_run_that_falls_silent_loses_its_lock_and_stays_away(clean: Rig):
    """As behind a connection that hangs: it is there, but nothing of it comes."""
    rig = clean
    with downloading(rig, cut_after=None) as (first, fault):
        first.send_signal(signal.SIGSTOP)
        fault.go_on.set()
        second = rig.deployctl(*rig.command("ollama", "--wait", "120")).ended(0)
        assert "ended without finishing; its lock is taken over" in second.stderr
        first.send_signal(signal.SIGCONT)
        _, err = first.communicate(timeout=120)
        assert first.returncode == 3 and "lost its hold" in err, err
    assert rig.leftovers() == [] and rig.chat("ollama")

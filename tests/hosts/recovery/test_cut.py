"""What ends a run in its middle, but a kill between steps: Ctrl-C, a cut connection, a long step killed, a reboot.

A run is brought to a place by the Hub, which holds a download where the test wants it.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.doubles.hub import Fault
from tests.hosts.recovery.rig import FILE, REPO, Rig
from tests.hosts.support import BEHIND

pytestmark = [pytest.mark.hosts]
HALF, MORE = 50_000, 60_000  # bytes
SSHD = "sshd: root@notty"
CUT = f"pkill -KILL -f '^{SSHD}'"


@contextmanager
def downloading(rig: Rig, *words: str, cut_after: int | None = MORE) -> Iterator[tuple[subprocess.Popen[str], Fault]]:
    """`up ollama` that has half of the model on the machine; the Hub goes on, and then cuts, when told."""
    fault = rig.hub.add_fault(
        Fault(
            path=f"/resolve/{rig.hub.repo(REPO).commit}/{FILE}", wait_after=HALF, cut_after=cut_after, to_the_end=True
        )
    )
    with rig.deployctl.start(*rig.command("ollama", *words)) as run:
        try:
            assert fault.reached.wait(60), run.stderr.read()
            part = f"$(find /var/lib/deployctl/models -name '{FILE}.part')"
            rig.machine.exec(f'timeout 60 sh -c \'until [ -s "$1" ]; do sleep 0.1; done\' sh "{part}"')
            yield run, fault
        finally:
            fault.go_on.set()
            run.kill()


def goes_on(rig: Rig) -> str:
    """The next `up` ends well, leaves nothing half done, and serves; what it said."""
    run = rig.up("ollama").ended(0)
    assert rig.leftovers() == []
    assert rig.status("ollama")["state"] == "serving" and rig.chat("ollama")
    return run.stderr


def ranges(rig: Rig, since: int) -> list[str]:
    return [record.range for record in rig.hub.downloads(FILE, to_the_end=True)[since:]]


@pytest.mark.parametrize("cut_after", [MORE, None], ids=["and its download too", "its download goes on"])
def test_a_download_whose_run_is_killed_is_gone_on_with(clean: Rig, cut_after: int | None):
    rig, before = clean, len(clean.hub.downloads(FILE, to_the_end=True))
    with downloading(rig, cut_after=cut_after) as (run, fault):
        run.kill()
        run.wait()
        fault.go_on.set()
    said = goes_on(rig)
    assert "ended without finishing; its lock is taken over" in said
    assert ranges(rig, before) == (["", f"bytes={MORE}-"] if cut_after else [""])


def test_ctrl_c_says_how_to_go_on(clean: Rig):
    rig, before = clean, len(clean.hub.downloads(FILE, to_the_end=True))
    with downloading(rig) as (run, _):
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "interrupted" in err and "run the same command again" in err and "Traceback" not in err
    assert '"exit_code": 130' in out
    goes_on(rig)
    assert ranges(rig, before) == ["", f"bytes={MORE}-"]


def test_ctrl_c_while_something_serves_undoes_nothing(clean: Rig):
    """No return to an earlier generation: the user did not ask for that. And what served goes on serving."""
    rig = clean
    rig.up("ollama").ended(0)
    rig.machine.exec(f"find /var/lib/deployctl/models -name '{FILE}' -delete")
    with downloading(rig, "--num-parallel", "3") as (run, _):
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "returning to" not in err, err
    assert rig.chat("ollama") and rig.status("ollama")["state"] == "unfinished"
    goes_on(rig)


def test_a_cut_connection_is_told_and_gone_on_from(clean: Rig):
    rig, before = clean, len(clean.hub.downloads(FILE, to_the_end=True))
    with downloading(rig) as (run, fault):
        rig.machine.exec(CUT)
        _, err = run.communicate(timeout=60)
        assert run.returncode in (1, 3), err
        assert "connection was lost" in err and "gpu07" in err and "again" in err and "Traceback" not in err
        fault.go_on.set()
    assert "ended without finishing; its lock is taken over" in goes_on(rig)
    assert ranges(rig, before) == ["", f"bytes={MORE}-"]


def test_a_run_whose_lock_is_gone_changes_nothing_more(clean: Rig):
    """It could not know who else is at work now."""
    rig = clean
    with downloading(rig, cut_after=None) as (run, fault):
        rig.machine.exec("pkill -KILL -x dd")  # by which the lock hears of the run
        fault.go_on.set()
        _, err = run.communicate(timeout=120)
        assert run.returncode == 3 and "lost its hold" in err, err
    assert rig.journal("ollama")[-1]["phase"] == "begin"
    goes_on(rig)


def test_a_frozen_machine_is_waited_for(clean: Rig):
    rig = clean
    with downloading(rig, cut_after=None) as (run, fault):
        rig.machine.freeze()
        try:
            other = rig.deployctl(*rig.command("ollama", "--connect-timeout", "2"))
        finally:
            rig.machine.thaw()
        assert other.exit == 3 and "gpu07" in other.stderr, other
        fault.go_on.set()
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    assert rig.leftovers() == []


def test_a_restarted_machine_serves_again_by_itself(clean: Rig):
    rig = clean
    rig.up("ollama").ended(0)
    rig.up("vllm").ended(0)
    rig.machine.restart()
    rig.deployctl.knows([rig.machine])
    for runtime, port in BEHIND.items():
        url = f"http://127.0.0.1:{port}/v1/models"
        rig.machine.exec(f"timeout 60 sh -c 'until curl -fsS -o /dev/null {url} 2>/dev/null; do sleep 0.2; done'")
        shown = rig.status(runtime)
        assert (shown["state"], shown["drift"]) == ("serving", []), shown
        assert rig.chat(runtime)
    rig.deployctl("status", "--host", "gpu07", "--exit-code").ended(0)


def test_a_restart_in_the_middle_of_a_run(clean: Rig):
    rig = clean
    with downloading(rig) as (run, _):
        rig.machine.restart()
        _, err = run.communicate(timeout=120)
        assert run.returncode in (1, 3) and "Traceback" not in err, err
    rig.deployctl.knows([rig.machine])
    goes_on(rig)

"""Who started whom, and what they hold."""

import os
import subprocess

from orchestrator.health import processes
from orchestrator.health.processes import Processes
from orchestrator.hosts.local import LocalHost

TABLE = "1000.50 100 4096\n1 0 50 10\n70 1 5050 100\n71 70 90050 200\n72 71 99050 1\n80 1 60 7\n"


def test_a_family_is_all_that_descends_from_it() -> None:
    found = processes.read(TABLE)
    assert found.family(70) == {70, 71, 72} and found.family(80) == {80}
    assert found.family(4711) == frozenset()
    assert found.resident_bytes(found.family(70)) == 301 * 4096
    assert (found.ages_s[70], found.ages_s[72]) == (950.0, 10.0)


def test_parents_in_a_circle_end() -> None:
    assert processes.read("9 100 4096\n5 6 1 1\n6 5 1 1\n").family(5) == {5, 6}


def test_rows_that_are_none_are_passed_over() -> None:
    assert processes.read("") == Processes() and processes.read("no figures\n1 2 3 4\n") == Processes()
    assert processes.read("9 100 4096\n1 2\nx y z w\n3 1 100 2\n").parents == {3: 1}


def test_this_machine_s_processes() -> None:
    """A name may hold blanks and brackets."""
    called = "printf 'a) S 1 (b' > /proc/$$/comm; echo; read line"
    with subprocess.Popen(["sh", "-c", called], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"\n"
        found = processes.read(LocalHost().run(processes.SCRIPT).stdout)
        child.communicate(b"\n")
    assert child.pid in found.family(os.getpid())
    assert found.resident[os.getpid()] > 1_000_000 and 0 <= found.ages_s[child.pid] <= found.ages_s[os.getpid()]

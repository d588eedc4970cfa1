"""A supervised engine is started once for each change: a second start costs a load, which takes minutes."""

import sys
import time
from pathlib import Path

import pytest

from orchestrator.hosts.local import LocalHost
from orchestrator.progress import Quiet
from orchestrator.resources.base import Observed
from orchestrator.resources.process import Process
from orchestrator.templating.engine import Renderer


@pytest.fixture
def process(tmp_path: Path):
    (tmp_path / "programs").mkdir()
    settings = {
        "socket": f"{tmp_path}/sock",
        "pidfile": f"{tmp_path}/pid",
        "logfile": f"{tmp_path}/journal",
        "include": f"{tmp_path}/programs/*.conf",
        "directory": str(tmp_path),
    }
    conf = tmp_path / "supervisord.conf"
    conf.write_text(Renderer().render("supervisor/supervisord.conf.j2", settings))
    made = Process(
        name="engine",
        venv=sys.prefix,
        conf=str(conf),
        journal=f"{tmp_path}/journal",
        program=f"{tmp_path}/programs/engine.conf",
        log=f"{tmp_path}/engine.log",
        mark=f"{tmp_path}/mark",
        fingerprint="one",
    )
    yield made
    made.remove(LocalHost(), Quiet())


def apply(process: Process, argument: str, observed: Observed) -> None:
    context = {
        "name": process.name,
        "exec": ["/bin/sleep", argument],
        "environment": [],
        "directory": str(Path(process.conf).parent),
        "log_file": process.log,
        "stop_wait_s": 5,
        "user": None,
    }
    Path(process.program).write_text(Renderer().render("supervisor/program.conf.j2", context))
    process.apply(LocalHost(), observed, Quiet())


def spawned(process: Process) -> int:
    return Path(process.journal).read_text().count("spawned: 'engine'")


def test_each_change_starts_it_once(process):
    host = LocalHost()
    apply(process, "1001", Observed(exists=False))
    assert spawned(process) == 1
    assert process.state(host).running
    seen = process.parse(host.run('field() { printf "%s\\t%s\\n" "$1" "$2"; }\n' + process.probe()).stdout)
    assert not process.compare(seen)

    apply(process, "1002", process.stale(seen))  # another program file
    assert spawned(process) == 2
    apply(process, "1002", process.stale(seen))  # the same program, made from other files: a restart was asked for
    assert spawned(process) == 3
    assert process.state(host).restarts == 0, "it was we who restarted it"


def test_a_restart_of_its_own_is_counted(process):
    host = LocalHost()
    apply(process, "1003", Observed(exists=False))
    before = process.state(host)
    host.run(f"kill -9 {before.detail.split()[3].strip(',')}")
    deadline = time.monotonic() + 60
    while spawned(process) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.state(host).restarts == before.restarts + 1


def test_what_an_earlier_start_died_of_is_no_longer_told(process):
    Path(process.log).write_text("RuntimeError: of last week\n")
    apply(process, "601", Observed(exists=False))
    with Path(process.log).open("a") as log:
        log.write("RuntimeError: of now\n")
    assert process.log_tail(LocalHost(), 50) == "RuntimeError: of now\n"
    assert "of last week" in LocalHost().run(process.log_script(lines=50, follow=False)).stdout

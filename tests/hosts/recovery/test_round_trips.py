"""What a run that finds nothing to do asks of a host, counted by its own sshd: what users of SSH feel as time."""

from __future__ import annotations

import pytest

from tests.bench import tools
from tests.hosts.recovery.rig import HOST, Rig

pytestmark = [pytest.mark.hosts]


@pytest.fixture
def loud(clean: Rig) -> Rig:
    """Nothing deployed, and an sshd that says what it is asked for."""
    clean.machine.put("/etc/ssh/sshd_config.d/loud.conf", "LogLevel VERBOSE\n")
    clean.machine.exec("systemctl reload ssh")
    return clean


@pytest.mark.parametrize("runtime", ["ollama", "vllm"])
def test_a_run_that_changes_nothing(loud: Rig, runtime: str) -> None:
    """One login: who am I, the lock and a look; the comparison; the state and the key; all of the health check."""
    loud.up(runtime).ended(0)
    words = [runtime, *loud.words[runtime]]
    for verb, most in (("up", 4), ("plan", 2)):
        made, logins = tools.sessions(tools.deployctl(loud.deployctl, verb, [HOST], words), [loud.machine])
        assert (made <= most, logins) == (True, 1), f"{verb}: {made} sessions, {logins} logins"

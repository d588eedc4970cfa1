"""The three tools as they are measured: their settings at their best, and the time and SSH sessions of a run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.support import Controller
from tests.lab.machines import Machine

_HERE = Path(__file__).parent
_CURSOR = "journalctl --quiet --lines=0 --show-cursor --unit=ssh | sed -n 's/^-- cursor: //p'"
# sshd says this for every command, shell and subsystem that a client starts (LogLevel VERBOSE).
_COUNT = "journalctl --sync; journalctl --quiet --unit=ssh --output=cat --after-cursor='{}' | grep -c '{}' || true"


@dataclass(frozen=True)
class Sample:
    """One run: seconds on the clock, seconds of the controller's processors, and the end of what it printed."""

    wall_s: float
    cpu_s: float
    output: str


@dataclass(frozen=True)
class Tool:
    """A command line that must end with `expected` (a regular expression) in its output: nothing was changed."""

    name: str
    words: Sequence[str]
    folder: Path
    env: Mapping[str, str]
    expected: str

    def run(self) -> Sample:
        """Run it to its end. Raises RuntimeError when it fails, or changes anything."""
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(
            self.words,
            cwd=self.folder,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        wall, after = time.perf_counter() - began, os.times()
        cpu = after.children_user - before.children_user + after.children_system - before.children_system
        if done.returncode != 0 or not re.search(self.expected, done.stdout):
            raise RuntimeError(f"{self.name} (exit {done.returncode}) did not find the state as wanted:\n{done.stdout}")
        return Sample(wall, cpu, done.stdout)


def sessions(tool: Tool, machines: Sequence[Machine]) -> tuple[int, int]:
    """How many SSH sessions (commands and subsystems) and logins one run makes, on all machines together."""
    cursors = [machine.exec(_CURSOR).strip() for machine in machines]
    tool.run()
    counts = []
    for words in ("Starting session: ", "Accepted publickey "):
        pairs = zip(machines, cursors, strict=True)
        counts.append(sum(int(machine.exec(_COUNT.format(cursor, words))) for machine, cursor in pairs))
    return counts[0], counts[1]


def deployctl(controller: Controller, verb: str, hosts: Sequence[str], words: Sequence[str]) -> Tool:
    """`deployctl up` or `plan`, which must find nothing to do."""
    program = str(Path(sys.executable).with_name("deployctl"))
    named = [word for host in hosts for word in ("--host", host)]
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(controller.home)}
    return Tool(
        f"deployctl {verb}",
        [program, verb, *words, *named, "--parallel-hosts", "10"],
        controller.home,
        {**env, **controller.env, "DEPLOYCTL_KNOWN_HOSTS": str(controller.known_hosts)},
        r"nothing to change|: no changes",
    )


def ansible(tools: Path, folder: Path, machines: Sequence[Machine], known_hosts: Path, state: object) -> Tool:
    """The playbook: pipelining, a connection that persists between runs, ten forks, no facts, Python's path given."""
    folder.mkdir()
    hosts = {
        machine.name: {
            "ansible_host": "127.0.0.1",
            "ansible_port": machine.ssh_port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(machine.key),
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        for machine in machines
    }
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": state}}))
    (folder / "ansible.cfg").write_text(
        "[defaults]\nforks = 10\ngathering = explicit\nnocows = true\n[ssh_connection]\npipelining = true\n"
        f"control_path_dir = {folder}/cp\n"
        f"ssh_args = -o ControlMaster=auto -o ControlPersist=600s -o UserKnownHostsFile={known_hosts}\n"
    )
    env = {"PATH": f"{tools}/bin:{os.environ['PATH']}", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    return Tool(
        "ansible-playbook",
        [f"{tools}/bin/ansible-playbook", "-i", "inventory.json", str(_HERE / "playbook.yml")],
        folder,
        env,
        r"changed=0 +unreachable=0 +failed=0(?s:.)*\Z",
    )


def close_ansible(folder: Path) -> None:
    """End the connections that persist."""
    for socket in (folder / "cp").glob("*"):
        subprocess.run(["ssh", "-S", str(socket), "-O", "exit", "-"], capture_output=True, check=False)


def pyinfra(tools: Path, folder: Path, machines: Sequence[Machine], known_hosts: Path, state: object) -> Tool:
    """The deploy: all hosts at once, as is its default."""
    folder.mkdir()
    hosts = [
        (
            machine.name,
            {
                "ssh_hostname": "127.0.0.1",
                "ssh_port": machine.ssh_port,
                "ssh_user": "root",
                "ssh_key": str(machine.key),
                "ssh_known_hosts_file": str(known_hosts),
                "ssh_strict_host_key_checking": "yes",
            },
        )
        for machine in machines
    ]
    (folder / "inventory.py").write_text(f"hosts = ({hosts!r}, {state!r})\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    return Tool(
        "pyinfra",
        [f"{tools}/bin/pyinfra", "-y", "inventory.py", str(_HERE / "deploy.py")],
        folder,
        env,
        r"Grand total +\d+ +- +- +\d",
    )

"""The product as its users run it: the `deployctl` command in a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gateway.gate import caddy
from tests.lab import cache
from tests.lab.machines import Machine, write_inventory, write_known_hosts
from tests.lab.shell import pipe
from tests.lab.shell import run as run_here

DEPLOYCTL = Path(sys.executable).with_name("deployctl")
WHEELS = "/opt/lab-wheels"
"""Where a machine keeps the wheels of `give_wheels`."""
BEHIND = {"ollama": 21434, "vllm": 15000}
"""Where the engines listen behind the gateway, unless told otherwise."""


@dataclass(frozen=True, repr=False)
class Run:
    """One run of deployctl: its words, exit status and output."""

    words: tuple[str, ...]
    exit: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr

    def ended(self, status: int) -> Run:
        """This run, if it ended with that exit status; all that it printed otherwise."""
        assert self.exit == status, f"expected {status}\n{self!r}"
        return self

    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.stdout)

    def __repr__(self) -> str:
        return f"deployctl {' '.join(self.words)}: exit {self.exit}\n{self.stdout}\n--- stderr\n{self.stderr}"


@dataclass
class Controller:
    """A laptop that deploys: its home, its inventory, the hosts it trusts, and all runs so far.

    `env` is added to the environment of each run; nothing else of this process's environment gets in but PATH.
    `program` are the first words of each run: deployctl, or what runs it in another way.
    """

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    program: tuple[str | Path, ...] = (DEPLOYCTL,)

    def __post_init__(self) -> None:
        """The gateway's program is in its cache already, as it is on a laptop that has deployed before."""
        program = caddy()
        place = self.home / ".cache" / "deployctl" / "programs" / program.parent.name / program.name
        if not place.exists():
            place.parent.mkdir(parents=True)
            try:
                place.hardlink_to(program)
            except OSError:  # on another disk
                shutil.copyfile(program, place)

    @property
    def inventory(self) -> Path:
        """The inventory that every run reads, since it lies where deployctl looks by default."""
        return self.home / "inventories" / "lab.yaml"

    @property
    def known_hosts(self) -> Path:
        """The known_hosts file that every run reads."""
        return self.home / "known_hosts"

    def knows(
        self,
        machines: Sequence[Machine],
        *,
        user: str = "root",
        more: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        """Write the inventory and trust these machines (again); `more` as in `write_inventory`."""
        self.inventory.parent.mkdir(parents=True, exist_ok=True)
        write_inventory(self.inventory, machines, user=user, more=more)
        write_known_hosts(self.known_hosts, machines)

    def __call__(self, *words: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 900) -> Run:
        """Run `deployctl WORDS…` to its end, with nothing on standard input. A run that hangs fails the test."""
        done = subprocess.run(
            [str(word) for word in (*self.program, *words)],
            cwd=self.home,
            env=self._environment(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        said = (data.decode(errors="replace") for data in (done.stdout, done.stderr))
        run = Run(tuple(str(word) for word in words), done.returncode, *said)
        self.runs.append(run)
        assert "Traceback" not in run.stderr and "error: internal" not in run.stderr, run  # an engine's is in stdout
        return run

    def start(self, *words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `deployctl WORDS…` with pipes; the caller ends it (`with` waits for its end)."""
        return subprocess.Popen(
            [str(word) for word in (*self.program, *words)],
            cwd=self.home,
            env=self._environment(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        base = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return {**base, "DEPLOYCTL_KNOWN_HOSTS": str(self.known_hosts), **self.env, **more}


def key_of(machine: Machine, name: str, user: str = "root") -> str:
    """The first key of a deployment, read where the machine keeps it; a user's own deployment is in his home."""
    folder = "/etc/deployctl" if user == "root" else f"/home/{user}/.config/deployctl"
    found = re.search(r" \+(sk-deployctl-[\w-]{43})\$", machine.exec(f"cat {folder}/gateway/keys/{name}.caddy"))
    assert found is not None, "no key"
    return found[1]


def ask(machine: Machine, url: str, body: object = None, *, name: str, user: str = "root") -> str:
    """The answer of a deployment to a request with its key, asked by curl on the machine; a `body` is POSTed as JSON.

    Raises CommandFailedError for an HTTP error.
    """
    config = f'header = "Authorization: Bearer {key_of(machine, name, user)}"\n'
    if body is not None:
        config += f'header = "Content-Type: application/json"\ndata = {json.dumps(json.dumps(body))}\n'
    return machine.exec(f"curl -fsS -K - {url}", stdin=config, user=user)


def exposure(machine: Machine, unit: str) -> float:
    """What the machine's systemd thinks of a unit that it runs: 0 is locked up, 10 is open."""
    told = machine.exec(f"systemd-analyze security --no-pager {unit} || true")
    (score,) = re.findall(rf"exposure level for {re.escape(unit)}: ([0-9.]+)", told)
    return float(score)


def give_wheels(machine: Machine, *requirements: str) -> None:
    """Let every pip of the machine install these, with what they need, from wheels on its own disk and nothing else.

    The wheels come by this machine's pip, whose settings stay here.
    """
    folder = cache.folder() / f"wheels-{cache.key([*requirements, sys.version_info[:2]])}"
    with cache.locked(folder.name):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            words = ["--quiet", "download", "--only-binary", ":all:", "--dest", str(partial), *requirements]
            run_here([sys.executable, "-m", "pip", *words], timeout_s=900)
            partial.rename(folder)
    pipe(
        ["tar", "-C", str(folder), "-c", "."],
        ["docker", "exec", "-i", machine.container, "sh", "-c", f"mkdir -p {WHEELS} && tar -C {WHEELS} -x"],
    )
    machine.put("/etc/pip.conf", f"[global]\nno-index = true\nfind-links = {WHEELS}\n")

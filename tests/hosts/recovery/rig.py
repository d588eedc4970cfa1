"""What a run leaves on the machine, as a value to compare: files, units, containers, and what deployctl remembers."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.doubles.hub import FakeHub
from tests.hosts.support import BEHIND, Controller, Run, ask
from tests.lab import snapshot as snapshots
from tests.lab.machines import Machine
from tests.lab.shell import CommandFailedError

HOST = "gpu07"
REPO, FILE = "org/tiny-GGUF", "tiny-Q4_K_M.gguf"
STATE = "/var/lib/deployctl"
PORT = {"ollama": 11434, "vllm": 5000}
MODEL = {"ollama": "tiny", "vllm": "tiny"}
KILLER = Path(__file__).with_name("killer.py")

_ROOTS = ("/etc", "/opt", "/srv", "/home", "/root", "/usr/local", "/var/lib/deployctl")
# compared as what they mean (`_remembered`), or another at each installation
_BOOKS = (
    *(f"{STATE}/audit.jsonl", f"{STATE}/deployments/*/journal.jsonl", f"{STATE}/deployments/*/manifest.json"),
    *(f"{STATE}/deployments/*/generations/*.json", "*/.ollama/id_ed25519*"),
    *("/etc/deployctl/gateway/keys/*.caddy", f"{STATE}/gateway/caddy/*"),
)
_TIMES = ("applied_at", "seconds", "fit", "taken")  # also how much memory was free, and taken, at that moment
_LEFT = "find /etc /opt /var/lib/deployctl /run/deployctl -name '*.part*' -o -name '*.partial' -o -name '*.owner'"


@dataclass(frozen=True)
class End:
    """All that must be the same, however the machine came there."""

    state: snapshots.State
    remembered: dict[str, Any]
    containers: Any

    def differences(self, other: End) -> list[str]:
        """What differs from another end; empty when nothing does."""
        found = snapshots.diff(self.state, other.state, _BOOKS)
        for path in sorted({*self.remembered, *other.remembered}):
            found += _unequal(path, self.remembered.get(path), other.remembered.get(path))
        return found + _unequal("containers", self.containers, other.containers)


def _unequal(where: str, one: Any, other: Any) -> list[str]:
    """The places where two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line for key in sorted({*one, *other}) for line in _unequal(f"{where}.{key}", one.get(key), other.get(key))
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for index, (a, b) in pairs for line in _unequal(f"{where}[{index}]", a, b)]
    return [] if one == other else [f"{where}: {one!r} -> {other!r}"]


@dataclass
class Rig:
    """The machine, its controller, the Hub, and the words of `up` for each runtime."""

    machine: Machine
    deployctl: Controller
    hub: FakeHub
    words: dict[str, tuple[str, ...]] = field(repr=False)

    def command(self, runtime: str, *words: str) -> tuple[str, ...]:
        """The words of `deployctl up`; later ones win."""
        return ("up", runtime, "--host", HOST, "--yes", "--json", *self.words[runtime], *words)

    def up(self, runtime: str, *words: str) -> Run:
        """`deployctl up`, to its end."""
        return self.deployctl(*self.command(runtime, *words))

    def killed(self, when: str, step: int, runtime: str, *words: str) -> Run:
        """`deployctl up`, killed at that moment (see `killer`)."""
        mortal = dataclasses.replace(self.deployctl, program=(sys.executable, KILLER, when, str(step), "--"))
        return mortal(*self.command(runtime, *words)).ended(-signal.SIGKILL)

    def down(self) -> Run:
        """As if nothing had ever been deployed."""
        return self.deployctl("down", "--host", HOST, "--yes", "--purge").ended(0)

    def status(self, runtime: str) -> dict[str, Any]:
        """What `deployctl status` shows of the deployment."""
        shown = self.deployctl("status", "--host", HOST, "--json").ended(0).json()["deployments"]
        (found,) = [item for item in shown if item["runtime"] == runtime]
        return dict(found)

    def journal(self, runtime: str) -> list[dict[str, Any]]:
        """The lines of the journal on the machine."""
        text = self.machine.exec(f"cat {STATE}/deployments/{runtime}/journal.jsonl 2>/dev/null || true")
        return [json.loads(line) for line in text.splitlines()]

    def chat(self, runtime: str) -> str:
        """The text of an answer, asked by curl on the machine. Raises CommandFailedError for an HTTP error."""
        body = {"model": MODEL[runtime], "messages": [{"role": "user", "content": "Hello!"}]}
        answer = ask(self.machine, f"http://127.0.0.1:{PORT[runtime]}/v1/chat/completions", body, name=runtime)
        return str(json.loads(answer)["choices"][0]["message"]["content"])

    def answers(self, runtime: str) -> bool:
        """Whether it says something, once it has had the seconds that a start takes."""
        url = f"http://127.0.0.1:{BEHIND[runtime]}/v1/models"
        self.machine.exec(f"timeout 20 sh -c 'until curl -fs -o /dev/null {url}; do sleep 0.1; done' || true")
        try:
            return bool(self.chat(runtime))
        except CommandFailedError:
            return False

    def leftovers(self) -> list[str]:
        """Half-written files, and locks that are held or whose owner did not finish."""
        return self.machine.exec(f"{_LEFT} 2>/dev/null || true").splitlines()

    def end(self) -> End:
        """How the machine is now."""
        run, names = self.machine.exec, "docker ps --all --quiet --no-trunc"
        listing = run(f"find {STATE}/deployments -name manifest.json -o -name '0*.json' 2>/dev/null || true")
        books = {path: _timeless(json.loads(run(f"cat {path}"))) for path in sorted(listing.split())}
        found = json.loads(run(f"docker inspect $({names}) 2>/dev/null || true") or "[]")
        made = [{"Config": {**one["Config"], "Hostname": ""}, "HostConfig": one["HostConfig"]} for one in found]
        return End(
            snapshots.State(
                snapshots.take(run, _ROOTS), self.machine.units(), self.machine.accounts(), snapshots.engine(run)
            ),
            books,
            made,
        )


def _timeless(value: Any) -> Any:
    """A document of ours without the moments that it names."""
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value

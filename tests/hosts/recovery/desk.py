"""Somebody's desk: what he types to plan, change and return, with models and archives of Ollama's double at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.gguf import write_gguf
from tests.doubles.ollama.archive import make_archive
from tests.hosts.support import Controller, Run, ask
from tests.lab import snapshot as snapshots
from tests.lab.machines import Machine

HOST = "gpu02"
STATE = "/var/lib/deployctl"
BOOKS = f"{STATE}/deployments/ollama"
UNIT = "deployctl-ollama.service"
API = "http://127.0.0.1:11434"
BROKEN = "ollama.env.DOUBLE_OLLAMA_LISTEN_SECONDS=never"
"""A setting (`--set`) with which the double dies at its start."""


@dataclass
class Desk:
    """A machine, a controller that knows it, and the files that it deploys from."""

    machine: Machine
    deployctl: Controller
    folder: Path
    before: snapshots.State = field(repr=False)

    def archive(self, version: str = "0.33.0") -> Path:
        """Ollama's archive of a version, always with the same bytes."""
        path = self.folder / f"ollama-{version}.tgz"
        return path if path.exists() else make_archive(path, format="tgz", version=version).path

    def model(self, number: int = 1) -> Path:
        """A model's file; another number is another content."""
        path = self.folder / f"tiny{number}-Q4_K_M.gguf"
        return path if path.exists() else write_gguf(path, seed=number)

    def words(self, *more: str | Path, version: str | None = "0.33.0", model: int = 1) -> list[str]:
        """Runtime and options. ``version`` None leaves the engine to the machine."""
        release = [] if version is None else ["--archive", self.archive(version), "--engine-version", version]
        given = ["ollama", "--host", HOST, *release, "--model", self.model(model), "--model-name", "tiny", *more]
        return [str(word) for word in given]

    def up(self, *more: str | Path, version: str | None = "0.33.0", model: int = 1) -> Run:
        """`deployctl up ollama --json`."""
        return self.deployctl("up", *self.words(*more, version=version, model=model), "--yes", "--json")

    def plan(self, *more: str | Path, version: str | None = "0.33.0", model: int = 1) -> Run:
        """`deployctl plan ollama`, for people unless `--json` is among the options."""
        return self.deployctl("plan", *self.words(*more, version=version, model=model))

    def down(self, *words: str) -> Run:
        """`deployctl down`."""
        return self.deployctl("down", "--host", HOST, "--yes", *words).ended(0)

    def rollback(self, *words: str) -> Run:
        """`deployctl rollback ollama --json`."""
        return self.deployctl("rollback", "ollama", "--host", HOST, "--yes", "--json", *words)

    def history(self) -> list[dict[str, Any]]:
        """The generations that `deployctl history` lists, oldest first."""
        found: list[dict[str, Any]] = (
            self.deployctl("history", "ollama", "--host", HOST, "--json").ended(0).json()["generations"]
        )
        return found

    def status(self) -> dict[str, Any]:
        """What `deployctl status` says of the one deployment."""
        (shown,) = self.deployctl("status", "--host", HOST, "--json").ended(0).json()["deployments"]
        return dict(shown)

    def remarks(self) -> str:
        """What `deployctl status` tells people."""
        return self.deployctl("status", "--host", HOST).ended(0).stdout

    def invocation(self, unit: str = UNIT) -> str:
        """Another one after every start of the unit."""
        return self.machine.exec(f"systemctl show -p InvocationID --value {unit}").strip()

    def manifest(self) -> dict[str, Any]:
        """What the machine remembers as applied."""
        return dict(json.loads(self.machine.exec(f"cat {BOOKS}/manifest.json")))

    def shown(self, what: str) -> str:
        """What the engine says of its model."""
        text = ask(self.machine, f"{API}/api/show", {"model": "tiny"}, name="ollama")
        return str(json.loads(text)[what])

    def version(self) -> str:
        """The version that answers at the endpoint."""
        return ask(self.machine, f"{API}/api/version", name="ollama")

    def answers(self) -> bool:
        """Whether the endpoint generates, asked on the machine."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello!"}]}
        answer = ask(self.machine, f"{API}/v1/chat/completions", body, name="ollama")
        return bool(json.loads(answer)["choices"][0]["message"]["content"])

    def look(self) -> snapshots.State:
        """The whole machine, to prove later that nothing on it has changed."""
        return self.machine.state()

    def changed(self, since: snapshots.State | None = None) -> list[str]:
        """What differs from then, or from how the machine was before everything."""
        return snapshots.diff(since or self.before, self.look())


def changes(run: Run) -> list[tuple[str, str]]:
    """What an `up`, `apply` or `rollback` did: action and kind, in order."""
    return [(item["action"], item["kind"]) for one in run.json()["deployments"] for item in one["changes"]]


@pytest.fixture(scope="module")
def desk(second_machine: Machine, deployctl: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Nothing deployed, before and after."""
    deployctl.knows([second_machine])
    desk = Desk(second_machine, deployctl, tmp_path_factory.mktemp("desk"), second_machine.state())
    yield desk
    desk.down("--purge")
    assert desk.changed() == []

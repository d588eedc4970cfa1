"""A Hub, a host and a place to deliver to."""

import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from orchestrator.hosts.base import UNKNOWN, Host, Result
from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.secret import Secret
from orchestrator.models.delivery import Delivery, Patience
from orchestrator.models.hub import HubClient
from orchestrator.models.reference import HubFile
from orchestrator.progress import Quiet, Task
from tests.doubles.hub import FakeHub

REPO, FILE = "acme/tiny", "tiny-Q4_K_M.gguf"
WEIGHTS = random.Random(7).randbytes(3_000_001)
QUICK = Patience(tries=3, pause=0, connect=5, stall=5)


class Recorder(Quiet):
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.messages: list[str] = []
        self.updates: list[int] = []
        self.unit = ""

    def note(self, text: str) -> None:
        self.notes.append(text)

    def said(self, text: str) -> None:
        self.messages.append(text)

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        self.unit = unit
        yield _RecorderTask(self)


class _RecorderTask:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def update(self, done: int, total: int | None = None) -> None:
        self._recorder.updates.append(done)

    def message(self, text: str) -> None:
        self._recorder.said(text)


class RemoteHost(LocalHost):
    """This machine, under another name and counted as remote; its line can be cut in the middle of a push.

    ``offline`` takes its network away, as curl sees it: the only way out is a proxy that does not answer.
    """

    def __init__(self, *, offline: bool = False) -> None:
        super().__init__()
        self.offline = offline
        self.cut_after: int | None = None
        self.pushed: list[int] = []

    @property
    def name(self) -> str:
        return "gpu01"

    @property
    def is_local(self) -> bool:
        return False

    def run(self, script: str, *, stdin: bytes | IO[bytes] | None = None, **options: Any) -> Result:
        if self.offline and stdin is None:
            script = "export http_proxy=http://127.0.0.1:9 no_proxy=\n" + script
        if stdin is None or isinstance(stdin, bytes):
            return super().run(script, stdin=stdin, **options)
        data = stdin.read()
        if self.cut_after is None:
            self.pushed.append(len(data))
            return super().run(script, stdin=data, **options)
        data, self.cut_after = data[: self.cut_after], None
        self.pushed.append(len(data))
        super().run(script, stdin=data, **options)
        return Result(UNKNOWN)


class KilledHost(LocalHost):
    """This machine, on which whoever runs a script gets SIGKILL, children and all, when it prints the line ``at``."""

    def __init__(self, *, at: str) -> None:
        super().__init__()
        self._at = at

    def run(self, script: str, **options: Any) -> Result:
        group = 0

        def kill(line: str) -> None:
            nonlocal group
            group = int(line.removeprefix("group ")) if line.startswith("group ") else group
            if line == self._at:
                os.killpg(group, signal.SIGKILL)

        return super().run("echo group $$\n" + script, **{**options, "on_line": kill})


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.add_repo(REPO, {FILE: WEIGHTS, "config.json": b"{}"})
        yield hub


@pytest.fixture
def host() -> Iterator[Host]:
    host = LocalHost()
    yield host
    host.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder on the host, with a name that needs quoting."""
    place = tmp_path / "a 'model' $HOME"
    place.mkdir()
    yield place
    shutil.rmtree(place)


def client(hub: FakeHub, token: str | None = None) -> HubClient:
    return HubClient(hub.url, Secret(token) if token else None, tries=3, pause=0)


def delivery(hub: FakeHub, place: Path, file: str = FILE, repo: str = REPO) -> Delivery:
    """The file as the Hub says it is, to the place."""
    found = client(hub, hub.token).resolve(HubFile(repo, file)).file(file)
    assert found is not None
    return Delivery.of(found, str(place / Path(file).name))


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())

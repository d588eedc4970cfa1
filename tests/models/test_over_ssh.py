"""The same over a real SSH line, which is cut in the middle of a push."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from orchestrator.hosts.base import Host, Result
from orchestrator.hosts.secret import Secret
from orchestrator.hosts.ssh import SSHHost
from orchestrator.models.delivery import Delivery
from orchestrator.models.transfer import deliver
from tests.doubles.hub import FakeHub, Fault
from tests.hosts_room.conftest import Sshd, keygen, start_sshd, stop_sshd
from tests.models.conftest import FILE, QUICK, WEIGHTS, Recorder, delivery, left


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    sshd = start_sshd(tmp_path_factory.mktemp("sshd"), keygen(tmp_path_factory.mktemp("client") / "id"))
    yield sshd
    stop_sshd(sshd)


@pytest.fixture
def box(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("HOME", str(tmp_path))  # the developer's own ~/.ssh is not read
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    box = SSHHost(sshd.entry(), known_hosts=sshd.known_hosts)
    yield box
    box.close()


class _Cutting:
    """A host whose line is cut when so many bytes of a push have arrived there."""

    def __init__(self, host: Host, cut: Callable[[], None], part: Path) -> None:
        self._host, self._cut, self._part = host, cut, part
        self.offsets: list[int] = []

    name = "box"
    is_local = False

    def run(self, script: str, *, stdin: IO[bytes] | None = None, **options: Any) -> Result:
        if stdin is None:
            return self._host.run(script, **options)
        self.offsets.append(stdin.tell())
        source: Any = self if len(self.offsets) == 1 else stdin
        return self._host.run(script, stdin=source, **options)

    def read(self, count: int) -> bytes:
        if self._part.exists() and self._part.stat().st_size > 1_000_000:
            self._cut()
        return bytes(WEIGHTS[:count])


def test_a_host_fetches_by_itself(hub: FakeHub, box: Host, place: Path) -> None:
    hub.add_fault(Fault(FILE, cut_after=1_234_567))
    deliver(box, [delivery(hub, place)], progress=Recorder(), token=Secret(hub.token), patience=QUICK)
    assert (place / FILE).read_bytes() == WEIGHTS
    assert [record.range for record in hub.downloads(FILE)] == ["", "bytes=1234567-"]
    assert left(place) == [FILE]


def test_a_push_survives_the_loss_of_its_line(sshd: Sshd, box: Host, place: Path, tmp_path: Path) -> None:
    content = WEIGHTS[:32768] * 200  # whatever piece is read, it is the same
    source = tmp_path / "source.gguf"
    source.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    wanted = Delivery(path=str(source), destination=str(place / FILE), size=len(content), sha256=digest)
    host: Any = _Cutting(box, sshd.cut, place / (FILE + ".part"))
    deliver(host, [wanted], progress=Recorder(), patience=QUICK)
    assert (place / FILE).read_bytes() == content
    assert host.offsets[0] == 0
    assert host.offsets[1] > 1_000_000
    assert left(place) == [FILE]

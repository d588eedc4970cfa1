"""Pushing to hosts that cannot fetch, and second names instead of copies on this machine."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import DeployError, UnreachableError
from orchestrator.hosts.base import Host, Result
from orchestrator.models.delivery import Delivery
from orchestrator.models.transfer import deliver
from tests.doubles.hub import FakeHub, Fault
from tests.models.conftest import FILE, QUICK, WEIGHTS, Recorder, RemoteHost, delivery, left


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "own 'model'.gguf"
    source.write_bytes(WEIGHTS)
    source.chmod(0o644)
    return source


def from_here(source: Path, place: Path) -> Delivery:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    return Delivery(path=str(source), destination=str(place / FILE), size=len(WEIGHTS), sha256=digest)


def push(host: Host, *files: Delivery, **options: Any) -> Recorder:
    progress = Recorder()
    deliver(host, files, progress=progress, patience=QUICK, **options)
    return progress


def test_a_file_of_the_controller_is_pushed(source: Path, place: Path) -> None:
    host = RemoteHost()
    push(host, from_here(source, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert (place / FILE).stat().st_mode & 0o777 == 0o644
    assert left(place) == [FILE]
    push(host, from_here(source, place))
    assert host.pushed == [len(WEIGHTS)]


def test_a_push_that_is_cut_goes_on(source: Path, place: Path) -> None:
    host = RemoteHost()
    host.cut_after = 1_234_567
    progress = push(host, from_here(source, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert host.pushed == [1_234_567, len(WEIGHTS) - 1_234_567]
    assert progress.notes == ["pushing tiny-Q4_K_M.gguf was cut; going on"]


def test_a_part_with_other_content_is_pushed_anew(source: Path, place: Path) -> None:
    (place / (FILE + ".part")).write_bytes(b"x" * 1000)
    host = RemoteHost()
    push(host, from_here(source, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert host.pushed == [len(WEIGHTS) - 1000, len(WEIGHTS)]


def test_a_part_that_grows_meanwhile_is_looked_at_again(source: Path, place: Path) -> None:
    class Shared(RemoteHost):
        def run(self, script: str, **options: Any) -> Result:
            if options.get("stdin") is not None and not self.pushed:
                (place / (FILE + ".part")).write_bytes(WEIGHTS[:1000])  # another run was here
            return super().run(script, **options)

    host = Shared()
    push(host, from_here(source, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert host.pushed == [len(WEIGHTS), len(WEIGHTS) - 1000]


def test_a_part_that_is_too_large_is_pushed_anew(source: Path, place: Path) -> None:
    (place / (FILE + ".part")).write_bytes(bytes(len(WEIGHTS) + 1))
    push(RemoteHost(), from_here(source, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert left(place) == [FILE]


def test_a_file_that_changed_since_is_refused(source: Path, place: Path) -> None:
    wanted = from_here(source, place)
    source.write_bytes(bytes(len(WEIGHTS)))
    with pytest.raises(DeployError, match="wrong digest"):
        push(RemoteHost(), wanted)
    assert left(place) == []


def test_a_file_that_is_gone_is_said(source: Path, place: Path) -> None:
    wanted = from_here(source, place)
    source.unlink()
    with pytest.raises(DeployError, match="cannot be read"):
        push(RemoteHost(), wanted)
    assert left(place) == []


def test_a_lost_connection_is_given_up_in_the_end(source: Path, place: Path) -> None:
    class Lost(RemoteHost):
        def run(self, script: str, **options: Any) -> Result:
            if options.get("stdin") is not None:
                self.cut_after = 1000
            return super().run(script, **options)

    with pytest.raises(UnreachableError, match="connection was lost"):
        push(Lost(), from_here(source, place))
    assert (place / (FILE + ".part")).stat().st_size == 3000


def test_a_host_without_internet_gets_it_pushed(hub: FakeHub, host: Host, place: Path, tmp_path: Path) -> None:
    remote, cache = RemoteHost(offline=True), tmp_path / "cache"
    wanted = delivery(hub, place)
    hub.add_fault(Fault(FILE, cut_after=1_000_000))
    progress = push(remote, wanted, controller=host, cache=cache)
    assert (place / FILE).read_bytes() == WEIGHTS
    assert "cannot be reached from there: pushing it" in progress.notes[0]
    assert remote.pushed == [len(WEIGHTS)]
    assert left(cache / wanted.digest) == [FILE]
    (place / FILE).unlink()
    asked = len(hub.downloads())
    push(remote, wanted, controller=host, cache=cache, mode="push")
    assert (place / FILE).read_bytes() == WEIGHTS
    assert len(hub.downloads()) == asked


def test_fetch_mode_never_pushes(hub: FakeHub, host: Host, place: Path, tmp_path: Path) -> None:
    remote = RemoteHost(offline=True)
    with pytest.raises(DeployError, match="cannot be reached") as caught:
        push(remote, delivery(hub, place), controller=host, cache=tmp_path / "cache", mode="fetch")
    assert caught.value.host == "gpu01"
    assert remote.pushed == []


def test_a_hub_that_answers_with_an_error_is_not_worked_around(hub: FakeHub, host: Host, place: Path) -> None:
    wanted = delivery(hub, place)
    hub.add_fault(Fault(FILE, times=9, status=403))
    with pytest.raises(DeployError, match="HTTP 403"):
        push(RemoteHost(), wanted, controller=host)


def test_neither_can_reach_it(hub: FakeHub, host: Host, place: Path, tmp_path: Path) -> None:
    wanted = delivery(hub, place).model_copy(update={"url": "http://127.0.0.1:9/model"})
    with pytest.raises(DeployError, match=r"http://127.0.0.1:9/model cannot be reached") as caught:
        push(RemoteHost(offline=True), wanted, controller=host, cache=tmp_path / "cache")
    assert caught.value.host == "local"


def test_this_machine_keeps_one_copy(host: Host, source: Path, place: Path) -> None:
    push(host, from_here(source, place))
    assert (place / FILE).samefile(source)
    assert not (place / FILE).is_symlink()
    push(host, from_here(source, place))
    assert left(place) == [FILE]


def test_a_private_file_is_copied_so_that_services_can_read_it(host: Host, source: Path, place: Path) -> None:
    source.chmod(0o600)
    push(host, from_here(source, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert (place / FILE).stat().st_mode & 0o777 == 0o644
    assert source.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="no second file system to copy from")
def test_a_file_on_another_file_system_is_copied(host: Host, place: Path) -> None:
    source = Path(f"/dev/shm/deployctl-test-{os.getpid()}.gguf")
    source.write_bytes(WEIGHTS)
    try:
        push(host, from_here(source, place))
        assert (place / FILE).read_bytes() == WEIGHTS
        assert left(place) == [FILE]
    finally:
        source.unlink()


def test_a_local_file_that_changed_since_is_refused(host: Host, source: Path, place: Path) -> None:
    wanted = from_here(source, place)
    source.write_bytes(bytes(len(WEIGHTS)))
    with pytest.raises(DeployError, match="wrong digest"):
        push(host, wanted)
    assert left(place) == []
    assert source.exists()

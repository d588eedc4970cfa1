"""Fetching: a host downloads by itself, from a Hub on which everything goes wrong that can."""

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.errors import DeployError, RefusedError
from orchestrator.hosts.base import Host
from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.secret import Secret
from orchestrator.models.delivery import Delivery, Patience, parse_probe, probe_script
from orchestrator.models.reference import HubFile
from orchestrator.models.transfer import deliver
from tests.doubles.hub import FakeHub, Fault
from tests.models.conftest import FILE, QUICK, REPO, WEIGHTS, KilledHost, Recorder, client, delivery, left


def fetch(host: Host, *files: Delivery, token: str | None = None, patience: Patience = QUICK) -> Recorder:
    progress = Recorder()
    secret = Secret(token) if token else None
    deliver(host, files, mode="fetch", progress=progress, token=secret, patience=patience)
    return progress


def test_a_file_arrives_whole_readable_and_alone(hub: FakeHub, host: Host, place: Path) -> None:
    progress = fetch(host, delivery(hub, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert (place / FILE).stat().st_mode & 0o777 == 0o644
    assert left(place) == [FILE]
    assert progress.unit == "bytes"
    assert progress.updates[-1] == len(WEIGHTS)


def test_small_files_are_verified_by_their_git_blob(hub: FakeHub, host: Host, place: Path) -> None:
    hub.add_repo(REPO, {"config.json": b'{"a": 1}', "empty.json": b"", FILE: WEIGHTS})
    commit = client(hub).resolve(HubFile(REPO, FILE)).commit
    repo = hub.repo(REPO)
    assert repo is not None
    wanted = [
        Delivery(
            url=f"{hub.url}/{REPO}/resolve/{commit}/{name}",
            destination=str(place / name),
            size=len(repo.files[name].content),
            git_sha1=repo.files[name].git_sha1,
        )
        for name in ("config.json", "empty.json")
    ]
    fetch(host, *wanted)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {
        "config.json": b'{"a": 1}',
        "empty.json": b"",
    }


def test_a_cut_is_resumed_at_the_exact_byte(hub: FakeHub, host: Host, place: Path) -> None:
    hub.add_fault(Fault(FILE, cut_after=1_234_567))
    fetch(host, delivery(hub, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert [record.range for record in hub.downloads(FILE)] == ["", "bytes=1234567-"]
    assert [record.sent for record in hub.downloads(FILE)] == [1_234_567, len(WEIGHTS) - 1_234_567]


def test_many_cuts_are_borne_as_long_as_it_gets_on(hub: FakeHub, host: Host, place: Path) -> None:
    big = WEIGHTS * 3
    hub.add_repo(REPO, {FILE: big})
    hub.add_fault(Fault(FILE, times=6, cut_after=1_200_000))
    fetch(host, delivery(hub, place))  # 6 cuts, with 3 tries
    assert (place / FILE).read_bytes() == big


def test_a_server_that_always_cuts_is_given_up_and_the_part_kept(hub: FakeHub, host: Host, place: Path) -> None:
    hub.add_fault(Fault(FILE, times=99, cut_after=1000))
    with pytest.raises(DeployError, match="cut again and again"):
        fetch(host, delivery(hub, place))
    assert left(place) == [FILE + ".part"]
    assert len(hub.downloads(FILE)) == QUICK.tries


def test_a_killed_transfer_goes_on_where_it_was(hub: FakeHub, place: Path) -> None:
    fault = hub.add_fault(Fault(FILE, wait_after=2_000_000))
    wanted = delivery(hub, place)
    killed = KilledHost(at=f"bytes 0 {2_000_000}")
    with pytest.raises(DeployError, match="stopped with status 137"):
        fetch(killed, wanted, patience=Patience(stall=60))
    fault.go_on.set()
    assert left(place) == [FILE + ".part"]
    assert (place / (FILE + ".part")).read_bytes() == WEIGHTS[:2_000_000]
    fetch(LocalHost(), wanted)
    assert (place / FILE).read_bytes() == WEIGHTS
    assert left(place) == [FILE]
    assert [record.range for record in hub.downloads(FILE)] == ["", "bytes=2000000-"]


def test_two_runs_write_one_file_one_after_the_other(hub: FakeHub, place: Path) -> None:
    fault = hub.add_fault(Fault(FILE, wait_after=1000))
    wanted = delivery(hub, place)
    waits = threading.Event()

    class Waiting(Recorder):
        def said(self, text: str) -> None:
            super().said(text)
            if "another run" in text:
                waits.set()

    with ThreadPoolExecutor() as pool:
        first = pool.submit(fetch, LocalHost(), wanted)
        assert fault.reached.wait(30)
        second = pool.submit(deliver, LocalHost(), [wanted], progress=Waiting(), patience=QUICK)
        assert waits.wait(30)
        fault.go_on.set()
        first.result()
        second.result()
    assert (place / FILE).read_bytes() == WEIGHTS
    assert left(place) == [FILE]
    assert len(hub.downloads(FILE)) == 1


def test_one_wrong_byte_is_fetched_again(hub: FakeHub, host: Host, place: Path) -> None:
    hub.add_fault(Fault(FILE, flip=99))
    fetch(host, delivery(hub, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert [record.range for record in hub.downloads(FILE)] == ["", ""]


@pytest.mark.parametrize("old", [None, b"an older model"])
def test_wrong_bytes_are_refused_and_nothing_shows(hub: FakeHub, host: Host, place: Path, old: bytes | None) -> None:
    if old:
        (place / FILE).write_bytes(old)
    hub.add_fault(Fault(FILE, times=9, flip=99))
    with pytest.raises(DeployError, match="wrong digest") as caught:
        fetch(host, delivery(hub, place))
    assert FILE in caught.value.what
    assert left(place) == ([FILE] if old else [])
    assert not old or (place / FILE).read_bytes() == old
    assert len(hub.downloads(FILE)) == 2


def test_a_lie_about_the_digest_is_found(hub: FakeHub, host: Host, place: Path) -> None:
    repo = hub.repo(REPO)
    assert repo is not None
    repo.files[FILE].lie = "0" * 64
    with pytest.raises(DeployError, match="wrong digest"):
        fetch(host, delivery(hub, place))
    assert left(place) == []


def test_a_server_that_ignores_range_begins_anew(hub: FakeHub, host: Host, place: Path) -> None:
    hub.add_fault(Fault(FILE, cut_after=1_000_000))
    hub.add_fault(Fault(FILE, ignore_range=True))
    fetch(host, delivery(hub, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert [record.range for record in hub.downloads(FILE)] == ["", "bytes=1000000-", ""]


def test_a_wrong_content_range_begins_anew(hub: FakeHub, host: Host, place: Path) -> None:
    hub.add_fault(Fault(FILE, cut_after=1_000_000))
    hub.add_fault(Fault(FILE, shift=10))
    fetch(host, delivery(hub, place))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert hub.downloads(FILE)[-1].range == ""


def test_a_part_that_is_too_large_is_thrown_away(hub: FakeHub, host: Host, place: Path) -> None:
    (place / (FILE + ".part")).write_bytes(b"x" * (len(WEIGHTS) + 1))
    fetch(host, delivery(hub, place))
    assert (place / FILE).read_bytes() == WEIGHTS


@pytest.mark.parametrize("extra", [1, 64_000_000])
def test_more_than_promised_is_refused(hub: FakeHub, host: Host, place: Path, extra: int) -> None:
    hub.add_fault(Fault(FILE, times=9, extra=extra))
    with pytest.raises(DeployError, match="larger than its metadata says"):
        fetch(host, delivery(hub, place))
    assert left(place) == []
    assert extra == 1 or hub.downloads(FILE)[0].sent < extra  # it was not listened to until the end


def test_less_than_promised_is_refused(hub: FakeHub, host: Host, place: Path) -> None:
    wanted = delivery(hub, place).model_copy(update={"size": len(WEIGHTS) + 5})
    with pytest.raises(DeployError, match="smaller than its metadata says"):
        fetch(host, wanted)
    assert left(place) == []


@pytest.mark.parametrize(
    ("status", "message", "asked"),
    [
        (401, "token", 1),
        (403, "token", 1),
        (404, "not there", 1),
        (410, "not there", 1),
        (418, "HTTP 418", 1),
        (429, "HTTP 429", 3),
        (500, "HTTP 500", 3),
        (503, "HTTP 503", 3),
    ],
)
def test_statuses(hub: FakeHub, host: Host, place: Path, status: int, message: str, asked: int) -> None:
    wanted = delivery(hub, place)
    hub.add_fault(Fault(FILE, times=9, status=status))
    with pytest.raises(DeployError, match=message) as caught:
        fetch(host, wanted, token="hf_canary")
    assert len(hub.downloads(FILE)) == asked
    assert left(place) == []
    assert caught.value.host == "local"
    assert caught.value.remedy
    assert "hf_canary" not in repr(vars(caught.value))


def test_a_busy_server_is_asked_again_when_it_says(hub: FakeHub, host: Host, place: Path) -> None:
    hub.add_fault(Fault(FILE, status=503))
    hub.add_fault(Fault(FILE, status=429, retry_after="3600"))
    progress = fetch(host, delivery(hub, place), patience=Patience(tries=4, pause=0, longest=1))
    assert (place / FILE).read_bytes() == WEIGHTS
    assert any("busy 429; trying again in 1 s" in message for message in progress.messages)


def test_a_stalled_transfer_counts_as_cut(hub: FakeHub, host: Host, place: Path) -> None:
    fault = hub.add_fault(Fault(FILE, wait_after=1_000_000))
    fetch(host, delivery(hub, place), patience=Patience(tries=3, pause=0, stall=1))
    fault.go_on.set()
    assert (place / FILE).read_bytes() == WEIGHTS
    assert hub.downloads(FILE)[-1].range == "bytes=1000000-"


def test_a_place_that_cannot_be_reached_says_so(hub: FakeHub, host: Host, place: Path) -> None:
    wanted = delivery(hub, place).model_copy(update={"url": "http://127.0.0.1:9/x"})
    with pytest.raises(DeployError, match="cannot be reached") as caught:
        fetch(host, wanted)
    assert "refused" in caught.value.why or "connect" in caught.value.why
    assert left(place) == []


def test_the_token_reaches_the_hub_and_not_its_cdn(host: Host, place: Path) -> None:
    with FakeHub(token="hf_canary", cdn=True) as hub:
        hub.add_repo(REPO, {FILE: WEIGHTS}, private=True)
        hub.add_fault(Fault("/__cdn/", cut_after=1_000_000))
        fetch(host, delivery(hub, place), token="hf_canary")
        assert (place / FILE).read_bytes() == WEIGHTS
        at_hub = [record for record in hub.downloads() if "/resolve/" in record.path]
        at_cdn = [record for record in hub.downloads() if "/__cdn/" in record.path]
    assert {record.authorization for record in at_hub} == {"Bearer hf_canary"}
    assert [record.authorization for record in at_cdn] == ["", ""]
    assert at_cdn[-1].range == "bytes=1000000-"


def test_the_token_is_in_no_process_and_no_file(hub: FakeHub, host: Host, place: Path) -> None:
    fault = hub.add_fault(Fault(FILE, wait_after=1000))
    wanted = delivery(hub, place)
    with ThreadPoolExecutor() as pool:
        transfer = pool.submit(fetch, host, wanted, token="hf_canary")
        assert fault.reached.wait(30)
        shown = [_command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        parts = [path.read_bytes() for path in place.iterdir()]
        fault.go_on.set()
        transfer.result()
    assert any(b"curl" in line and FILE.encode() in line for line in shown)
    assert not any(b"hf_canary" in text for text in shown + parts)
    assert hub.downloads(FILE)[0].authorization == "Bearer hf_canary"


def _command_line(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile
        return b""


@pytest.mark.parametrize("token", ['a"b\\c', "$(touch x)'`"])
def test_a_strange_token_arrives_as_it_is(hub: FakeHub, host: Host, place: Path, token: str) -> None:
    fetch(host, delivery(hub, place), token=token)
    assert hub.downloads(FILE)[0].authorization == f"Bearer {token}"


def test_a_token_with_a_line_feed_is_refused(hub: FakeHub, host: Host, place: Path) -> None:
    with pytest.raises(DeployError, match="control character") as caught:
        fetch(host, delivery(hub, place), token="hf\noutput = /tmp/x")
    assert "hf" not in caught.value.what + caught.value.why


def test_what_is_there_is_not_fetched(hub: FakeHub, host: Host, place: Path) -> None:
    (place / FILE).write_bytes(WEIGHTS)
    fetch(host, delivery(hub, place))
    assert hub.downloads(FILE) == []
    assert left(place) == [FILE]


def test_a_file_of_the_right_size_with_other_content_is_replaced(hub: FakeHub, host: Host, place: Path) -> None:
    (place / FILE).write_bytes(bytes(len(WEIGHTS)))
    fetch(host, delivery(hub, place))
    assert (place / FILE).read_bytes() == WEIGHTS


def test_a_directory_in_the_way_is_said(hub: FakeHub, host: Host, place: Path) -> None:
    (place / FILE).mkdir()
    with pytest.raises(DeployError, match="is a directory"):
        fetch(host, delivery(hub, place))
    assert left(place) == [FILE]


def test_a_folder_that_is_missing_is_said(hub: FakeHub, host: Host, place: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be written"):
        fetch(host, delivery(hub, place / "not made"))


def test_what_does_not_fit_is_refused_before_anything(hub: FakeHub, host: Host, place: Path) -> None:
    huge = delivery(hub, place).model_copy(update={"size": 1 << 60})
    with pytest.raises(RefusedError, match=r"No room on /.*: \d+\.\d\d GiB needed, \d+\.\d\d GiB free"):
        fetch(host, huge)
    assert hub.downloads(FILE) == []
    assert left(place) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_small_disk_has_room_for_what_is_missing_only(hub: FakeHub, host: Host, place: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3500k", "none", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode()}")
    try:
        wanted = delivery(hub, place)
        (place / "other").write_bytes(bytes(2_000_000))
        with pytest.raises(RefusedError, match="No room"):
            fetch(host, wanted)
        (place / (FILE + ".part")).write_bytes(WEIGHTS[:1_000_000])
        (place / "other").write_bytes(bytes(400_000))
        fetch(host, wanted)
        assert (place / FILE).read_bytes() == WEIGHTS
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_probe_tells_what_is_there(host: Host, place: Path) -> None:
    there, gone = place / "there", place / "not" / "yet"
    there.write_bytes(b"abc")
    os.utime(there, (1, 1234567890))
    (place / "there.part").write_bytes(b"ab")
    result = host.run(probe_script(str(there), str(gone)))
    first, second = parse_probe(result.stdout)
    assert (first.size, first.mtime, first.part, first.sha256) == (3, 1234567890, 2, None)
    assert (second.size, second.mtime, second.part) == (None, None, 0)
    assert first.free > 0 and first.mount == second.mount
    (hashed,) = parse_probe(host.run(probe_script(str(there), sha256=True)).stdout)
    assert hashed.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

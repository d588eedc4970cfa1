"""What `up ollama` does when something is wrong: the port, the archive, the Hub, the model, the engine."""

from __future__ import annotations

import io
import signal
import tarfile
from pathlib import Path

import pytest

from tests.doubles.hub import Fault
from tests.doubles.ollama.archive import make_archive
from tests.hosts.ollama.conftest import FILE, HOST, MODEL, NAME, REPO, TOKEN, Box, chat, only_double
from tests.lab.shell import run as run_here

pytestmark = pytest.mark.hosts


def refused_cleanly(box: Box) -> None:
    assert box.traces() == []


def test_a_port_that_is_taken(box: Box):
    box.machine.exec("systemd-run -q --unit lab-blocker python3 -m http.server 11434 --bind 127.0.0.1")
    box.machine.exec("timeout 30 sh -c 'until ss -Hltn sport = 11434 | grep -q .; do sleep 0.1; done'")
    try:
        run = box.up().ended(4)
    finally:
        box.machine.exec("systemctl stop lab-blocker")
    (error,) = run.json()["errors"]
    assert "11434" in error["what"] and "--port" in error["remedy"] and error["exit_code"] == 4
    refused_cleanly(box)


def test_an_archive_of_another_digest(box: Box):
    run = box.up("--archive-sha256", "0" * 64).ended(4)
    assert "digest" in run.text
    refused_cleanly(box)


def test_an_archive_that_is_not_there(box: Box):
    box.up("--archive", "/nowhere/ollama.tar.zst").ended(4)
    refused_cleanly(box)


@pytest.mark.parametrize(
    ("fault", "model", "status", "words"),
    [
        (Fault(path="/api/models/", status=401, times=9), MODEL, 1, "HF_TOKEN"),
        (None, "hf:org/nowhere-GGUF:Q4_K_M", 2, "org/nowhere-GGUF"),
        (None, f"hf:{REPO}:Q8_0", 2, "Q8_0"),
        (Fault(path="/api/models/", status=429, times=9), MODEL, 1, "429"),
    ],
    ids=["401", "404", "no such quantization", "429"],
)
def test_a_hub_that_says_no(box: Box, fault: Fault | None, model: str, status: int, words: str):
    if fault:
        box.hub.add_fault(fault)
    run = box.up("--model", model).ended(status)
    if fault:
        fault.times = 0
    assert words in run.stderr and "→" in run.stderr
    refused_cleanly(box)


def hostile_archives() -> dict[str, tarfile.TarInfo]:
    found = {}
    for label, name in (("absolute", "/etc/lab-evil"), ("upwards", "../../../../etc/lab-evil")):
        found[label] = tarfile.TarInfo(name)
    for label, kind, target in (
        ("symlink", tarfile.SYMTYPE, "/etc"),
        ("symlink upwards", tarfile.SYMTYPE, "../../../../../etc"),
        ("hard link", tarfile.LNKTYPE, "/etc/passwd"),
    ):
        entry = found[label] = tarfile.TarInfo("lib/out")
        entry.type, entry.linkname = kind, target
    device = found["device"] = tarfile.TarInfo("lib/null")
    device.type, device.devmajor, device.devminor, device.mode = tarfile.CHRTYPE, 1, 3, 0o666
    return found


@pytest.mark.parametrize("label", hostile_archives())
def test_an_archive_that_reaches_outside(box: Box, tmp_path: Path, label: str):
    path = tmp_path / "ollama.tgz"
    make_archive(path, format="tgz")
    with tarfile.open(path) as good:
        members = [(entry, good.extractfile(entry).read()) for entry in good.getmembers()]
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as bad:
        bad.addfile(hostile_archives()[label])
        through = tarfile.TarInfo("lib/out/lab-evil")
        for entry, content in [*members, (through, b"")]:
            bad.addfile(entry, io.BytesIO(content))
    run = box.up("--archive", str(path)).ended(1)
    (error,) = run.json()["errors"]
    assert "cannot unpack" in error["what"] and ("outside" in error["why"] or "special" in error["why"])
    assert box.machine.exec("ls /etc/lab-evil /opt/deployctl/ollama/*/bin 2>/dev/null || true") == ""


def test_a_download_that_is_wrong_is_never_seen(box: Box):
    fault = box.hub.add_fault(
        Fault(path=f"/resolve/{box.hub.repo(REPO).commit}/{FILE}", flip=70_000, times=2, to_the_end=True)
    )
    run = box.up().ended(1)
    assert fault.times == 0
    assert "digest" in run.json()["errors"][0]["what"]
    assert box.machine.exec("find /var/lib/deployctl/models -type f") == ""
    (shown,) = box.status()
    assert shown["state"] == "unfinished"


def test_an_account_that_was_never_made_is_no_hindrance(box: Box):
    """An earlier `down` kept a folder of data, whose owner it took away."""
    box.machine.exec("install -d -m 700 /var/lib/deployctl/gateway")
    try:
        box.down().ended(0)
    finally:
        box.machine.exec("rmdir /var/lib/deployctl/gateway")


def test_an_interrupted_download(box: Box):
    """The token is in no process list while the machine downloads; the next `up` goes on (below)."""
    held = box.hub.add_fault(
        Fault(path=f"/resolve/{box.hub.repo(REPO).commit}/{FILE}", wait_after=20_000, to_the_end=True)
    )
    words = ("up", "ollama", "--host", HOST, "--yes", "--archive", str(box.archive), "--model", MODEL)
    with box.deployctl.start(*words) as process:
        try:
            assert held.reached.wait(60), "the machine asked for nothing"
            everywhere = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
            there, here = box.machine.exec(everywhere), run_here(["ps", "-eo", "args"]).stdout
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            box.machine.exec("timeout 20 sh -c 'while pgrep -x curl >/dev/null; do sleep 0.1; done'")
        finally:
            held.go_on.set()
            process.kill()
    assert "curl" in there and "ollama" in here
    assert TOKEN not in there + here + out + err
    assert process.returncode == 130 and "again" in err and "Traceback" not in err
    assert box.machine.exec("find /var/lib/deployctl/models -name '*.gguf'") == ""


def test_a_busy_hub_and_a_cut_download_are_borne(box: Box):
    """And `up` goes on where the failed one has stopped."""
    box.hub.add_fault(Fault(path="/api/models/", status=503))
    box.hub.add_fault(Fault(path=f"/{FILE}", cut_after=50_000, to_the_end=True))
    before = len(box.hub.downloads(to_the_end=True))
    box.up().ended(0)
    downloads = box.hub.downloads(to_the_end=True)[before:]
    assert [record.range for record in downloads] == ["bytes=20000-", "bytes=70000-"]
    assert {record.authorization for record in downloads} == {f"Bearer {TOKEN}"}
    assert NAME in chat(box.machine)


@only_double
def test_an_engine_that_does_not_generate(box: Box):
    broken = "error starting llama-server: llama-server binary not found"
    run = box.up("--set", f"ollama.env.DOUBLE_OLLAMA_FAIL={broken}").ended(5)
    health = run.json()["deployments"][0]["health"]
    assert health["failed"] == "generates" and "incomplete" in health["diagnosis"]["cause"]
    held = {rung["name"]: rung["ok"] for rung in health["rungs"]}
    assert held["model listed"] is True and held["generates"] is False and held["makes sense"] is None
    text = box.deployctl(*run.words[:5], *(word for word in run.words[5:] if word != "--json")).ended(5).stdout
    assert "✓ model listed" in text and "✗ generates" in text and "cause" in text and "remedy" in text


@only_double
def test_an_engine_that_dies_at_its_start(box: Box):
    """There is no server to make the model in: why is for the ladder to say."""
    run = box.up("--set", "ollama.env.DOUBLE_OLLAMA_LISTEN_SECONDS=never", "--set", "system=New.").ended(5)
    (deployment,) = run.json()["deployments"]
    health = deployment["health"]
    assert health["failed"] in ("running", "port open") and "could not convert" in health["log"]
    assert deployment["returned"]["health"]["healthy"] and box.status()[0]["state"] == "serving"


def test_a_model_that_is_damaged(box: Box, gguf: Path):
    box.hub.add_repo("org/broken-GGUF", {"broken-Q4_K_M.gguf": gguf.read_bytes()[:-30_000]})
    run = box.up("--model", "hf:org/broken-GGUF:Q4_K_M").ended(5)
    (error,) = run.json()["errors"]
    assert "broken" in error["what"] and "exceeds file size" in error["why"] and "\x1b" not in error["why"], run
    assert "returned to what was healthy before" in error["why"]
    shown = box.status()[0]
    assert (shown["state"], shown["drift"]) == ("serving", [])
    assert box.machine.exec(f"find /var/lib/deployctl/models -name {FILE}"), "the model before is gone too early"


def test_what_failed_is_taken_down_without_a_trace(box: Box):
    box.down("--purge").ended(0)
    assert box.changed() == []


def test_a_tgz(box: Box, tmp_path: Path):
    """An older release's form, and a version that the user vouches for."""
    archive = make_archive(tmp_path / "ollama.tgz", format="tgz", version="0.13.5")
    run = box.up("--archive", str(archive.path), "--archive-sha256", archive.sha256, "--engine-version", "0.13.5")
    run.ended(0)
    assert "0.13.5" in box.machine.exec("/opt/deployctl/ollama/0.13.5/bin/ollama --version")
    box.down("--purge").ended(0)
    assert box.traces() == []

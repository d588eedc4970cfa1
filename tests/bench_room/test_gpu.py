"""GPUs under load: what nvidia-smi prints, read; the script that watches, run with a stand-in for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.bench.gpu import ABSENT, read, watched
from orchestrator.hosts.local import LocalHost

# nvidia-smi's own form, twice a second; the second card tells no power.
TEXT = """\
2026/11/24 14:25:08.000, 0, NVIDIA GeForce RTX 4060 Ti, 14200, 16380, 100, 100.00
2026/11/24 14:25:08.000, 1, NVIDIA T400, 500, 2048, 0, [N/A]
2026/11/24 14:25:08.500, 0, NVIDIA GeForce RTX 4060 Ti, 14900, 16380, 90, 140.00
2026/11/24 14:25:08.500, 1, NVIDIA T400, 400, 2048, 10, [N/A]
2026/11/24 14:25:09.500, 0, NVIDIA GeForce RTX 4060 Ti, 14300, 16380, 50, 60.00
"""

H100 = (
    ("28.001", 69.67),
    ("28.507", 69.72),
    ("29.008", 69.67),
    ("29.508", 69.73),
    ("30.008", 69.63),
    ("30.509", 69.65),
)

STAND_IN = """#!/bin/sh
case "$*" in *timestamp,index,name,memory.used,memory.total,utilization.gpu,power.draw*-lms*) ;; *) exit 9;; esac
cat <<'END'
{text}END
touch {told}
exec sleep 600
"""


def test_samples_become_peaks_means_and_energy():
    first, second = read(TEXT)
    assert (first.index, first.name, first.memory_total_mib) == (0, "NVIDIA GeForce RTX 4060 Ti", 16380)
    assert first.memory_peak_mib == 14900 and first.use_percent == 80.0
    assert first.energy_j == pytest.approx(0.5 * 120 + 1.0 * 100)
    assert second.energy_j is None and second.memory_peak_mib == 500 and second.use_percent == 5.0


@pytest.mark.parametrize("text", ["", "No devices were found\n", "NVIDIA-SMI has failed", "a, b, c, d, e, f, g\n"])
def test_what_is_no_sample_is_no_gpu(text: str):
    assert read(text) == ()


def test_what_an_idle_h100_said():
    """Driver 580.159.04; that driver's nvidia-smi has no counter of energy to ask for."""
    lines = (f"2026/11/24 14:59:{at}, 0, NVIDIA H100 80GB HBM3, 0, 81559, 0, {watts}\n" for at, watts in H100)
    (gpu,) = read("".join(lines))
    assert (gpu.name, gpu.memory_total_mib, gpu.use_percent) == ("NVIDIA H100 80GB HBM3", 81559, 0.0)
    assert gpu.energy_j == pytest.approx(69.68 * 2.508, rel=0.001)


def test_one_sample_has_no_energy():
    assert read(TEXT.splitlines()[0])[0].energy_j is None


def test_the_host_is_watched_while_the_block_runs_and_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told, scratch = tmp_path / "told", tmp_path / "tmp"
    scratch.mkdir()
    program = tmp_path / "nvidia-smi"
    program.write_text(STAND_IN.format(text=TEXT, told=told))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("TMPDIR", str(scratch))
    host = LocalHost()
    with watched(host) as seen:
        assert host.run(f"until [ -e {told} ]; do sleep 0.05; done", timeout=30)
        assert len(list(scratch.iterdir())) == 1
    assert [use.memory_peak_mib for use in seen.use] == [14900, 500] and seen.note == ""
    assert list(scratch.iterdir()) == []
    assert not host.run(f"pgrep -f {tmp_path}/nvidia-smi"), "it was told to stop"


def test_a_run_that_is_cut_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    program = tmp_path / "nvidia-smi"
    program.write_text(STAND_IN.format(text=TEXT, told=tmp_path / "told"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("TMPDIR", str(scratch))
    host = LocalHost()
    with pytest.raises(KeyboardInterrupt), watched(host):
        raise KeyboardInterrupt
    host.close()
    assert list(scratch.iterdir()) == [] and not host.run(f"pgrep -f {tmp_path}/nvidia-smi")


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_without_a_gpu_or_a_host_the_reason_is_said():
    with watched(LocalHost()) as seen:
        pass
    assert seen.use == () and seen.note == ABSENT
    with watched(None) as seen:
        pass
    assert "not known" in seen.note

"""GPUs as nvidia-smi tells of them: recorded on a real card, and described after the shape that others have."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.facts import Facts, Gpu, GpuProcess, MigInstance, gather, smi
from tests.facts.shells import SHELLS, ShellHost

HERE = Path(__file__).parent
RECORDED, DESCRIBED = HERE / "recorded", HERE / "described"

NO_SUCH_FIELD = 'Field "compute_cap" is not a valid field to query.'


@pytest.fixture(params=sorted(SHELLS))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> ShellHost:
    return ShellHost(tmp_path / "host", SHELLS[request.param])


def seen(host: ShellHost, folder: Path) -> Facts:
    """The facts of a host whose nvidia-smi answers with what is in a folder."""
    host.program(
        "nvidia-smi",
        f'case "$*" in "-q -x") exec cat {folder}/q.xml;; -L) exec cat {folder}/L.txt;; *compute_cap*) '
        f"[ -f {folder}/compute_cap.csv ] && exec cat {folder}/compute_cap.csv; echo '{NO_SUCH_FIELD}';; esac; exit 2",
    )
    return gather(host)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["h100-idle", "h100-busy"])
def test_a_real_h100_is_the_same_by_nvidia_smi_as_it_was_by_nvml(host: ShellHost, name: str) -> None:
    facts = seen(host, RECORDED / name)
    nvml = [Gpu.model_validate(gpu) for gpu in json.loads((RECORDED / name / "nvml.json").read_text("utf-8"))]
    assert (list(facts.gpus), facts.gpu_problem) == (nvml, "")
    assert (nvml[0].name, nvml[0].compute_capability, nvml[0].cuda) == ("NVIDIA H100 80GB HBM3", (9, 0), (13, 0))


def test_a_desktop_card_draws_and_computes(host: ShellHost) -> None:
    (card,) = seen(host, DESCRIBED / "geforce-desktop").gpus
    assert (card.memory_total_mib, card.memory_used_mib, card.memory_free_mib) == (16380, 912, 15100)
    assert (card.ecc, card.mig, card.mig_instances) == (None, None, ())
    assert card.processes == (
        GpuProcess(pid=1200, name='python3 -c "a & b"', memory_mib=512),
        GpuProcess(pid=1893, name="/usr/lib/xorg/Xorg", memory_mib=368),
    )


def test_a_card_that_is_shared_out_and_one_that_is_not(host: ShellHost) -> None:
    shared, whole = seen(host, DESCRIBED / "a100-mig").gpus
    assert (shared.mig, shared.ecc, whole.mig, whole.ecc) == (True, True, False, False)
    assert shared.mig_instances == (
        MigInstance(
            index=0,
            uuid="MIG-cccccccc-0000-5000-8000-000000000001",
            profile="3g.20gb",
            memory_total_mib=19968,
            memory_used_mib=19,
            memory_free_mib=19949,
        ),
        MigInstance(
            index=1,
            uuid="MIG-cccccccc-0000-5000-8000-000000000002",
            profile="2g.10gb",
            memory_total_mib=9856,
            memory_used_mib=2058,
            memory_free_mib=7798,
        ),
    )
    assert (shared.memory_total_mib, shared.cuda, shared.processes[0].pid) == (40960, (12, 2), 5150)
    assert whole.mig_instances == ()
    assert [card.uuid[-1] for card in (shared, whole)] == ["1", "2"]


def test_without_root_a_shared_out_card_has_what_its_instances_have(host: ShellHost) -> None:
    facts = seen(host, DESCRIBED / "h100-mig-unprivileged")
    assert facts.gpu_problem == ""
    assert (facts.gpus[0].memory_total_mib, facts.gpus[0].memory_free_mib) == (40448, 40404)


@pytest.mark.parametrize(("name", "capability"), [("gb10", (12, 1)), ("jetson-orin", None)])
def test_a_card_without_memory_of_its_own_has_the_host_s(
    host: ShellHost, name: str, capability: tuple[int, int] | None
) -> None:
    facts = seen(host, DESCRIBED / name)
    (card,) = facts.gpus
    assert card.unified
    assert card.memory_total_mib == facts.memory_total >> 20
    assert card.memory_free_mib == facts.memory_available >> 20
    assert card.compute_capability == capability


def test_an_old_driver_tells_no_compute_capability(host: ShellHost) -> None:
    facts = seen(host, DESCRIBED / "k80-470")
    assert [(card.index, card.memory_free_mib, card.ecc) for card in facts.gpus] == [
        (0, 11441, True),
        (1, 11437, False),
    ]
    assert (facts.gpus[0].compute_capability, facts.gpus[0].driver, facts.gpu_problem) == (None, "470.256.02", "")


def test_a_card_that_is_lost_is_told_and_hides_no_other(host: ShellHost) -> None:
    facts = seen(host, DESCRIBED / "b200-lost")
    assert [(card.index, card.compute_capability) for card in facts.gpus] == [(0, (10, 0))]
    assert facts.gpu_problem == "GPU 1 (NVIDIA B200) says of its memory: Unknown Error"


@pytest.mark.parametrize(
    ("exits", "says"),
    [
        (6, "No devices were found"),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest"),
        (18, "Failed to initialize NVML: Driver/library version mismatch"),
        (255, "Failed to initialize NVML: Unknown Error"),
        (4, "Failed to initialize NVML: Insufficient Permissions"),
    ],
)
def test_why_there_are_none(host: ShellHost, exits: int, says: str) -> None:
    host.program("nvidia-smi", f'echo "{says}"; echo "NVML library version: 580.95"; exit {exits}')
    facts = gather(host)  # type: ignore[arg-type]
    assert (facts.gpus, facts.gpu_problem) == ((), f"{says} NVML library version: 580.95")


def test_a_driver_that_hangs_holds_nothing_up(host: ShellHost, tmp_path: Path) -> None:
    """As an nvidia-smi in uninterruptible sleep, it outlives the limit: in a session of its own, no signal comes."""
    host.program("nvidia-smi", f"echo $$ >> {tmp_path}/pids; exec {shutil.which('setsid')} {shutil.which('sleep')} 600")
    run = host.run
    host.run = lambda script, **options: run(script.replace("limit 15 sh", "limit 0.5 sh"), **options)  # type: ignore[method-assign]
    facts = gather(host, scope="user")  # type: ignore[arg-type]
    for pid in (tmp_path / "pids").read_text().split():
        os.kill(int(pid), signal.SIGKILL)  # fails where it has not been there to the end
    assert (facts.gpus, facts.gpu_problem) == ((), "nvidia-smi does not answer within 15 s")


@given(st.lists(st.text()), st.lists(st.text()), st.lists(st.text()))
def test_no_answer_is_a_traceback(lines: list[str], capabilities: list[str], listed: list[str]) -> None:
    assert smi.read(lines, capabilities, listed) == ((), "")


@given(st.data())
def test_an_answer_that_is_cut_or_garbled_is_no_traceback(data: st.DataObject) -> None:
    lines = (DESCRIBED / "a100-mig" / "q.xml").read_text("utf-8").splitlines()
    cut = data.draw(st.integers(0, len(lines)))
    swapped = data.draw(st.lists(st.sampled_from(lines), max_size=5))
    gpus, _ = smi.read([*lines[:cut], *swapped], ["GPU-x"], ["  MIG x Device ²: (UUID: y)"])
    assert all(card.memory_total_mib >= card.memory_free_mib or card.mig for card in gpus)

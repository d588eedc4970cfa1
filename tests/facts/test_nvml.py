"""NVML's answers, and what is made of its refusals. That both ways agree was recorded on a real card (test_gpus.py)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pynvml
import pytest

from orchestrator.facts import nvml
from orchestrator.facts.gather import gather
from orchestrator.hosts.local import LocalHost

MIB = 1 << 20


def refusing(code: int) -> Callable[..., object]:
    def refuse(*_: object, **__: object) -> object:
        raise pynvml.NVMLError(code)

    return refuse


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """NVML with one idle card of 24 GiB; give functions of other behaviour by name."""

    def behave(**functions: object) -> None:
        card: dict[str, object] = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlSystemGetDriverVersion": lambda: "580.95.05",
            "nvmlSystemGetCudaDriverVersion_v2": lambda: 13010,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda handle: "NVIDIA RTX 4090",
            "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
            "nvmlDeviceGetMemoryInfo": lambda handle, version=None: SimpleNamespace(
                total=24564 * MIB, used=10 * MIB + 1, free=24000 * MIB
            ),
            "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 9),
            "nvmlDeviceGetEccMode": refusing(pynvml.NVML_ERROR_NOT_SUPPORTED),
            "nvmlDeviceGetMigMode": refusing(pynvml.NVML_ERROR_NOT_SUPPORTED),
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [],
            "nvmlDeviceGetGraphicsRunningProcesses": lambda handle: [],
        }
        for name, function in {**card, **functions}.items():
            monkeypatch.setattr(pynvml, name, function)

    return behave


def test_without_the_library_nothing_is_said(library: Callable[..., None]) -> None:
    library(nvmlInit=refusing(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    assert nvml.read() is None


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "Failed to initialize NVML: RM has detected an NVML/RM version"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "Failed to initialize NVML: Driver Not Loaded"),
    ],
)
def test_a_driver_that_does_not_work_is_told(library: Callable[..., None], code: int, says: str) -> None:
    library(nvmlInit=refusing(code))
    told = nvml.read()
    assert told is not None
    assert told[0] == ()
    assert told[1].startswith(says)


def test_what_a_card_does_not_support_is_left_out(library: Callable[..., None]) -> None:
    library()
    (card,), problem = nvml.read() or ((), "")
    assert (card.ecc, card.mig, card.cuda, card.memory_used_mib, problem) == (None, None, (13, 1), 11, "")


def test_a_card_without_memory_of_its_own_has_the_host_s(library: Callable[..., None]) -> None:
    library(nvmlDeviceGetMemoryInfo=refusing(pynvml.NVML_ERROR_NOT_SUPPORTED))
    facts = gather(LocalHost())
    assert facts.gpus[0].unified
    assert facts.gpus[0].memory_total_mib == facts.memory_total >> 20


def test_a_card_that_is_lost_is_told_and_hides_no_other(library: Callable[..., None]) -> None:
    def handle(index: int) -> int:
        if index == 0:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    library(nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=handle)
    gpus, problem = nvml.read() or ((), "")
    assert [card.index for card in gpus] == [1]
    assert problem == "GPU 0: GPU is lost"


def test_a_shared_out_card_names_its_instances(library: Callable[..., None]) -> None:
    def instance(handle: int, index: int) -> str:
        if index != 2:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return "MIG-2"

    def memory(handle: object, version: object = None) -> SimpleNamespace:
        if version is not None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return SimpleNamespace(total=9856 * MIB, used=20 * MIB, free=9836 * MIB)

    library(
        nvmlDeviceGetMigMode=lambda handle: [1, 1],
        nvmlDeviceGetMaxMigDeviceCount=lambda handle: 7,
        nvmlDeviceGetMigDeviceHandleByIndex=instance,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetName=lambda handle: "NVIDIA A100 MIG 1g.10gb" if handle == "MIG-2" else "NVIDIA A100",
    )
    (card,), _ = nvml.read() or ((), "")
    assert [(item.index, item.profile, item.memory_free_mib) for item in card.mig_instances] == [(2, "1g.10gb", 9836)]


def test_processes_that_compute_and_draw_stand_once(library: Callable[..., None]) -> None:
    both = SimpleNamespace(pid=7, usedGpuMemory=100 * MIB)
    library(
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [both],
        nvmlDeviceGetGraphicsRunningProcesses=lambda handle: [both, SimpleNamespace(pid=3, usedGpuMemory=None)],
        nvmlSystemGetProcessName=lambda pid: {3: "Xorg", 7: "python3"}[pid],
    )
    (card,), _ = nvml.read() or ((), "")
    assert [(item.pid, item.name, item.memory_mib) for item in card.processes] == [
        (3, "Xorg", None),
        (7, "python3", 100),
    ]

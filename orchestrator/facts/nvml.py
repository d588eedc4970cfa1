"""The GPUs of this very machine, asked of the driver's library (NVML) without a program in between."""

from collections.abc import Callable
from typing import TypeVar

from orchestrator.facts.model import Gpu, GpuProcess, MigInstance

T = TypeVar("T")

_MIB = 1 << 20


def read() -> tuple[tuple[Gpu, ...], str] | None:
    """The GPUs and what is wrong, as ``smi.read``; None where the driver's library is not there to be asked."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return None
    except pynvml.NVMLError as error:
        return (), f"Failed to initialize NVML: {error}"
    try:
        driver, cuda = pynvml.nvmlSystemGetDriverVersion(), pynvml.nvmlSystemGetCudaDriverVersion_v2()
        found = [_Card(index, driver, cuda).read() for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return (), f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()
    gpus = tuple(item for item in found if isinstance(item, Gpu))
    return gpus, "; ".join(item for item in found if isinstance(item, str))


class _Card:
    """One card. What it or its driver does not support is left out; what it refuses to tell is told."""

    def __init__(self, index: int, driver: str, cuda: int) -> None:
        self.index, self.driver, self.cuda = index, driver, cuda

    def read(self) -> Gpu | str:
        """The card, or what is wrong with it."""
        import pynvml

        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(self.index)
            name = pynvml.nvmlDeviceGetName(handle)
        except pynvml.NVMLError as error:  # such as a card that fell off the bus
            return f"GPU {self.index}: {error}"
        try:
            total, used, free, unified = *_memory(handle), False
        except pynvml.NVMLError_NotSupported:
            total, used, free, unified = 0, 0, 0, True
        except pynvml.NVMLError as error:
            return f"GPU {self.index} ({name}) says of its memory: {error}"
        return Gpu(
            index=self.index,
            uuid=_told(pynvml.nvmlDeviceGetUUID, handle) or "",
            name=name,
            memory_total_mib=total,
            memory_used_mib=used,
            memory_free_mib=free,
            unified=unified,
            driver=self.driver,
            cuda=(self.cuda // 1000, self.cuda % 1000 // 10),
            compute_capability=_told(pynvml.nvmlDeviceGetCudaComputeCapability, handle),
            ecc=_switch(pynvml.nvmlDeviceGetEccMode, handle),
            mig=(mig := _switch(pynvml.nvmlDeviceGetMigMode, handle)),
            mig_instances=_instances(handle) if mig else (),
            processes=_processes(handle),
        )


def _memory(handle: object) -> tuple[int, int, int]:
    """Total, used and free MiB. Used is without what the driver reserves, where the driver can tell them apart."""
    import pynvml

    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 510
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return _mib(memory.total), _mib(memory.used), _mib(memory.free)


def _mib(size: int) -> int:
    """Bytes in MiB, rounded up: so does nvidia-smi."""
    return -(-size // _MIB)


def _instances(handle: object) -> tuple[MigInstance, ...]:
    import pynvml

    found = []
    for index in range(_told(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        instance = _told(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if instance is None:  # numbers are not handed out without gaps
            continue
        total, used, free = _told(_memory, instance) or (0, 0, 0)
        name = _told(pynvml.nvmlDeviceGetName, instance) or ""
        found.append(
            MigInstance(
                index=index,
                uuid=_told(pynvml.nvmlDeviceGetUUID, instance) or "",
                profile=name.rpartition("MIG ")[2],
                memory_total_mib=total,
                memory_used_mib=used,
                memory_free_mib=free,
            )
        )
    return tuple(found)


def _processes(handle: object) -> tuple[GpuProcess, ...]:
    """Those that compute and those that draw; one that does both is in both lists."""
    import pynvml

    lists = (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses)
    seen = {process.pid: process for ask in lists for process in _told(ask, handle) or ()}
    return tuple(
        GpuProcess(
            pid=pid,
            name=_told(pynvml.nvmlSystemGetProcessName, pid) or "",
            memory_mib=None if process.usedGpuMemory is None else _mib(process.usedGpuMemory),
        )
        for pid, process in sorted(seen.items())
    )


def _switch(ask: Callable[..., list[int]], handle: object) -> bool | None:
    """Whether something is on now; None where the card has no such thing. The second answer is for after a reboot."""
    state = _told(ask, handle)
    return None if state is None else bool(state[0])


def _told(ask: Callable[..., T], *about: object) -> T | None:
    """An answer, or None where card or driver have none."""
    import pynvml

    try:
        return ask(*about)
    except pynvml.NVMLError:
        return None

"""Where an engine computes: the GPUs whose driver lists its processes, and what these hold of main memory."""

from collections.abc import Set

from pydantic import BaseModel, ConfigDict

from orchestrator.facts import Facts, Gpu
from orchestrator.fit.memory import MIB
from orchestrator.health.processes import Processes
from orchestrator.planning.manifest import Manifest
from orchestrator.planning.room import ENGINES

_IDLE_MIB = 300
"""What a GPU may hold that computes for nobody: its own bookkeeping, and a screen's."""


class Devices(BaseModel):
    """What is seen of an engine's memory from outside.

    ``gpus`` are the numbers of those whose driver lists one of its processes, with ``gpu_bytes`` in sum; None where the
    driver's list cannot be told from here. ``ram_bytes`` is what its processes hold of main memory. ``meant`` are the
    GPUs that it was deployed for: None for a CPU, empty for any of them. ``predicted_low_bytes`` and
    ``predicted_high_bytes`` are the bounds of what was foreseen on all devices.
    """

    model_config = ConfigDict(frozen=True)

    gpus: tuple[int, ...] | None = None
    gpu_bytes: int | None = None
    ram_bytes: int | None = None
    meant: tuple[int, ...] | None = None
    predicted_low_bytes: int | None = None
    predicted_high_bytes: int | None = None


def meant_for(manifest: Manifest, facts: Facts) -> tuple[int, ...] | None:
    """The GPUs that a deployment was made for; empty where it may be any, None for a CPU."""
    estimate = manifest.fit.estimate if manifest.fit else None
    if manifest.runtime == "vllm" and manifest.summary.get("device") != "cuda":
        return None
    if estimate is not None:
        placed = tuple(sorted({place.gpu for place in estimate.placed if place.gpu is not None}))
        return placed if placed or manifest.runtime == "vllm" else None
    return () if manifest.runtime == "vllm" or facts.gpus else None


def devices(manifest: Manifest, facts: Facts, running: Processes, family: Set[int], *, alone: bool) -> Devices:
    """Where the processes ``family`` of a deployment compute. ``alone``: there is no other of its runtime."""
    estimate = manifest.fit.estimate if manifest.fit else None
    found = {gpu.index: _held(gpu, manifest.runtime, family, alone=alone) for gpu in facts.gpus}
    on = {index: sizes for index, sizes in found.items() if sizes}
    sizes = [size for each in on.values() for size in each]
    told = bool(on) or (bool(facts.gpus) and bool(family) and all(_tells(gpu) for gpu in facts.gpus))
    return Devices(
        gpus=tuple(on) if told else None,
        gpu_bytes=sum(size for size in sizes if size is not None) * MIB if sizes and None not in sizes else None,
        ram_bytes=running.resident_bytes(family) if family else None,
        meant=meant_for(manifest, facts),
        predicted_low_bytes=estimate.need_low_bytes if estimate else None,
        predicted_high_bytes=estimate.need_high_bytes if estimate else None,
    )


def _held(gpu: Gpu, runtime: str, family: Set[int], *, alone: bool) -> list[int | None]:
    """What the engine's processes hold of a GPU, in MiB: by their numbers.

    Where the driver counts in another space of numbers (within a container), by name, if there is no doubt whose.
    """
    mine = [process.memory_mib for process in gpu.processes if process.pid in family]
    if mine or not alone:
        return mine
    words = ENGINES[runtime]
    return [process.memory_mib for process in gpu.processes if any(word in process.name.lower() for word in words)]


def _tells(gpu: Gpu) -> bool:
    """Whether the driver's list can be trusted: within a container it is empty while memory is held."""
    return bool(gpu.processes) or gpu.memory_used_mib < _IDLE_MIB

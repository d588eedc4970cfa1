"""How much of a GPU vLLM may ask for."""

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import RefusedError
from orchestrator.facts import Gpu

CONTEXT_MIB = 600
"""Taken by the CUDA context before vLLM measures what is free: 0.51 GiB measured on an idle card
(reference/vllm.md section 9), rounded up."""


class GpuShare(BaseModel):
    """A ``--gpu-memory-utilization`` that starts, and what it means in words."""

    model_config = ConfigDict(frozen=True)

    utilization: float
    explanation: str


def chosen(gpus: Sequence[Gpu], wanted: str | tuple[int, ...], host: str) -> tuple[Gpu, ...]:
    """The GPUs that the spec names. Raises RefusedError for a number that the host does not have."""
    if wanted == "all":
        return tuple(gpus)
    known = {gpu.index: gpu for gpu in gpus}
    missing = [index for index in wanted if index not in known]
    if missing:
        have = ", ".join(str(index) for index in known) or "none"
        raise RefusedError(
            f"there is no GPU {missing[0]}", host=host, why=f"GPUs of the host: {have}", remedy="choose with --gpus"
        )
    return tuple(known[int(index)] for index in wanted)


def share(gpu_mem: float, gpus: Sequence[Gpu], previous: Mapping[str, str]) -> GpuShare:
    """Translate ``gpu_mem`` for the fullest of the GPUs; 1.0 means all that is free (DESIGN 5.1).

    vLLM refuses to start when free memory, after its CUDA context, is below total x utilization, so 1.0 verbatim
    never starts. Other values are the user's own words and pass unchanged. ``previous`` is the summary of the same
    deployment as it runs: what it holds itself is not free, so what was decided then still holds.
    """
    if gpu_mem < 1.0 or not gpus:
        return GpuShare(utilization=gpu_mem, explanation="")
    if previous.get("gpu_mem") == f"{gpu_mem:g}" and "gpu_utilization" in previous:
        known = float(previous["gpu_utilization"])
        return GpuShare(utilization=known, explanation=f"--gpu-mem 1.0 stays {known:g}, as it was translated before")
    fullest = min(gpus, key=lambda gpu: (gpu.memory_free_mib - CONTEXT_MIB) / gpu.memory_total_mib)
    usable = max(0, fullest.memory_free_mib - CONTEXT_MIB)
    utilization = max(0.01, math.floor(usable / fullest.memory_total_mib * 1000) / 1000)
    return GpuShare(
        utilization=utilization,
        explanation=f"--gpu-mem 1.0 means all that is free on {fullest.name}: {fullest.memory_free_mib} of "
        f"{fullest.memory_total_mib} MiB, less {CONTEXT_MIB} MiB for the CUDA context = {utilization:g}",
    )


def remembered(gpu_mem: float, decided: GpuShare) -> dict[str, str]:
    """What a deployment's summary keeps of the translation, for ``previous`` of the next run."""
    if not decided.explanation:
        return {}
    return {"gpu_mem": f"{gpu_mem:g}", "gpu_utilization": f"{decided.utilization:g}"}

"""How much of a GPU vLLM may ask for."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import RefusedError
from orchestrator.facts import Gpu
from orchestrator.fit.memory import Card
from orchestrator.fit.vllm import CONTEXT_MIB, utilization


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
    cards = [Card(gpu.name, gpu.memory_total_mib, gpu.memory_free_mib, gpu.index) for gpu in gpus]
    fullest = min(cards, key=utilization)
    starts = utilization(fullest)
    return GpuShare(
        utilization=starts,
        explanation=f"--gpu-mem 1.0 means all that is free on {fullest.name}: {fullest.free_mib} of "
        f"{fullest.total_mib} MiB, less {CONTEXT_MIB} MiB for the CUDA context = {starts:g}",
    )


def remembered(gpu_mem: float, decided: GpuShare) -> dict[str, str]:
    """What a deployment's summary keeps of the translation, for ``previous`` of the next run."""
    if not decided.explanation:
        return {}
    return {"gpu_mem": f"{gpu_mem:g}", "gpu_utilization": f"{decided.utilization:g}"}

"""The values that a prediction is made from, and what it says. Sizes are bytes unless the name says MiB."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

MIB = 1 << 20
GIB = 1 << 30

Runtime = Literal["ollama", "vllm"]
Verdict = Literal["fits", "tight", "spills", "does not fit"]
PartName = Literal["weights", "KV cache", "state", "compute", "overhead", "projector"]


@dataclass(frozen=True)
class Card:
    """One GPU: what its driver calls total and free, in MiB."""

    name: str
    total_mib: int
    free_mib: int
    index: int = 0

    @property
    def usable_mib(self) -> int:
        """What programs see as total: the driver keeps some back (304 MiB of an RTX 4060 Ti's 16380, 616 of an
        H200's 143771 measured)."""
        return self.total_mib - min(self.total_mib * 185 // 10000, 616)


@dataclass(frozen=True)
class Machine:
    """Where a model is to run: on its GPUs, or on the CPU when there are none. ``ram`` 0 means not known."""

    cards: tuple[Card, ...] = ()
    ram_total_bytes: int = 0
    ram_free_bytes: int = 0


@dataclass(frozen=True)
class OllamaSettings:
    """What decides Ollama's memory. ``context_tokens`` is per request (num_ctx).

    ``batch_tokens`` None lets Ollama choose (num_batch); ``flash_attention`` None means on where the GPU can;
    ``fit_target_mib`` is what llama.cpp keeps free on every GPU (LLAMA_ARG_FIT_TARGET).
    """

    context_tokens: int = 8192
    parallel: int = 1
    kv_cache_type: str = "f16"
    flash_attention: bool | None = None
    batch_tokens: int | None = None
    fit_target_mib: int = 1024


@dataclass(frozen=True)
class VllmSettings:
    """What decides vLLM's memory. ``context_tokens`` is max_model_len.

    ``parallel`` is how many requests of that length have to fit at once, for whoever asks; vLLM itself only asks for
    one. ``utilization`` None means all that is free, translated to what starts. ``cpu_kv_cache_bytes`` counts on a CPU.
    """

    context_tokens: int = 8192
    parallel: int = 1
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    kv_cache_dtype: str = "auto"
    utilization: float | None = None
    enforce_eager: bool = False
    tensor_parallel: int = 1
    version: str = "0.32.0"
    cpu_kv_cache_bytes: int = 4 * GIB


Settings = OllamaSettings | VllmSettings


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Part(_Result):
    """One use of memory, and between which bounds it lies; they are equal where arithmetic gives it exactly."""

    name: PartName
    low_bytes: int
    high_bytes: int


class Largest(_Result):
    """The largest context per request that fits for so many requests at once; 0 when none does."""

    parallel: int
    context_tokens: int


class Lever(_Result):
    """One setting to change and what that gives: the context that then fits, and the memory that it frees."""

    setting: str
    value: str
    context_tokens: int
    freed_bytes: int
    summary: str


class Placed(_Result):
    """What lies on a GPU, with the engine's own share, or in main memory (``gpu`` None). The output is a layer too."""

    gpu: int | None
    name: str
    need_bytes: int
    free_bytes: int
    layers: int


class Estimate(_Result):
    """What a model would take on a machine, and whether that fits.

    ``need_low_bytes`` to ``need_high_bytes`` is the sum of ``parts`` on all devices, of ``free_bytes`` that may be
    used there; ``reserve_bytes`` of that the engine leaves free. ``short_bytes`` is what is missing for a firm yes.
    ``kv_low_bytes`` to ``kv_high_bytes`` is the room for the KV cache and ``kv_request_bytes`` what one request of full
    length takes of it. ``concurrency`` counts such requests (vLLM). ``cpu_percent`` is the share of an Ollama model
    that spills to the CPU. ``certain`` is false where ``doubts`` make it an estimate only.
    """

    runtime: Runtime
    verdict: Verdict
    certain: bool
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    context_tokens: int
    parallel: int
    parts: tuple[Part, ...]
    need_low_bytes: int
    need_high_bytes: int
    free_bytes: int
    reserve_bytes: int
    short_bytes: int
    kv_low_bytes: int
    kv_high_bytes: int
    kv_request_bytes: int
    concurrency_low: float = 0.0
    concurrency_high: float = 0.0
    utilization: float | None = None
    batch_tokens: int = 0
    gpu_layers: int = 0
    cpu_percent: float = 0.0
    placed: tuple[Placed, ...] = ()

    @property
    def starts(self) -> bool:
        """Whether the engine would start at all, as far as can be told."""
        return self.verdict != "does not fit"

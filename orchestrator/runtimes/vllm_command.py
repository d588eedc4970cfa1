"""The words and variables that start vLLM, for every way of running it. Pure."""

import json

from pydantic import BaseModel, ConfigDict

from orchestrator.spec import Sampling, Spec, VllmSpec, model_for, served_name, token_ids
from orchestrator.spec.models import DEFAULT_SOURCE

CPU_KV_CACHE_SHARE = 0.25
"""Share of the host's memory that a CPU deployment takes for its KV cache, unless told."""


class Paths(BaseModel):
    """Where vLLM sees things: in a container these are not the host's paths.

    ``base`` holds tokenizer and config of a GGUF; ``generation`` the folder of generation_config.json; ``key`` the
    configuration file with the API key.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    base: str | None
    generation: str
    key: str | None
    cache: str


def serve_arguments(spec: Spec, device: str, paths: Paths, *, host: str, port: int, utilization: float) -> list[str]:
    """The arguments after the model, in a stable order. Lengths are tokens."""
    section = spec.for_runtime("vllm")
    words: list[str] = []

    def add(flag: str, value: object | None) -> None:
        if value is not None:
            words.extend([flag, str(value)])

    add("--tokenizer", paths.base)
    add("--hf-config-path", paths.base)
    add("--served-model-name", served_name(spec))
    add("--host", host)
    add("--port", port)
    add("--max-model-len", max_model_len(spec))
    if device == "cuda" or _given(section, "max_num_seqs"):
        add("--max-num-seqs", section.max_num_seqs)
    if device == "cuda" or _given(section, "max_num_batched_tokens"):
        add("--max-num-batched-tokens", section.max_num_batched_tokens)
    if device == "cuda":
        add("--gpu-memory-utilization", f"{utilization:g}")
    add("--dtype", None if section.dtype == "auto" else section.dtype)
    add("--kv-cache-dtype", None if section.kv_cache_dtype == "auto" else section.kv_cache_dtype)
    add("--tensor-parallel-size", None if section.tensor_parallel == 1 else section.tensor_parallel)
    add("--generation-config", paths.generation)
    overrides = {
        "presence_penalty": spec.sampling.presence_penalty,
        "frequency_penalty": spec.sampling.frequency_penalty,
    }
    said = {name: value for name, value in overrides.items() if value is not None}
    add("--override-generation-config", json.dumps(said) if said else None)
    add("--seed", spec.sampling.seed)
    if eager(section, device):
        words.append("--enforce-eager")
    add("--config", paths.key)
    return [*words, *section.extra_args]


def eager(section: VllmSpec, device: str) -> bool:
    """Whether to compile nothing: always on a CPU, where compiled bf16 answers nonsense (DESIGN 5.14)."""
    return device == "cpu" or section.enforce_eager is True


def max_model_len(spec: Spec) -> int | str:
    """The context in tokens. The default is the worked example's; another model gets the largest that fits."""
    section = spec.for_runtime("vllm")
    if _given(section, "max_model_len") or model_for(spec, "vllm").source == DEFAULT_SOURCE:
        return section.max_model_len
    return "auto"


def environment(section: VllmSpec, device: str, paths: Paths, memory_total: int) -> list[tuple[str, str]]:
    """The server's environment. It never asks the Hub: everything it needs was delivered (DESIGN 5.3)."""
    named = {
        "HOME": paths.cache,
        "XDG_CACHE_HOME": paths.cache,
        "XDG_CONFIG_HOME": paths.cache,
        "VLLM_CACHE_ROOT": f"{paths.cache}/vllm",
        "TRITON_CACHE_DIR": f"{paths.cache}/triton",
        "HF_HOME": f"{paths.cache}/huggingface",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if device == "cpu":
        named["VLLM_CPU_KVCACHE_SPACE"] = str(section.cpu_kv_cache_gib or cpu_kv_cache_gib(memory_total))
    return list({**named, **section.env}.items())


def temporary(data: str) -> list[tuple[str, str]]:
    """Where vLLM leaves its sockets and what it forgets to delete, so that it goes with the deployment.

    A socket's path may have 107 bytes, of which vLLM's own names take about 40: a long folder is left to /tmp.
    """
    folder = f"{data}/scratch"
    return [("TMPDIR", folder)] if len(folder.encode()) <= 64 else []


def cpu_kv_cache_gib(memory_total: int) -> int:
    """GiB of KV cache on a CPU, from the host's memory in bytes: a share of it, between 1 and 4 GiB."""
    return max(1, min(4, int(memory_total * CPU_KV_CACHE_SHARE) >> 30))


def generation_config(spec: Spec, base: dict[str, object]) -> dict[str, object]:
    """generation_config.json: the model's own token ids, and the shared sampling block in vLLM's words.

    ``max_tokens`` is left out: in a folder it would cap every request, whatever it asks for. Presence and frequency
    penalties are dropped by transformers, so they travel as an argument (reference/vllm.md section 8).
    """
    ids, sampling = token_ids(spec), spec.sampling
    own: dict[str, object] = {
        name: base[name] for name in ("bos_token_id", "pad_token_id", "eos_token_id") if name in base
    }
    said: dict[str, object | None] = {
        "bos_token_id": ids.bos,
        "pad_token_id": ids.pad,
        "eos_token_id": list(ids.eos) if isinstance(ids.eos, tuple) else ids.eos,
        "do_sample": None if sampling.temperature is None else sampling.temperature > 0,
        "repetition_penalty": sampling.repetition_penalty,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
    }
    return {**own, **{name: value for name, value in said.items() if value is not None}}


def unsaid(sampling: Sampling) -> tuple[str, ...]:
    """What of the sampling block vLLM cannot take as a server's default, in words."""
    return ("vLLM has no server-side stop words: clients send `stop` themselves",) if sampling.stop else ()


def _given(section: VllmSpec, name: str) -> bool:
    return name in section.model_fields_set

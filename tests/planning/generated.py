"""Deployments from generated specs: any settings of both runtimes, on machines of several kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.errors import DeployError
from orchestrator.models.resolved import ResolvedFiles, ResolvedModel
from orchestrator.runtimes.deployment import Deployment, EngineRelease
from orchestrator.spec import Spec
from tests.runtimes.golden import HERE, inputs_of, read, wanted

HUB = read(HERE / "hub.json")
GGUF = [source for source, found in HUB.items() if source.startswith("hf:") and len(found["model"]["files"]) == 1]
MACHINES = {"ollama": ("worked-example", "cpu", "without-systemd"), "vllm": ("worked-example", "venv-systemd")}


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def settings(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys; what is not there has its default."""
    return st.fixed_dictionaries({}, optional=keys)


share = st.floats(0.01, 1, allow_nan=False)
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)
gateway = settings(
    tls=st.sampled_from(["none", "internal"]),
    domains=st.lists(st.sampled_from(["llm.example.org", "a.b"]), max_size=2, unique=True),
    max_body=st.sampled_from(["32m", "1g", "500k"]),
    open_health=st.booleans(),
)
served = {
    "expose": st.sampled_from(["gateway", "gateway", "direct"]),
    "engine_port": optional(st.integers(1024, 65535)),
}
sampling = settings(
    temperature=optional(st.floats(0, 2)),
    top_p=optional(share),
    top_k=optional(st.integers(0, 200)),
    min_p=optional(share),
    repetition_penalty=optional(st.floats(0.1, 10)),
    presence_penalty=optional(st.floats(-2, 2)),
    frequency_penalty=optional(st.floats(-2, 2)),
    seed=optional(st.integers(0, 2**31 - 1)),
    max_tokens=optional(st.integers(1, 10_000)),
    stop=st.lists(words, max_size=3),
)
variables = st.dictionaries(st.from_regex(r"LAB_[A-Z]{1,8}", fullmatch=True), words, max_size=2)
ollama = settings(
    **served,
    port=st.integers(1024, 65535),
    bind=st.sampled_from(["127.0.0.1", "0.0.0.0", "::1"]),
    context=st.integers(1, 131072),
    num_parallel=st.integers(1, 64),
    keep_alive=st.sampled_from(["5m", "-1", "1h30m", "0"]),
    flash_attention=optional(st.booleans()),
    kv_cache_type=optional(st.sampled_from(["f16", "q8_0", "q4_0"])),
    max_queue=optional(st.integers(1, 1000)),
    max_loaded_models=optional(st.integers(1, 8)),
    debug=st.booleans(),
    model_name=optional(st.sampled_from(["mine", "team/mine", "mine:small"])),
    env=variables,
)
vllm = settings(
    **served,
    port=st.integers(1024, 65535),
    bind=st.sampled_from(["127.0.0.1", "0.0.0.0"]),
    gpu_mem=st.floats(0.1, 1),
    max_model_len=st.just("auto") | st.integers(64, 131072),
    max_num_seqs=st.integers(1, 512),
    max_num_batched_tokens=st.integers(512, 16384),
    served_name=optional(st.sampled_from(["mine", "team/mine"])),
    dtype=st.sampled_from(["auto", "half", "bfloat16"]),
    kv_cache_dtype=st.sampled_from(["auto", "fp8"]),
    enforce_eager=optional(st.booleans()),
    shm_size=optional(st.sampled_from(["1g", "512m"])),
    memory=optional(st.sampled_from(["24g"])),
    env=variables,
)
SECTIONS = {"ollama": ollama, "vllm": vllm}


@st.composite
def deployments(draw: st.DrawFn, runtime: str, machine: str | None = None) -> Deployment:
    """One that the runtime accepts (what it refuses is not drawn), on that machine or any."""
    source = draw(st.sampled_from(GGUF if runtime == "ollama" else [*GGUF, "hf:Qwen/Qwen2.5-0.5B-Instruct"]))
    model: dict[str, Any] = {"source": source}
    if runtime == "vllm" and "base" in HUB[source]:
        model["base"] = "Qwen/Qwen2.5-14B-Instruct"
    document = {
        "model": model,
        "sampling": draw(sampling),
        "gateway": draw(gateway),
        runtime: draw(SECTIONS[runtime]),
    }
    if runtime == "ollama":
        document["system"] = draw(optional(words))
    inputs = inputs_of(Path(runtime, machine or draw(st.sampled_from(MACHINES[runtime]))))
    version = draw(st.integers(1, 3))
    found = {
        "model": ResolvedModel.model_validate(HUB[source]["model"]),
        "base": ResolvedFiles.model_validate(HUB[source]["base"]) if "base" in model else None,
        "release": EngineRelease(version=f"0.{version}.0", source="https://x/o.tgz", sha256=f"{version}" * 64, size=9),
    }
    try:
        spec = Spec.model_validate(document)
        return wanted(inputs.model_copy(update={**found, "spec": spec}), runtime)
    except (DeployError, ValidationError):
        reject()

"""The ``vllm:`` section."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, model_validator

from orchestrator.spec.fields import (
    TOKENS_SCHEMA,
    Bind,
    Count,
    Env,
    Flag,
    Line,
    Matching,
    MemorySize,
    Name,
    Port,
    Reading,
    Tokens,
    Version,
    Word,
    contradiction,
    inside,
    read_tokens,
)
from orchestrator.spec.gateway import Served
from orchestrator.spec.model import ModelSpec, own_model
from orchestrator.spec.secrets import secret_name, secret_value

Argument = Annotated[Line, Field(min_length=1)]
TokenId = Annotated[int, Strict(), Field(ge=0, lt=2**31)]

_KV_SPACE = "VLLM_CPU_KVCACHE_SPACE"

GPUS_SCHEMA = {
    "anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}]
}
IDS_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}]
}
LENGTH_SCHEMA = {"anyOf": [{"enum": ["auto", -1]}, *TOKENS_SCHEMA["anyOf"]]}


def _length(value: object) -> int | Literal["auto"]:
    if value in ("auto", "-1", -1):
        return "auto"
    try:
        return read_tokens(value)
    except ValueError as error:
        raise ValueError(f"auto, or {error}") from None


def _numbers(value: object) -> tuple[int, ...] | None:
    """Distinct small whole numbers, from a list or from ``"0,1"``."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", value, re.ASCII):
        value = [int(part) for part in value.split(",")]
    if isinstance(value, int):
        value = [value]
    if not isinstance(value, list | tuple) or not value:
        return None
    whole = all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**31 for item in value)
    return tuple(value) if whole and len(set(value)) == len(value) else None


def _gpus(value: object) -> Literal["all"] | tuple[int, ...]:
    numbers = _numbers(value)
    if numbers is None and value != "all":
        raise ValueError("all, or a list of GPU numbers such as [0, 1]")
    return numbers or "all"


def _token_ids(value: object) -> int | tuple[int, ...] | None:
    numbers = _numbers(value)
    if numbers is None and value is not None:
        raise ValueError("a token id, or a list of them")
    return numbers[0] if numbers and not isinstance(value, list | tuple) else numbers


def _arguments(arguments: tuple[str, ...]) -> tuple[str, ...]:
    for index, argument in enumerate(arguments):
        flag = argument.partition("=")[0].lstrip("-")
        if secret_value(argument) or (argument.startswith("-") and secret_name(flag)):
            raise inside((index,), argument, "no secret here: arguments are public. Keys reach engines through a file")
    return arguments


def _env(variables: dict[str, str]) -> dict[str, str]:
    if _KV_SPACE in variables:
        raise inside((_KV_SPACE,), variables[_KV_SPACE], "the spec's own key instead: cpu_kv_cache_gib")
    return variables


Arguments = Annotated[tuple[Argument, ...], AfterValidator(_arguments)]


class VllmSpec(Served):
    """vLLM: one server, one model, OpenAI-compatible at ``http://BIND:PORT/v1``."""

    name: Name = Field(default="vllm", description="Name of the deployment on its hosts.", examples=["vllm"])
    runner: Literal["container", "venv"] = Field(
        default="container",
        description="How it runs: a Docker container, or a virtual environment on the host (no Docker).",
        examples=["container"],
    )
    device: Literal["auto", "cuda", "cpu"] = Field(
        default="auto", description="What it computes on; auto takes the GPU where there is one.", examples=["auto"]
    )
    version: Version | None = Field(
        default=None,
        description="vLLM release. Without it the catalogue's, by model format, driver and device.",
        examples=["0.32.0"],
    )
    image: (
        Annotated[str, Matching(r"[A-Za-z0-9][\w.:/@-]*", "a Docker image such as vllm/vllm-openai:v0.32.0")] | None
    ) = Field(
        default=None,
        description="Docker image, in place of the catalogue's.",
        examples=["registry.example.org/vllm/vllm-openai:v0.32.0"],
    )
    image_archive: Word | None = Field(
        default=None,
        description="Local tar (of `docker save`) with the image, for hosts without a registry.",
        examples=["images/vllm.tar"],
    )
    bind: Bind = Field(
        default="127.0.0.1",
        description="Address where clients come in. Anything but loopback opens it to other machines.",
        examples=["127.0.0.1"],
    )
    port: Port = Field(default=5000, description="TCP port where clients come in.", examples=[5000])
    gpu_mem: Annotated[float, Strict(), Field(gt=0, le=1)] = Field(
        default=1.0,
        description="Share of a GPU's memory to take. 1.0 means all that is free, and is translated to what starts.",
        examples=[1.0, 0.9],
    )
    max_model_len: Annotated[int | Literal["auto"], Reading(_length, LENGTH_SCHEMA)] = Field(
        default=24576,
        description="Context in tokens; also 24k (24000), 24K (24576), 25.6k, or auto (-1): the largest that fits.",
        examples=[24576, "24K", "auto"],
    )
    num_parallel: Annotated[Count, Field(le=1024)] = Field(
        default=1, description="Requests of full length that there has to be memory for at once.", examples=[4]
    )
    max_num_seqs: Count = Field(default=256, description="Requests served at once.", examples=[256])
    max_num_batched_tokens: Tokens = Field(
        default=8192, description="Tokens computed in one step; at least max_num_seqs.", examples=[8192, "8K"]
    )
    served_name: Word | None = Field(
        default=None,
        description="Model name that clients ask for. Without it `VLLMQwen2.5-14B` for the "
        "default model, and one made from the model's own name for others.",
        examples=["VLLMQwen2.5-14B"],
    )
    dtype: Literal["auto", "half", "float16", "bfloat16", "float", "float32"] = Field(
        default="auto", description="Type of weights and activations.", examples=["auto"]
    )
    kv_cache_dtype: Annotated[str, Matching(r"[a-z][a-z0-9_]*", "a type such as auto, fp8 or fp8_e5m2")] = Field(
        default="auto", description="Type of the KV cache; fp8 halves its memory.", examples=["auto", "fp8"]
    )
    tensor_parallel: Annotated[Count, Field(le=1024)] = Field(
        default=1, description="GPUs that share the model.", examples=[1]
    )
    gpus: Annotated[Literal["all"] | tuple[int, ...], Reading(_gpus, GPUS_SCHEMA)] = Field(
        default="all", description="GPUs that it may use: all, or their numbers.", examples=["all", [0, 1]]
    )
    enforce_eager: Flag | None = Field(
        default=None,
        description="Neither compile nor capture graphs: a faster start, slower answers. Always so on a CPU.",
        examples=[True],
    )
    shm_size: MemorySize | None = Field(
        default=None, description="Shared memory of the container (Docker's units: k, m, g).", examples=["1g"]
    )
    memory: MemorySize | None = Field(
        default=None, description="Most main memory of the container (Docker's units: k, m, g).", examples=["24g"]
    )
    cpu_kv_cache_gib: Annotated[Count, Field(le=65536)] | None = Field(
        default=None, description="KV cache in GiB when it runs on a CPU.", examples=[4]
    )
    extra_args: Arguments = Field(
        default=(),
        description="Further arguments of `vllm serve`, one word each, checked against the version.",
        examples=[["--enable-auto-tool-choice", "--tool-call-parser=hermes"]],
    )
    env: Annotated[Env, AfterValidator(_env)] = Field(
        default={},
        description="Further environment variables of the server. Secrets are refused.",
        examples=[{"VLLM_LOGGING_LEVEL": "DEBUG"}],
    )
    python: Word = Field(
        default="python3", description="Python on the host that makes the virtual environment.", examples=["python3.12"]
    )
    pip_args: Arguments = Field(
        default=(),
        description="Further arguments of `pip install`, one word each (runner venv).",
        examples=[["--find-links=/srv/wheels"]],
    )
    bos_token_id: TokenId | None = Field(
        default=None, description="Token that begins a text. 151643 for the default model.", examples=[151643]
    )
    pad_token_id: TokenId | None = Field(
        default=None, description="Token that fills a batch. 151643 for the default model.", examples=[151643]
    )
    eos_token_id: Annotated[int | tuple[int, ...] | None, Reading(_token_ids, IDS_SCHEMA)] = Field(
        default=None,
        description="Token or tokens that end a text. [151645, 151643] for the default model.",
        examples=[[151645, 151643]],
    )
    model: Annotated[ModelSpec, AfterValidator(own_model)] | None = Field(
        default=None,
        description="Another model than the spec's, for vLLM only.",
        examples=[{"source": "hf:Qwen/Qwen2.5-14B-Instruct-AWQ"}],
    )

    @model_validator(mode="after")
    def _fits_itself(self) -> "VllmSpec":
        if self.max_num_batched_tokens < self.max_num_seqs:
            expected = f"at least max_num_seqs ({self.max_num_seqs})"
            raise contradiction(("max_num_batched_tokens",), self.max_num_batched_tokens, expected)
        if self.gpus != "all" and self.tensor_parallel > len(self.gpus):
            raise contradiction(("tensor_parallel",), self.tensor_parallel, f"at most {len(self.gpus)}, as gpus says")
        return self

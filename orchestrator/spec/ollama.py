"""The ``ollama:`` section."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.spec.fields import (
    Bind,
    Count,
    Env,
    Flag,
    Matching,
    Name,
    Port,
    Reading,
    Sha256,
    Text,
    Tokens,
    Version,
    Word,
    contradiction,
    inside,
    without_user,
)
from orchestrator.spec.gateway import Served
from orchestrator.spec.model import ModelSpec, own_model

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_MODEL_NAME = rf"({_PART}/){{0,2}}{_PART}(:{_PART})?"

_OWN_VARIABLES = {
    "OLLAMA_HOST": "bind and port",
    "OLLAMA_CONTEXT_LENGTH": "context",
    "OLLAMA_NUM_PARALLEL": "num_parallel",
    "OLLAMA_KEEP_ALIVE": "keep_alive",
    "OLLAMA_FLASH_ATTENTION": "flash_attention",
    "OLLAMA_KV_CACHE_TYPE": "kv_cache_type",
    "OLLAMA_MAX_QUEUE": "max_queue",
    "OLLAMA_MAX_LOADED_MODELS": "max_loaded_models",
    "OLLAMA_DEBUG": "debug",
}


def _keep_alive(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    duration = r"-?([0-9]{1,9}|([0-9]{1,9}(\.[0-9]{1,9})?(ns|us|µs|ms|s|m|h))+)"
    if not isinstance(text, str) or re.fullmatch(duration, text, re.ASCII) is None:
        raise ValueError("a duration such as 5m or 1h30m, a number of seconds, or -1 (for ever)")
    return text


def _env(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        if name in _OWN_VARIABLES:
            raise inside((name,), value, f"the spec's own key instead: {_OWN_VARIABLES[name]}")
    return variables


class OllamaSpec(Served):
    """Ollama: one server, one model, reached at ``http://BIND:PORT``."""

    name: Name = Field(
        default="ollama", description="Name of the deployment on its hosts.", examples=["ollama", "ollama-dev"]
    )
    version: Version | None = Field(
        default=None, description="Ollama release. Without it the catalogue's pinned one.", examples=["0.33.0"]
    )
    archive: Annotated[Word, AfterValidator(without_user)] | None = Field(
        default=None,
        description="URL or local path of the official archive (.tar.zst or .tgz), in place of the vendor's site.",
        examples=["https://mirror.example.org/ollama-linux-amd64.tar.zst"],
    )
    archive_sha256: Sha256 | None = Field(
        default=None, description="Digest that the archive must have.", examples=["0" * 64]
    )
    bind: Bind = Field(
        default="127.0.0.1",
        description="Address where clients come in. Anything but loopback opens it to other machines.",
        examples=["127.0.0.1"],
    )
    port: Port = Field(default=11434, description="TCP port where clients come in.", examples=[11434])
    context: Tokens = Field(
        default=8192,
        description="Context per request, in tokens (num_ctx); also 24k (24000) or 24K (24576). Memory is taken for "
        "context times num_parallel.",
        examples=[8192, "24K"],
    )
    num_parallel: Annotated[Count, Field(le=1024)] = Field(
        default=4, description="Requests served at once; each takes a whole context of memory.", examples=[4]
    )
    keep_alive: Annotated[
        str, Reading(_keep_alive, {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]})
    ] = Field(
        default="5m",
        description="How long an idle model stays in memory: a duration, seconds, or -1 for ever.",
        examples=["5m", "-1"],
    )
    flash_attention: Flag | None = Field(
        default=None, description="Use flash attention; needed for a quantized kv_cache_type.", examples=[True]
    )
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] | None = Field(
        default=None, description="Type of the KV cache; q8_0 halves its memory.", examples=["q8_0"]
    )
    max_queue: Count | None = Field(
        default=None, description="Requests that may wait; more are answered with 503.", examples=[512]
    )
    max_loaded_models: Annotated[Count, Field(le=1024)] | None = Field(
        default=None, description="Models kept in memory at once.", examples=[1]
    )
    debug: Flag = Field(default=False, description="Log in detail.", examples=[False])
    model_name: (
        Annotated[str, Matching(_MODEL_NAME, "an Ollama model name such as qwen2.5 or team/qwen2.5:14b")] | None
    ) = Field(
        default=None,
        description="Name of the model in Ollama. Without it, one made from the model's own name.",
        examples=["qwen2.5-14b-instruct"],
    )
    template: Text | None = Field(
        default=None,
        description="Prompt template in Go syntax. Without it, the one inside the GGUF.",
        examples=["{{ .Prompt }}"],
    )
    env: Annotated[Env, AfterValidator(_env)] = Field(
        default={},
        description="Further environment variables of the server. Secrets are refused.",
        examples=[{"CUDA_VISIBLE_DEVICES": "0"}],
    )
    model: Annotated[ModelSpec, AfterValidator(own_model)] | None = Field(
        default=None,
        description="Another model than the spec's, for Ollama only.",
        examples=[{"source": "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M"}],
    )

    @model_validator(mode="after")
    def _fits_itself(self) -> "OllamaSpec":
        if self.flash_attention is False and self.kv_cache_type in {"q8_0", "q4_0"}:
            raise contradiction(("kv_cache_type",), self.kv_cache_type, "f16, since flash_attention is false")
        return self

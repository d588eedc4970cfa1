"""The spec: what the user wants, as one frozen value."""

import re
from ipaddress import ip_address
from typing import Annotated, Literal, overload

from pydantic import AfterValidator, Field, model_validator

from orchestrator.errors import UsageError
from orchestrator.spec.fields import Section, Text, Word, contradiction
from orchestrator.spec.gateway import GatewaySpec
from orchestrator.spec.hooks import HooksSpec
from orchestrator.spec.hub import HubSpec
from orchestrator.spec.model import DEFAULT_BASE, DEFAULT_SOURCE, ModelSpec
from orchestrator.spec.ollama import OllamaSpec
from orchestrator.spec.problems import Origins, validated
from orchestrator.spec.sampling import Sampling
from orchestrator.spec.vllm import VllmSpec

__all__ = [
    "DEFAULT_BASE",
    "DEFAULT_SOURCE",
    "RUNTIMES",
    "GatewaySpec",
    "HooksSpec",
    "HubSpec",
    "ModelSpec",
    "OllamaSpec",
    "Sampling",
    "Spec",
    "TokenIds",
    "VllmSpec",
    "engine_port",
    "model_for",
    "ollama_model_name",
    "served_name",
    "token_ids",
    "with_runtime",
]

RUNTIMES = ("ollama", "vllm")
_DEFAULT_SERVED_NAME = "VLLMQwen2.5-14B"


def _some(hosts: tuple[str, ...]) -> tuple[str, ...]:
    if not hosts:
        raise ValueError("at least one host")
    return hosts


class Spec(Section):
    """What one file, the command line and the defaults say together."""

    version: Literal[1] = Field(default=1, description="Version of the spec's format.", examples=[1])
    model: ModelSpec = Field(default=ModelSpec(), description="The model to serve.", examples=[{}])
    sampling: Sampling = Field(
        default=Sampling(), description="Sampling defaults, for both runtimes.", examples=[{"temperature": 0.5}]
    )
    system: Text | None = Field(
        default="You are a helpful AI assistant.",
        description="System prompt of the model in Ollama; null for none. At vLLM the clients send one.",
        examples=["You are a helpful AI assistant."],
    )
    hub: HubSpec = Field(default=HubSpec(), description="How the Hub is reached.", examples=[{}])
    gateway: GatewaySpec = Field(
        default=GatewaySpec(), description="How clients come in: keys, TLS, limits.", examples=[{"tls": "internal"}]
    )
    hooks: HooksSpec = Field(
        default=HooksSpec(), description="Commands of your own around `up`, on this machine.", examples=[{}]
    )
    ollama: OllamaSpec | None = Field(
        default=None, description="Serve with Ollama. `ollama:` alone takes all defaults.", examples=[{"port": 11434}]
    )
    vllm: VllmSpec | None = Field(
        default=None, description="Serve with vLLM. `vllm:` alone takes all defaults.", examples=[{"gpu_mem": 0.9}]
    )
    hosts: Annotated[tuple[Word, ...], AfterValidator(_some)] = Field(
        default=("local",),
        description="Where to serve: names or groups of the inventory, `local`, or addresses.",
        examples=[["local"], ["gpu01", "user@10.0.0.5:22"]],
    )

    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that have a section, in the order of ``RUNTIMES``."""
        return tuple(name for name in RUNTIMES if getattr(self, name) is not None)

    @overload
    def for_runtime(self, runtime: Literal["ollama"]) -> OllamaSpec: ...
    @overload
    def for_runtime(self, runtime: Literal["vllm"]) -> VllmSpec: ...
    @overload
    def for_runtime(self, runtime: str) -> OllamaSpec | VllmSpec: ...
    def for_runtime(self, runtime: str) -> OllamaSpec | VllmSpec:
        """The section of a runtime. Raises UsageError when the spec has none."""
        section = {"ollama": self.ollama, "vllm": self.vllm}.get(runtime)
        if section is None:
            raise UsageError(f"the spec has no {runtime} section", remedy=f"add `{runtime}:` to the spec")
        return section

    @model_validator(mode="after")
    def _side_by_side(self) -> "Spec":
        if self.ollama and self.vllm:
            if self.vllm.name == self.ollama.name:
                raise contradiction(("vllm", "name"), self.vllm.name, "another name than ollama's")
            if any(_collide(one, other) for one in _listening(self.vllm) for other in _listening(self.ollama)):
                raise contradiction(("vllm", "port"), self.vllm.port, "another port than ollama's")
        return self

    @model_validator(mode="after")
    def _engine_and_gateway(self) -> "Spec":
        for name in self.runtimes():
            section = self.for_runtime(name)
            if section.expose == "gateway" and section.engine_port == section.port:
                raise contradiction((name, "engine_port"), section.port, f"another port than {name}.port")
        return self


class TokenIds(Section):
    """The special tokens of generation_config.json; None leaves them to the model's own config."""

    bos: int | None = None
    pad: int | None = None
    eos: int | tuple[int, ...] | None = None


def with_runtime(spec: Spec, runtime: str) -> Spec:
    """The spec with a section for the runtime: its own, or the default one. Raises UsageError."""
    if runtime not in RUNTIMES:
        raise UsageError(f"got runtime {runtime!r}, expected ollama or vllm")
    if getattr(spec, runtime) is not None:
        return spec
    section = OllamaSpec() if runtime == "ollama" else VllmSpec()
    return validated(Spec, {**dict(spec), runtime: section}, Origins())


def model_for(spec: Spec, runtime: str) -> ModelSpec:
    """The model that a runtime serves: its own, or the spec's."""
    section = spec.ollama if runtime == "ollama" else spec.vllm
    return (section and section.model) or spec.model


def ollama_model_name(spec: Spec) -> str:
    """The model's name in Ollama: as the spec says, or made from the model's (``qwen2.5-14b-instruct``)."""
    if spec.ollama and spec.ollama.model_name:
        return spec.ollama.model_name
    return re.sub(r"[^a-z0-9._-]+", "-", model_for(spec, "ollama").title.lower()).strip("-.")[:80] or "model"


def served_name(spec: Spec) -> str:
    """The model's name at vLLM: as the spec says, the worked example's for the default model, else the model's own."""
    if spec.vllm and spec.vllm.served_name:
        return spec.vllm.served_name
    model = model_for(spec, "vllm")
    return _DEFAULT_SERVED_NAME if model.source == DEFAULT_SOURCE else model.title


def token_ids(spec: Spec) -> TokenIds:
    """Special tokens for generation_config.json: the spec's; the worked example's fill in for the default model."""
    default = model_for(spec, "vllm").source == DEFAULT_SOURCE
    known = TokenIds(bos=151643, pad=151643, eos=(151645, 151643)) if default else TokenIds()
    if spec.vllm is None:
        return known
    said = {"bos": spec.vllm.bos_token_id, "pad": spec.vllm.pad_token_id, "eos": spec.vllm.eos_token_id}
    return known.model_copy(update={name: value for name, value in said.items() if value is not None})


_APART = 10000
"""Between a public port and the engine's behind it."""


def engine_port(section: OllamaSpec | VllmSpec) -> int:
    """Where an engine listens: the same for every run, so that nothing restarts for it."""
    if section.expose == "direct":
        return section.port
    if section.engine_port is not None:
        return section.engine_port
    return section.port + _APART if section.port + _APART <= 65535 else section.port - _APART


def _listening(section: OllamaSpec | VllmSpec) -> tuple[tuple[str, int], ...]:
    """The addresses and ports that a runtime takes: its clients' and, behind a gateway, the engine's."""
    public = (section.bind, section.port)
    return (public,) if section.expose == "direct" else (public, ("127.0.0.1", engine_port(section)))


def _collide(one: tuple[str, int], other: tuple[str, int]) -> bool:
    return one[1] == other[1] and _overlap(one[0], other[0])


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses to listen on take the same port from each other."""
    first, second = (ip_address("127.0.0.1" if bind == "localhost" else bind) for bind in (one, other))
    return first == second or first.is_unspecified or second.is_unspecified

"""A runtime on a host under a name, as a value: what it wants to exist there, and where it will answer."""

import hashlib
import json
from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from orchestrator.facts import Facts, Layout, everywhere
from orchestrator.fit.decided import Decided
from orchestrator.health.endpoint import Endpoint
from orchestrator.models.resolved import ResolvedFiles, ResolvedModel
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.service import Service
from orchestrator.spec import Spec
from orchestrator.spec.fields import Name
from orchestrator.templating.engine import Renderer


class Deployment(BaseModel):
    """Everything that is wanted, in the order in which it can come to be.

    ``service`` is the address of the resource that serves; ``summary`` says in words for ``status`` what is served;
    ``notes`` tell decisions made for the user, ``warnings`` what he should act on. ``fit`` is what was found out
    about the host's memory; a runtime alone leaves it out.
    """

    model_config = ConfigDict(frozen=True)

    name: Name
    runtime: Literal["ollama", "vllm"]
    resources: tuple[AnyResource, ...]
    service: str
    endpoint: Endpoint
    summary: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fit: Decided | None = None

    @model_validator(mode="after")
    def _one_of_them_serves(self) -> Self:
        addresses = [resource.address for resource in self.resources]
        serving = [item for item in self.resources if item.address == self.service and isinstance(item, Service)]
        if len(serving) != 1 or len(set(addresses)) < len(addresses):
            raise ValueError("one resource serves, and none stands here twice")
        return self


class EngineRelease(BaseModel):
    """An archive to install: from ``source`` (URL, or path on the controller), with this digest.

    ``version`` is empty where nobody says which it is: an archive of the user's own, without a version.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    source: str
    sha256: str
    size: int

    @property
    def label(self) -> str:
        """What it is called on the host: its version, else the beginning of its digest."""
        return self.version or self.sha256[:12]


class Inputs(BaseModel):
    """What a runtime decides from: nothing else goes in, so the same inputs always give the same deployment.

    ``base`` are tokenizer and config files for a GGUF on vLLM; ``generation_config`` the model's own one, where known;
    ``release`` the archive to install, for Ollama; ``gateway_archive`` Caddy's, where the user names one;
    ``vendor_before`` whether a vendor's unit was active and enabled
    before deployctl; ``previous`` the summary of the same deployment, where it is already applied.
    ``copy_number`` is 1 for an engine that runs beside the one with 0, or has taken its place: it has another name, and
    the next port.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    spec: Spec
    facts: Facts
    model: ResolvedModel
    base: ResolvedFiles | None = None
    generation_config: dict[str, object] = {}
    release: EngineRelease | None = None
    gateway_archive: EngineRelease | None = None
    vendor_before: tuple[bool, bool] | None = None
    previous: dict[str, str] = {}
    copy_number: int = 0
    renderer: Renderer

    @property
    def layout(self) -> Layout:
        """Where things live on the host."""
        return self.facts.layout


def fingerprint(parts: Iterable[object]) -> str:
    """A digest of JSON-able values: what a service was made from."""
    return hashlib.sha256(json.dumps(list(parts), sort_keys=True).encode()).hexdigest()[:32]


def loopback_url(bind: str, port: int) -> str:
    """The base URL at which a host reaches its own engine that listens on ``bind``."""
    if everywhere(bind) or bind == "localhost":
        bind = "::1" if ":" in bind else "127.0.0.1"
    return f"http://[{bind}]:{port}" if ":" in bind else f"http://{bind}:{port}"


def client_url(bind: str, port: int, facts: Facts) -> str:
    """The ``/v1`` URL for clients: an engine that listens everywhere is named by the host's own address."""
    return f"{loopback_url(facts.address if everywhere(bind) and facts.address else bind, port)}/v1"


def is_loopback(bind: str) -> bool:
    """Whether only the host itself can reach that address."""
    return bind == "localhost" or bind == "::1" or bind.startswith("127.")

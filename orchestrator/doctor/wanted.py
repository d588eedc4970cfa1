"""What a host is examined for: a spec, and whether anybody has asked for just that."""

from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from orchestrator.doctor.finding import Level
from orchestrator.models.hub import DEFAULT_ENDPOINT
from orchestrator.spec import Spec, model_for
from orchestrator.spec.catalogue import ModelFormat, ollama_release
from orchestrator.spec.vllm import VllmSpec


class Wanted(BaseModel):
    """The runtimes of ``spec``; ``firm`` when a file or the command line names them, not merely the defaults.

    ``user_scope`` says that the user insists on deploying without root, ``local`` that the host is the controller.
    ``hub`` is the endpoint that counts, ``reached_from_here`` whether it answers the controller (None: not asked).
    """

    model_config = ConfigDict(frozen=True)

    spec: Spec
    firm: bool
    user_scope: bool = False
    local: bool = False
    hub: str = DEFAULT_ENDPOINT
    reached_from_here: bool | None = None

    @property
    def lack(self) -> Level:
        """How bad it is when one of the runtimes cannot be served."""
        return "fail" if self.firm else "warn"

    @property
    def containers(self) -> VllmSpec | None:
        """vLLM's section, where it is to run in a container."""
        section = self.spec.vllm
        return section if section is not None and section.runner == "container" else None

    @property
    def model_format(self) -> ModelFormat:
        """What vLLM is to load."""
        model = model_for(self.spec, "vllm")
        return "gguf" if model.quant or model.source.lower().endswith(".gguf") else "safetensors"

    @property
    def asks_hub(self) -> bool:
        """Whether a model, or what stands beside it, is on the Hub and may be asked for."""
        models = [model_for(self.spec, runtime) for runtime in self.spec.runtimes()]
        return not self.spec.hub.offline and any(model.repo or model.base for model in models)

    def sources(self) -> dict[str, str]:
        """The URLs that a host would download from, by name."""
        found = {"hub": f"{self.hub.rstrip('/')}/"} if self.asks_hub else {}
        if self.spec.ollama is not None:
            archive = self.spec.ollama.archive or ollama_release(self.spec.ollama.version, "amd64").url
            if urlsplit(archive).scheme in ("http", "https"):
                found["ollama"] = archive
        return found

    def ports(self) -> dict[str, tuple[str, int]]:
        """Address and port that each runtime is to listen on."""
        sections = {runtime: self.spec.for_runtime(runtime) for runtime in self.spec.runtimes()}
        return {runtime: (section.bind, section.port) for runtime, section in sections.items()}

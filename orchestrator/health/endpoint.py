"""The endpoint: where clients reach a deployment, and where its host does."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Runtime = Literal["ollama", "vllm"]
Place = Annotated[str, Field(pattern=r"^[^/\s]+:[0-9]{1,5}$")]


class Gateway(BaseModel):
    """The way in through the gateway, as its host sees it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Base URL as clients name it, without ``/v1``: ``https://llm.example.org:5000``."""

    connect: Place
    """The ``ADDRESS:PORT`` at which the host itself finds it: ``127.0.0.1:5000``."""

    tls: Literal["none", "internal", "acme", "files"] = "none"
    """Who vouches for its certificate; ``internal`` is an authority on the host that clients have to be told of."""

    keys: str
    """Root-only file on the host that holds the keys, in the form of ``resources/gateway_keys.py``."""

    control: str = ""
    """Its control socket on the host, which tells how many requests are under way; empty where it is not asked."""


class Endpoint(BaseModel):
    """One OpenAI-compatible endpoint. As JSON it goes into plans and manifests, so it never holds the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    runtime: Runtime

    url: str
    """As clients use it, ``/v1`` included: ``http://127.0.0.1:5000/v1``."""

    probe_url: Annotated[str, Field(pattern=r"^http://[^/\s]+:[0-9]{1,5}$")]
    """Base of the engine itself, reachable *on* the host, without ``/v1``: ``http://127.0.0.1:15000``."""

    gateway: Gateway | None = None
    """None where the engine is reached without one."""

    open: bool = False
    """Whether other machines can come in, here or through the gateway."""

    model: str
    """The name that clients send."""

    key_file: str | None = None
    """Root-only file on the host that holds the engine's own API key: bare, or a line ``VLLM_API_KEY=…``."""

    expected_version: str | None = None
    """Engine version that was deployed ("0.32.0"); None accepts any."""

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the engine itself: asked for, and still worth a warning."""
        return self.open and self.gateway is None

    @property
    def ports(self) -> tuple[int, ...]:
        """Every port of the deployment on its host: the engine's, and the gateway's."""
        places = [self.probe_url, *([self.gateway.connect] if self.gateway else [])]
        return tuple(dict.fromkeys(int(place.rpartition(":")[2]) for place in places))

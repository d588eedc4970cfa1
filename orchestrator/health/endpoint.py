"""The endpoint: where clients reach a deployment, and where its host does."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Runtime = Literal["ollama", "vllm"]


class Endpoint(BaseModel):
    """One OpenAI-compatible endpoint. As JSON it goes into plans and manifests, so it never holds the key itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    runtime: Runtime

    url: str
    """As clients use it, ``/v1`` included: ``http://127.0.0.1:5000/v1``."""

    probe_url: str
    """Base that is reachable *on* the host, without ``/v1``: ``http://127.0.0.1:5000``."""

    model: str
    """The name that clients send."""

    key_file: str | None = None
    """Root-only file on the host that holds the API key: the bare key, or a line ``VLLM_API_KEY=…`` of an env file."""

    expected_version: str | None = None
    """Engine version that was deployed ("0.32.0"); None accepts any."""

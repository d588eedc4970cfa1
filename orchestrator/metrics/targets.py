"""What is to be watched, and where a Prometheus reaches it."""

import ipaddress
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from orchestrator.health.endpoint import Endpoint, Runtime


class Target(BaseModel):
    """One deployment, by a base URL that Prometheus reaches. ``gpu`` says that its host has one to compute on."""

    model_config = ConfigDict(frozen=True)

    host: str
    deployment: str
    runtime: Runtime
    model: str
    url: str
    gpu: bool

    @property
    def address(self) -> str:
        """Host and port, as a scrape target is written."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return urlsplit(self.url).scheme

    @property
    def alive(self) -> str:
        """The URL that answers 200 while the engine's server runs, which says nothing of whether it generates."""
        return f"{self.url}{'/health' if self.runtime == 'vllm' else '/api/version'}"


def reached_at(endpoint: Endpoint, *, beside: bool) -> str | None:
    """The base URL for a Prometheus ``beside`` the engine, or elsewhere; None where that one does not get in.

    A gateway answers nobody without a key, and none is written into files that people pass on.
    """
    if beside:
        return endpoint.probe_url
    base = endpoint.url.removesuffix("/v1")
    if endpoint.gateway is not None:
        return None
    return None if _loopback(urlsplit(base).hostname or "") else base


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

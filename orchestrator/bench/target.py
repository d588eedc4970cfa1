"""An endpoint that is to be measured, and the way to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from orchestrator.bench.result import Runtime
from orchestrator.errors import DeployError, RefusedError
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.key import read_key
from orchestrator.hosts.base import Host
from orchestrator.hosts.secret import Secret


@dataclass(frozen=True)
class Target:
    """One endpoint. Without a ``host`` it is only a URL: no GPU is seen, and no result is kept.

    ``url`` ends in ``/v1``, as it is reached on the host, or from here. ``model`` is empty when it is to be asked for.
    """

    title: str
    url: str
    model: str
    host: Host | None = None
    runtime: Runtime = ""
    key: Secret = field(default_factory=lambda: Secret(""))
    ca_file: str = ""
    generation: int | None = None
    summary: dict[str, str] = field(default_factory=dict)

    @property
    def host_name(self) -> str:
        """The host's name, if it is known."""
        return self.host.name if self.host else ""

    @property
    def way(self) -> Literal["direct", "ssh"]:
        """How it is reached from here."""
        return "direct" if self.host is None or self.host.is_local else "ssh"


def of_deployment(host: Host, name: str, endpoint: Endpoint, generation: int, summary: dict[str, str]) -> Target:
    """The target that a deployment is. Raises RefusedError when its key cannot be read."""
    key, problem = read_key(host, endpoint)
    if problem:
        raise RefusedError(f"the API key of {name} cannot be read", host=host.name, why=problem, remedy="use --sudo")
    return Target(
        title=name,
        url=f"{endpoint.probe_url.rstrip('/')}/v1",
        model=endpoint.model,
        host=host,
        runtime=endpoint.runtime,
        key=Secret(key),
        generation=generation,
        summary=summary,
    )


@contextmanager
def reached(target: Target) -> Iterator[str]:
    """The target's URL as it is reached from this machine, while the block runs."""
    if target.host is None or target.host.is_local:
        yield target.url
        return
    parts = urlsplit(target.url)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    with target.host.forward(parts.hostname or "127.0.0.1", port) as (address, here):
        yield parts._replace(netloc=f"{address}:{here}").geturl()


def failure(target: Target, kind: str, detail: str) -> DeployError:
    """An endpoint that gives nothing to measure, with what to do about it."""
    remedies = {
        "connect": f"deployctl status, or correct the URL {target.url}",
        "certificate": "give the certificate of whoever signed it: --ca-file FILE",
        "http 401": "the key is missing or wrong: --key-file FILE",
        "http 403": "the key is missing or wrong: --key-file FILE",
        "http 404": f"no such model or path: is it {target.model or 'the model'}, and does the URL end in /v1?",
        "http 400": "ask for fewer --prompt-tokens or --output-tokens than the context holds",
        "http 503": "it is busy or still loading: deployctl status",
        "timeout": "allow more with --timeout, or ask for fewer --output-tokens",
    }
    if kind == "connect" and "certificate" in detail.lower():
        kind = "certificate"
    remedy = remedies.get(kind, f"deployctl logs {target.title}" if target.host else "see the server's log")
    return DeployError(f"{target.title} answers no request ({kind})", host=target.host_name, why=detail, remedy=remedy)

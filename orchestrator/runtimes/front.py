"""Where an engine listens, and where its clients come in: through the gateway, or straight to it."""

from pydantic import BaseModel, ConfigDict

from orchestrator.facts import Facts
from orchestrator.runtimes.deployment import client_url, is_loopback, loopback_url
from orchestrator.spec import OllamaSpec, Spec, VllmSpec, engine_port


class Front(BaseModel):
    """Both ends. Without a gateway the engine itself listens on the public address."""

    model_config = ConfigDict(frozen=True)

    gateway: bool
    bind: str
    port: int
    engine_bind: str
    engine_port: int
    secure: bool = False
    names: tuple[str, ...] = ()

    @property
    def engine_url(self) -> str:
        """The engine's base URL on its host."""
        return loopback_url(self.engine_bind, self.engine_port)

    @property
    def listening(self) -> tuple[tuple[str, int], ...]:
        """The addresses and ports that it takes, the public one first."""
        public = (self.bind, self.port)
        return (public, (self.engine_bind, self.engine_port)) if self.gateway else (public,)

    @property
    def open(self) -> bool:
        """Whether other machines can reach the public port."""
        return not is_loopback(self.bind)

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the engine itself."""
        return self.open and not self.gateway

    def gateway_url(self, facts: Facts) -> str:
        """The gateway's base URL, as clients name it."""
        return self.client_url(facts).removesuffix("/v1")

    @property
    def gateway_address(self) -> str:
        """``ADDRESS:PORT`` at which the host itself finds the gateway."""
        return loopback_url(self.bind, self.port).removeprefix("http://")

    def client_url(self, facts: Facts) -> str:
        """The ``/v1`` URL for clients."""
        if self.secure:
            name = next(iter(self.names), "")
            return f"https://{name}:{self.port}/v1" if name else _secure(client_url(self.bind, self.port, facts))
        return client_url(self.bind, self.port, facts)


def front(spec: Spec, section: OllamaSpec | VllmSpec, copy_number: int = 0) -> Front:
    """What the spec asks for; the engine of another copy listens on the next port."""
    if section.expose == "direct":
        return Front(
            gateway=False,
            bind=section.bind,
            port=section.port,
            engine_bind=section.bind,
            engine_port=section.port,
        )
    return Front(
        gateway=True,
        bind=section.bind,
        port=section.port,
        engine_bind="127.0.0.1",
        engine_port=engine_port(section) + copy_number,
        secure=spec.gateway.tls != "none",
        names=spec.gateway.domains,
    )


def _secure(url: str) -> str:
    return url.replace("http://", "https://", 1)

"""The values that are known of a host. Sizes are bytes unless the name says MiB."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.facts.layout import Layout

Arch = Literal["amd64", "arm64"]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class Gpu(_Fact):
    """One NVIDIA GPU, as its driver shows it."""

    index: int
    uuid: str
    name: str
    memory_total_mib: int
    memory_free_mib: int
    driver: str
    compute_capability: tuple[int, int] | None = None


class Listener(_Fact):
    """A TCP port somebody listens on; ``address`` may be a wildcard."""

    address: str
    port: int


class Python(_Fact):
    """A Python interpreter on the host; ``venv`` says whether it can make virtual environments with pip."""

    path: str
    version: tuple[int, int]
    venv: bool


class VendorOllama(_Fact):
    """An Ollama that deployctl did not install."""

    binary: str
    unit: str = ""
    active: bool = False
    enabled: bool = False
    user: str = ""
    models: str = ""


class Facts(_Fact):
    """What was observed on a host.

    ``address`` is its first one that others may reach; ``lacks`` names system libraries that an engine needs and that
    are known to be missing; ``manifests`` are the JSON texts of what is applied to it.
    """

    host: str
    layout: Layout
    uid: int
    gid: int
    user: str
    group: str
    home: str
    os: str
    address: str = ""
    arch: Arch
    cpus: int
    memory_total: int
    memory_available: int
    systemd: bool
    docker: str = ""
    docker_problem: str = ""
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str = ""
    pythons: tuple[Python, ...] = ()
    tools: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    listeners: tuple[Listener, ...] = ()
    vendor_ollama: VendorOllama | None = None
    manifests: tuple[str, ...] = ()

    @property
    def root(self) -> bool:
        """Whether scripts run as root there."""
        return self.uid == 0

    def listening(self, address: str, port: int) -> bool:
        """Whether somebody already listens where ``address:port`` would be bound."""
        wild = {"0.0.0.0", "::", "*"}  # noqa: S104  (read, not bound)
        return any(
            item.port == port and (item.address in wild or address in wild or item.address == address)
            for item in self.listeners
        )

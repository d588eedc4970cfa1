"""The values that are known of a host. Sizes are bytes unless the name says MiB."""

from ipaddress import ip_address
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.facts.layout import Layout

Arch = Literal["amd64", "arm64"]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class MigInstance(_Fact):
    """A slice of a GPU that is shared out by MIG; ``profile`` is its size as NVIDIA calls it ("1g.10gb")."""

    index: int
    uuid: str = ""
    profile: str = ""
    memory_total_mib: int
    memory_used_mib: int
    memory_free_mib: int


class GpuProcess(_Fact):
    """A program that holds memory of a GPU; None where the driver does not tell how much."""

    pid: int
    name: str
    memory_mib: int | None = None


class Gpu(_Fact):
    """One NVIDIA GPU, as its driver shows it.

    ``cuda`` is the newest CUDA that the driver runs. ``unified`` says that it has no memory of its own: the sizes are
    then the host's. ``ecc`` and ``mig`` are None where it has no such thing. What the driver reserves is neither used
    nor free.
    """

    index: int
    uuid: str
    name: str
    memory_total_mib: int
    memory_free_mib: int
    memory_used_mib: int = 0
    unified: bool = False
    driver: str
    cuda: tuple[int, int] | None = None
    compute_capability: tuple[int, int] | None = None
    ecc: bool | None = None
    mig: bool | None = None
    mig_instances: tuple[MigInstance, ...] = ()
    processes: tuple[GpuProcess, ...] = ()


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

    ``accounts`` are the users, ``group:`` groups and ``uid:`` numbers that matter and are taken; ``gpu_groups`` the
    numbers of groups, other than root's, to which the GPUs' device files belong.
    ``hostname`` is what the machine calls itself, ``address`` its first one that others may reach; ``lacks`` names
    system libraries that an engine needs and that are known to be missing; ``manifests`` are the JSON texts of what is
    applied to it. ``gpu_problem`` says why GPUs are missing from ``gpus``: the driver's own words.
    """

    host: str
    layout: Layout
    uid: int
    gid: int
    user: str
    group: str
    home: str
    os: str
    hostname: str = ""
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
    gpu_groups: tuple[int, ...] = ()
    listeners: tuple[Listener, ...] = ()
    vendor_ollama: VendorOllama | None = None
    manifests: tuple[str, ...] = ()

    @property
    def root(self) -> bool:
        """Whether scripts run as root there."""
        return self.uid == 0

    def listening(self, address: str, port: int) -> bool:
        """Whether somebody already listens where ``address:port`` would be bound."""
        return any(
            item.port == port and (everywhere(item.address) or everywhere(address) or item.address == address)
            for item in self.listeners
        )


def everywhere(address: str) -> bool:
    """Whether who listens there listens at all addresses of the machine."""
    try:
        return ip_address(address).is_unspecified
    except ValueError:
        return address == "*"  # as ss writes it

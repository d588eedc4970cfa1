"""What a resource is: one thing that can exist on a host, as a value.

A resource says how to observe itself (a shell fragment, so that any number of resources are observed in one
round trip), compares wanted with observed *values*, and knows how to come to be and to go. It knows nothing of
runtimes. It is a frozen pydantic model, so a plan, a manifest and a generation are lists of resources as JSON.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from orchestrator.hosts.base import Host
from orchestrator.progress import Progress
from orchestrator.resources.origin import Origin

Fields = dict[str, Any]
"""Observable values of a resource: JSON types only, secrets never among them (their digest, at most)."""


class Observed(BaseModel):
    """What was seen of a resource on a host. ``fields`` is empty when it does not exist."""

    model_config = ConfigDict(frozen=True)

    exists: bool
    fields: Fields = {}


class Difference(BaseModel):
    """One field that is not as wanted. Values are printable and free of secrets."""

    model_config = ConfigDict(frozen=True)

    field: str
    observed: Any = None
    wanted: Any = None


class Resource(BaseModel, ABC):
    """Base of all resources."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: ClassVar[str]
    """What a user calls it: "file", "systemd unit", "container", ..."""

    exclusive: ClassVar[bool] = False
    """One that was there before deployctl is somebody's work: refuse to change it."""

    kind: str
    """Discriminator of the JSON form; subclasses narrow it with a Literal."""

    keep: bool = False
    """Survives ``down`` and goes only with ``--purge`` (models, data)."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """What makes it the same thing on one host: a path, a unit name, a container name."""

    @property
    def address(self) -> str:
        """Unique on a host: ``kind:identity``."""
        return f"{self.kind}:{self.identity}"

    part: ClassVar[bool] = False
    """Cannot be rendered anew, so it stays as long as a kept generation needs it: engines, images, models."""

    @property
    def gives_back(self) -> bool:
        """Whether ``remove`` restores something that existed before, instead of deleting."""
        return False

    @abstractmethod
    def probe(self) -> str:
        """A shell fragment that prints what ``parse`` reads. It changes nothing and always exits 0."""

    @abstractmethod
    def parse(self, output: str) -> Observed:
        """Read the probe's output."""

    @abstractmethod
    def wanted(self) -> Fields:
        """The values ``compare`` asks for."""

    def compare(self, observed: Observed) -> tuple[Difference, ...]:
        """The fields that are not as wanted; empty when nothing is to be done."""
        return tuple(
            Difference(field=name, observed=observed.fields.get(name), wanted=value)
            for name, value in self.wanted().items()
            if not observed.exists or observed.fields.get(name) != value
        )

    def changed_by(self, observed: Observed) -> str:
        """How it came to differ from what was applied, in words."""
        return "by hand"

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """Where it comes from, and what it was held against (``doctor --audit``); empty for what we wrote ourselves."""
        return ()

    def command(self) -> str:
        """The equal command, for people to read (``render``); empty for what a rendered file already shows."""
        return ""

    @abstractmethod
    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Make it so. Safe to run again after being cut anywhere. Raises DeployError."""

    @abstractmethod
    def remove(self, host: Host, progress: Progress) -> None:
        """Take it away; nothing to do when it is gone already. Raises DeployError."""

"""A machine that a deployment may go to."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from orchestrator.spec.fields import Section


class HostEntry(Section):
    """A machine as the user describes it; what is None is for the SSH configuration to say."""

    name: str = Field(description="The name the user knows it by.")
    address: str = Field(description="Name or address to connect to; `local` for this machine.")
    user: str | None = Field(default=None, description="Login name.")
    port: int | None = Field(default=None, description="SSH port.")
    key: Path | None = Field(default=None, description="Private key file on this machine.")
    jump: tuple[str, ...] = Field(
        default=(),
        description="Addresses to go through, the first one first; names among them are for the SSH configuration.",
    )
    become: Literal["auto", "always", "never"] = Field(default="auto", description="Whether to become root by sudo.")
    vars: dict[str, Any] = Field(default={}, description="Spec overrides, dotted, the nearest ones last.")
    origins: dict[str, str] = Field(default={}, repr=False, exclude=True, description="Where each of vars was said.")
    note: str = Field(default="", exclude=True, description="Something the user may want to know of how it was found.")

    @classmethod
    def local(cls) -> "HostEntry":
        """This machine."""
        return cls(name="local", address="local")

    @property
    def is_local(self) -> bool:
        """Whether this is the controller's own machine."""
        return self.address == "local"

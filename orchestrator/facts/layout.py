"""Where things live on a host: system-wide for root, in the user's own directories otherwise."""

from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict

Scope = Literal["system", "user"]


class Layout(BaseModel):
    """Absolute directories on the host; none of them needs to exist.

    ``state`` holds manifests (the truth about what was applied), ``config`` rendered files, ``data`` models and
    what engines write, ``opt`` the engines themselves.
    """

    model_config = ConfigDict(frozen=True)

    scope: Scope
    state: str
    config: str
    data: str
    opt: str

    @classmethod
    def system(cls) -> "Layout":
        """The layout of a deployment made by root (Filesystem Hierarchy Standard 3.0)."""
        return cls(
            scope="system",
            state="/var/lib/deployctl",
            config="/etc/deployctl",
            data="/var/lib/deployctl",
            opt="/opt/deployctl",
        )

    @classmethod
    def user(cls, home: str, xdg: dict[str, str]) -> "Layout":
        """The layout without root (XDG Base Directory Specification); ``xdg`` holds its variables, where set."""

        def base(variable: str, default: str) -> str:
            value = xdg.get(variable, "")
            root = PurePosixPath(value) if value.startswith("/") else PurePosixPath(home) / default
            return str(root / "deployctl")

        data = base("XDG_DATA_HOME", ".local/share")
        return cls(
            scope="user",
            state=base("XDG_STATE_HOME", ".local/state"),
            config=base("XDG_CONFIG_HOME", ".config"),
            data=data,
            opt=f"{data}/opt",
        )

    @property
    def models(self) -> str:
        """Where model files are kept, shared by all deployments of the host."""
        return f"{self.data}/models"

    def deployment_state(self, name: str) -> str:
        """Where the manifest of one deployment is."""
        return f"{self.state}/deployments/{name}"

    def deployment_config(self, name: str) -> str:
        """Where the rendered files of one deployment are."""
        return f"{self.config}/{name}"

    def deployment_data(self, name: str) -> str:
        """Where the engine of one deployment writes."""
        return f"{self.data}/{name}"

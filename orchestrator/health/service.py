"""What health asks of whatever keeps an engine running: a unit, a container, a supervised process."""

from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from orchestrator.hosts.base import Host


class ServiceState(BaseModel):
    """One look at the service."""

    model_config = ConfigDict(frozen=True)

    running: bool
    """Started or starting. False when it exited, failed, is gone, or waits to be restarted."""

    restarts: int = 0
    """How often its supervisor has restarted it; only growth during one check matters."""

    detail: str = ""
    """What the supervisor says: "exited 0", "exited 137 (OOM killed)", "activating (auto-restart)"."""

    started_at: datetime | None = None

    pid: int | None = None
    """Its first process on the host; None where it does not run, or nobody says."""


class ServiceView(Protocol):
    """Read-only sight of one service. Calls with a host may raise UnreachableError."""

    def state_script(self) -> str:
        """A script that prints what ``read_state`` reads."""

    def read_state(self, output: str) -> ServiceState:
        """How it is doing, from the script's output."""

    def state(self, host: Host) -> ServiceState:
        """Look at it now."""

    def log_tail(self, host: Host, lines: int) -> str:
        """The last lines of its log, standard output and error in order, of its present and previous runs only."""

    def evidence(self, host: Host) -> str:
        """What the host knows of its last end besides its log: Docker's words, what the kernel killed."""

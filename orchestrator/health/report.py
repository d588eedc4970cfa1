"""What a health check found, as a value: printable, JSON-able, free of secrets."""

from pydantic import BaseModel, ConfigDict

from orchestrator.health.diagnosis import Diagnosis
from orchestrator.health.endpoint import Runtime

REACHABLE = "reachable"
RUNNING = "running"
PORT_OPEN = "port open"
VERSION = "version"
MODEL_LISTED = "model listed"
GENERATES = "generates"
MAKES_SENSE = "makes sense"
LETS_IN = "a key opens it"
KEEPS_OUT = "closed without a key"

LADDER = (REACHABLE, RUNNING, PORT_OPEN, VERSION, MODEL_LISTED, GENERATES, MAKES_SENSE, LETS_IN, KEEPS_OUT)
"""The rungs from bottom to top. Each is tried only when those below hold; ``makes sense`` only warns.

``a key opens it`` is not tried where there is no gateway, ``closed without a key`` not where it is open on purpose.
"""


class Rung(BaseModel):
    """One step: ``ok`` is None when it was not tried; ``seconds`` is how long it took."""

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool | None = None
    detail: str = ""
    seconds: float = 0.0

    @property
    def only_warns(self) -> bool:
        """Whether a failure here leaves the endpoint healthy."""
        return self.name == MAKES_SENSE


class HealthReport(BaseModel):
    """The ladder as it was climbed."""

    model_config = ConfigDict(frozen=True)

    host: str
    runtime: Runtime
    url: str
    model: str
    healthy: bool
    rungs: tuple[Rung, ...]
    failed: str | None = None
    """Name of the first rung that does not hold; None when healthy."""
    warnings: tuple[str, ...] = ()
    answer_text: str = ""
    """What the model said to the question, shortened."""
    phase: str = ""
    """How far the engine's start had come, where the check ended while waiting for it."""
    log: str = ""
    """The last lines of the service's log, where it tells something about the failure; else empty."""
    diagnosis: Diagnosis | None = None

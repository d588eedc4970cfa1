"""What was decided for the memory of a host before a deployment, and foreseen of it: kept with what is applied."""

from pydantic import BaseModel, ConfigDict

from orchestrator.fit.memory import Estimate


class Decided(BaseModel):
    """``asked`` is a digest of what was decided from: the same question gets the same answer in a later run.

    ``chosen`` are keys of the runtime's section of the spec whose values were adapted to the host; ``estimate`` is None
    where the model's header could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    chosen: dict[str, int] = {}
    estimate: Estimate | None = None

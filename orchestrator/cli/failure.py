"""What every JSON document may hold: a failure; and the name of a runtime."""

from typing import Literal

from typing_extensions import TypedDict

Runtime = Literal["ollama", "vllm"]


class Failure(TypedDict):
    """What went wrong on a host."""

    what: str
    host: str
    why: str
    remedy: str
    exit_code: int

"""What goes between deployctl and its load generator, which is a process of its own: a job, and its records, as JSON.

Only the standard library is used here, so that the generator starts fast and carries nothing that it does not need.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

PROGRESS = "done "
"""Begins a line that says how many requests are over; the one other line is the batch."""


@dataclass(frozen=True)
class Job:
    """One batch of requests. It travels on the generator's standard input, since ``key`` is a secret.

    ``url`` ends in ``/v1``. ``first`` is the number of the first prompt. It ends after ``requests`` of them, or begins
    none after ``seconds``. ``timeout`` is in seconds, for each request. ``extra`` goes into every request as it is.
    Without a ``model`` nothing is generated: the generator only says which models there are.
    """

    url: str
    model: str = ""
    key: str = field(default="", repr=False)
    ca_file: str = ""
    concurrency: int = 1
    requests: int = 1
    seconds: float | None = None
    timeout: float = 600.0
    seed: int = 1
    first: int = 0
    words: int = 0
    output_tokens: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Job":
        """Read it back."""
        return cls(**json.loads(text))


@dataclass
class Record:
    """What came of one request. Times are seconds since the batch began; ``error`` is empty when it went well.

    ``pieces`` are events of the stream that brought something; ``gaps`` the seconds between them. ``tokens`` are the
    server's own count, where ``counted`` says that it gave one.
    """

    began: float
    first: float | None = None
    ended: float = 0.0
    gaps: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    tokens: int = 0
    pieces: int = 0
    counted: bool = False
    finish: str = ""
    error: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Strain:
    """How hard the generator itself worked: seconds of processor and of clock, and how late its event loop was."""

    cpu_s: float
    wall_s: float
    late_p99_s: float
    late_max_s: float


@dataclass(frozen=True)
class Batch:
    """All that a job gave. ``models`` are (name, owner) as the endpoint lists them, where only that was asked."""

    records: tuple[Record, ...] = ()
    strain: Strain = Strain(0.0, 0.0, 0.0, 0.0)
    models: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Batch":
        """Read it back."""
        found = json.loads(text)
        return cls(
            records=tuple(Record(**record) for record in found["records"]),
            strain=Strain(**found["strain"]),
            models=tuple((name, owner) for name, owner in found["models"]),
        )

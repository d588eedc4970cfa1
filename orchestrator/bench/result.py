"""What a benchmark found, as values that are printed, stored beside a generation and compared."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Runtime = Literal["ollama", "vllm", ""]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a result that a newer deployctl stored is still of use


class Load(_Value):
    """What was asked of an endpoint. Lengths are tokens, times seconds.

    ``requests`` is per level; None takes as many as its concurrency, and at least 8. With ``seconds`` a level lasts so
    long instead. ``prompt_tokens`` None leaves the prompts as they are.
    """

    concurrency: tuple[int, ...]
    prompt_tokens: int | None = None
    output_tokens: int
    requests: int | None = None
    seconds: float | None = None
    warmup: int = 2
    seed: int = 1
    timeout: float = 600.0
    prompts: str

    def count(self, concurrency: int) -> int:
        """Requests of one level."""
        return self.requests or max(8, concurrency)

    def like(self, other: "Load") -> bool:
        """Whether levels of both may be compared: the same requests, however many there were."""
        return (self.prompt_tokens, self.output_tokens, self.prompts) == (
            other.prompt_tokens,
            other.output_tokens,
            other.prompts,
        )


class Spread(_Value):
    """How a number is spread over the requests, or over all tokens."""

    mean: float
    p50: float
    p90: float
    p99: float


class Client(_Value):
    """How hard this side worked. Shares are of one core; 1 is all of it."""

    cpu: float
    late_p99_s: float
    late_max_s: float
    tunnel_cpu: float | None = None
    saturated: bool = False


class GpuUse(_Value):
    """One GPU during a level. ``energy_j`` is None where the driver does not tell the power."""

    index: int
    name: str
    memory_peak_mib: int
    memory_total_mib: int
    use_percent: float
    energy_j: float | None = None


class Level(_Value):
    """One concurrency. Spreads are None when no request went well; what is between tokens also where none can be told.

    ``ttft_s`` is from sending a request to its first text, ``inter_token_s`` between pieces of the stream,
    ``tokens_per_second`` that of one answer after its first text, ``output_tokens_per_second`` that of all together.
    """

    concurrency: int
    requests: int
    succeeded: int
    seconds: float
    errors: dict[str, int] = {}
    complaints: dict[str, str] = {}
    finished: dict[str, int] = {}
    ttft_s: Spread | None = None
    inter_token_s: Spread | None = None
    end_to_end_s: Spread | None = None
    tokens_per_second: Spread | None = None
    output_tokens_per_second: float = 0.0
    requests_per_second: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    pieces: int = 0
    counted_by: Literal["usage", "pieces", "both"] = "usage"
    client: Client
    gpus: tuple[GpuUse, ...] = ()


class Measurement(_Value):
    """One endpoint under load. ``generation`` is None where it is no deployment of ours.

    ``way`` is how it was reached; ``gpu_note`` says why there are no numbers of a GPU, else it is empty.
    """

    target: str
    host: str = ""
    runtime: Runtime = ""
    model: str
    url: str
    way: Literal["direct", "ssh"] = "direct"
    generation: int | None = None
    summary: dict[str, str] = {}
    at: str
    by: str
    load: Load
    levels: tuple[Level, ...]
    gpu_note: str = ""
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What it is called where several stand side by side."""
        return f"{self.target} on {self.host}" if self.host else self.target

    def level(self, concurrency: int) -> Level | None:
        """The level of a concurrency."""
        return next((level for level in self.levels if level.concurrency == concurrency), None)

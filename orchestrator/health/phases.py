"""How far an engine's start has come, read from its log.

The markers and their order are those of vLLM 0.32 and Ollama 0.33 (measured). A phase never goes back within one
run; a line that only a new start prints begins again, so a restarted engine shows its present run.
"""

import re
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from orchestrator.health.endpoint import Runtime
from orchestrator.health.text import plain


class Phase(BaseModel):
    """One phase: the ``index``-th of ``total``; index 0 is "starting", before any marker."""

    model_config = ConfigDict(frozen=True)

    name: str
    index: int
    total: int
    percent: int | None = None
    """How much of this phase is done, 0 to 100, where the engine says so."""

    def __str__(self) -> str:
        return self.name if self.percent is None else f"{self.name} {self.percent} %"


class _Marker(NamedTuple):
    name: str
    pattern: re.Pattern[str]


def _marker(name: str, pattern: str) -> _Marker:
    return _Marker(name, re.compile(pattern))


_VLLM = (
    _marker("reading the configuration", r"Resolved architecture:|Using max model len"),
    _marker("starting the engine", r"Initializing a V1 LLM engine|world_size=\d+ rank="),
    _marker("preparing to load", r"Starting to load model|Loading model from scratch"),
    _marker("downloading", r"Fetching \d+ files:\s+(?P<percent>\d+)%|\.(?:safetensors|gguf|bin):\s+(?P<percent2>\d+)%"),
    _marker(
        "loading weights",
        r"Loading \S+ checkpoint shards:\s+(?P<percent>\d+)%|Time spent downloading weights|Loading weights took"
        r"|Model loading took",
    ),
    _marker("compiling", r"Dynamo bytecode transform|Compiling a graph|Directly load the|torch\.compile took"),
    _marker(
        "sizing the KV cache", r"Profiling CUDA graph memory|Available KV cache memory|GiB for KV cache|KV cache size:"
    ),
    _marker("capturing CUDA graphs", r"Capturing CUDA graphs?\b[^\n]*?:\s+(?P<percent>\d+)%|Graph capturing finished"),
    _marker("warming up", r"init engine \(profile|Supported tasks:"),
    _marker("opening the port", r"Starting vLLM (?:API )?server|Available routes are"),
    _marker("ready", r"Application startup complete"),
)
_OLLAMA = (
    _marker("listening", r"Listening on "),
    _marker("loading model", r"starting llama-server"),
    _marker("ready", r"llama-server started in"),
)
_PHASES: dict[Runtime, tuple[_Marker, ...]] = {"vllm": _VLLM, "ollama": _OLLAMA}
_BEGINS: dict[Runtime, re.Pattern[str]] = {
    "vllm": re.compile(r"non-default args:"),
    "ollama": re.compile(r'msg="server config"|starting llama-server'),
}


def phase(log_text: str, runtime: Runtime = "vllm") -> Phase:
    """The phase that the log's last run has reached. The text may be a tail that begins anywhere."""
    markers = _PHASES[runtime]
    reached = Phase(name="starting", index=0, total=len(markers))
    for line in plain(log_text).split("\n"):
        if _BEGINS[runtime].search(line):
            reached = Phase(name="starting", index=0, total=len(markers))
        for index, marker in enumerate(markers, start=1):
            found = marker.pattern.search(line)
            if found and index >= reached.index:
                reached = Phase(name=marker.name, index=index, total=len(markers), percent=_percent(found))
    return reached


def _percent(found: re.Match[str]) -> int | None:
    numbers = [int(value) for value in found.groupdict().values() if value is not None]
    return min(numbers[0], 100) if numbers else None

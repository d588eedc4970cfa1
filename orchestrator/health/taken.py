"""What memory an engine really took, in its own words and the driver's: its log, ``/api/ps``, nvidia-smi. Pure."""

import json
import re

from pydantic import BaseModel, ConfigDict

GIB = 1 << 30

_WEIGHTS = re.compile(r"Model loading took ([\d.]{1,12}) GiB", re.ASCII)
_CACHE = re.compile(r"(?:Available KV cache memory: |Explicitly set \()([\d.]{1,12})", re.ASCII)
_TOKENS = re.compile(r"KV cache size: ([\d,]{1,20}) tokens", re.ASCII)


class Taken(BaseModel):
    """Bytes and tokens; None where the engine does not tell.

    vLLM tells, of each GPU, ``weights_bytes`` and ``kv_bytes`` with the ``kv_tokens`` they hold; Ollama ``size_bytes``
    of the whole model, and ``vram_bytes`` of that which lies on GPUs. ``gpu_bytes`` is what the driver counts for the
    engine's processes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights_bytes: int | None = None
    kv_bytes: int | None = None
    kv_tokens: int | None = None
    size_bytes: int | None = None
    vram_bytes: int | None = None
    gpu_bytes: int | None = None

    @property
    def cpu_percent(self) -> float:
        """The share of an Ollama model that lies in main memory."""
        if not self.size_bytes or self.vram_bytes is None:
            return 0.0
        return round(100 * max(0, self.size_bytes - self.vram_bytes) / self.size_bytes, 1)

    @property
    def on_cpu(self) -> str:
        """What is to be said where a part of an Ollama model runs on the CPU; else empty."""
        if self.cpu_percent < 1:
            return ""
        return f"{self.cpu_percent:.0f} % of the model runs on the CPU, slowly: it did not all find room on the GPU"


def of_log(log: str) -> Taken | None:
    """What vLLM's log tells of its last start; None when nothing."""
    weights, cache, tokens = (_last(pattern, log) for pattern in (_WEIGHTS, _CACHE, _TOKENS))
    if weights is cache is tokens is None:
        return None
    return Taken(
        weights_bytes=None if weights is None else int(weights * GIB),
        kv_bytes=None if cache is None else int(cache * GIB),
        kv_tokens=None if tokens is None else int(tokens),
    )


def of_ps(body: str | bytes, model: str) -> Taken | None:
    """What Ollama's ``/api/ps`` tells of a model that is loaded; None when it is not, or nothing can be read."""
    try:
        models = json.loads(body)["models"]
        found = next(item for item in models if item["name"].removesuffix(":latest") == model.removesuffix(":latest"))
        size, vram = found["size"], found["size_vram"]
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError):
        return None
    whole = all(type(number) is int and 0 <= number < 1 << 60 for number in (size, vram))  # true is none
    return Taken(size_bytes=size, vram_bytes=vram) if whole else None


def _last(pattern: re.Pattern[str], log: str) -> float | None:
    found = pattern.findall(log)
    try:
        return float(found[-1].replace(",", "")) if found else None
    except ValueError:  # digits and points, but no number
        return None

"""What the environment says, read the way Ollama reads it."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 11434
FOREVER = float(2**63 // 10**9)  # seconds; Go's longest duration, shown as the year 2319 or so
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Failure(Exception):
    """What a command prints after ``Error: `` before it exits with 1."""


@dataclass(frozen=True)
class Knobs:
    """Faults for tests, from ``DOUBLE_OLLAMA_*``. The real program has none of them."""

    fail: str  # every generation answers 500 with this message
    text: str  # every generation answers this text
    load_seconds: float  # llama-server takes this long to get ready (a huge number: never)
    token_seconds: float  # pause before each token
    listen_seconds: float  # `serve` waits this long before it listens


@dataclass(frozen=True)
class Settings:
    """The server's settings; durations in seconds, contexts in tokens."""

    host: str
    port: int
    models: Path
    parallel: int
    context_length: int
    keep_alive: float
    max_queue: int
    no_cloud: bool
    no_prune: bool
    library: Path
    knobs: Knobs


def parse_duration(value: object) -> float:
    """Seconds from a number of seconds or from Go's notation (``5m``, ``1h30m``); negative means for ever."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"invalid duration: {value!r}")
    if isinstance(value, str):
        sign, text = (-1, value[1:]) if value.startswith("-") else (1, value)
        if re.fullmatch(r"\d+", text):
            seconds = sign * float(text)
        elif re.fullmatch(r"(\d+(\.\d+)?(h|ms|us|µs|ns|m|s))+", text):
            parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)", text)
            seconds = sign * sum(float(number) * _UNITS[unit] for number, unit in parts)
        else:
            raise ValueError(f'time: invalid duration "{value}"')
    else:
        seconds = float(value)
    return FOREVER if seconds < 0 else min(seconds, FOREVER)


def parse_host(value: str) -> tuple[str, int, bool]:
    """Host, port and whether the port was usable, from ``OLLAMA_HOST``."""
    text = value.strip().strip("\"'")
    default = DEFAULT_PORT
    scheme, separator, rest = text.partition("://")
    if separator:
        default = {"http": 80, "https": 443}.get(scheme, DEFAULT_PORT)
        text = rest
    text = text.partition("/")[0]
    match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:]*))(?::([^:]*))?", text)
    if not match:
        return text, default, True
    host = match[1] or match[2] or "127.0.0.1"
    port = match[3]
    if port is None:
        return host, default, True
    if port.isdigit() and int(port) <= 65535:
        return host, int(port), True
    return host, default, False


def home() -> Path:
    """``$HOME``; Failure when it is not set."""
    value = os.environ.get("HOME", "")
    if not value:
        raise Failure("$HOME is not defined")
    return Path(value)


def _integer(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip()
    return int(value) if value.isdigit() else default


def _flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "f")


def _seconds(name: str) -> float:
    return float(os.environ.get(name, "0"))


def read_settings() -> Settings:
    """The settings of this process' environment."""
    host, port, _ = parse_host(os.environ.get("OLLAMA_HOST", ""))
    models = os.environ.get("OLLAMA_MODELS", "").strip()
    return Settings(
        host=host,
        port=port,
        models=Path(models) if models else home() / ".ollama" / "models",
        parallel=max(1, _integer("OLLAMA_NUM_PARALLEL", 1)),
        context_length=_integer("OLLAMA_CONTEXT_LENGTH", 0) or 4096,
        keep_alive=parse_duration(os.environ.get("OLLAMA_KEEP_ALIVE", "") or "5m"),
        max_queue=_integer("OLLAMA_MAX_QUEUE", 512),
        no_cloud=_flag("OLLAMA_NO_CLOUD"),
        no_prune=_flag("OLLAMA_NOPRUNE"),
        library=Path(sys.argv[0]).resolve().parent.parent / "lib" / "ollama",
        knobs=Knobs(
            fail=os.environ.get("DOUBLE_OLLAMA_FAIL", ""),
            text=os.environ.get("DOUBLE_OLLAMA_TEXT", ""),
            load_seconds=_seconds("DOUBLE_OLLAMA_LOAD_SECONDS"),
            token_seconds=_seconds("DOUBLE_OLLAMA_TOKEN_SECONDS"),
            listen_seconds=_seconds("DOUBLE_OLLAMA_LISTEN_SECONDS"),
        ),
    )

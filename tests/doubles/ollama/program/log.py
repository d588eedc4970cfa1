"""The log on stderr and the access log on stdout."""

import sys
import threading
from datetime import datetime

_lock = threading.Lock()


def info(source: str, message: str, *, level: str = "INFO", **fields: str) -> None:
    """One line of the server's log, in the form of Go's slog."""
    now = datetime.now().astimezone().isoformat(timespec="milliseconds")
    rest = "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
    with _lock:
        sys.stderr.write(f"time={now} level={level} source={source} msg={_quoted(message)}{rest}\n")
        sys.stderr.flush()


def access(status: int, seconds: float, client: str, method: str, path: str) -> None:
    """One line of the access log, padded as Gin pads it."""
    now = datetime.now().strftime("%Y/%m/%d - %H:%M:%S")
    if seconds >= 1:
        took = f"{seconds:.6f}s"
    else:
        took = f"{seconds * 1e3:.3f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}µs"
    with _lock:
        sys.stdout.write(f'[GIN] {now} | {status:3d} | {took:>13} | {client:>15} | {method:<7}  "{path}"\n')
        sys.stdout.flush()


def _quoted(value: str) -> str:
    plain = value and not any(char in ' "=' or not char.isprintable() for char in value)
    return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

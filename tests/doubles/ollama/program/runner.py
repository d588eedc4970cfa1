"""Loaded models: one ``llama-server`` child each, a queue in front, unloaded when unused for long enough."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .gguf import Header
from .log import info
from .settings import FOREVER, Settings
from .store import Model
from .wire import Answer

_OVERHEAD = 21 * 1024 * 1024  # bytes of compute buffers, about what a small model has


@dataclass
class Loaded:
    """A model in memory. `context` is in tokens per slot, `size` in bytes."""

    model: Model
    header: Header
    blob: Path
    context: int
    size: int
    process: subprocess.Popen[bytes]
    load_seconds: float
    users: int = 0
    expires: datetime = field(default_factory=lambda: datetime.now(UTC))
    timer: threading.Timer | None = None


class Scheduler:
    """Who may generate now, and with which child process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[Path, Loaded] = {}
        self._changed = threading.Condition()
        self._admission = threading.Lock()
        self._inside = 0

    def loaded(self) -> list[Loaded]:
        """What is in memory; a child that was killed counts until the next request finds out."""
        return list(self._loaded.values())

    @contextmanager
    def use(self, model: Model, header: Header, blob: Path, context: int, keep_alive: float) -> Iterator[Loaded]:
        """Hold a slot of the loaded model; Answer 503 when the queue is full."""
        with self._admission:
            if self._inside >= self._settings.parallel + self._settings.max_queue:
                raise Answer(503, "server busy, please try again.  maximum pending requests exceeded")
            self._inside += 1
        try:
            loaded = self._acquire(model, header, blob, context)
            try:
                yield loaded
            finally:
                self._release(loaded, keep_alive)
        finally:
            with self._admission:
                self._inside -= 1

    def unload(self, model: Model) -> None:
        """Take a model out of memory once nobody uses it."""
        with self._changed:
            for loaded in self.loaded():
                if loaded.model.name == model.name:
                    self._changed.wait_for(lambda loaded=loaded: loaded.users == 0)  # type: ignore[misc]  # bound now
                    self._stop(loaded)

    def kill_all(self) -> None:
        """End every child at once; for the end of the server."""
        for loaded in self.loaded():
            loaded.process.kill()
            loaded.process.wait()

    def _acquire(self, model: Model, header: Header, blob: Path, context: int) -> Loaded:
        with self._changed:
            while True:
                loaded = self._loaded.get(blob)
                if loaded is None:
                    break
                fits = loaded.context == context and loaded.model.name == model.name
                if fits and loaded.process.poll() is None and loaded.users < self._settings.parallel:
                    loaded.load_seconds = 0.0
                    break
                if loaded.users == 0:
                    self._stop(loaded)
                else:
                    self._changed.wait()
            loaded = loaded or self._start(model, header, blob, context)
            loaded.users += 1
            if loaded.timer:
                loaded.timer.cancel()
            return loaded

    def _release(self, loaded: Loaded, keep_alive: float) -> None:
        with self._changed:
            loaded.users -= 1
            loaded.expires = datetime.now(UTC) + timedelta(seconds=keep_alive)
            if loaded.users == 0 and keep_alive == 0:
                self._stop(loaded)
            elif keep_alive < FOREVER:
                loaded.timer = threading.Timer(keep_alive, self._expire, [loaded])
                loaded.timer.daemon = True
                loaded.timer.start()
            self._changed.notify_all()

    def _expire(self, loaded: Loaded) -> None:
        with self._changed:
            if loaded.users == 0 and datetime.now(UTC) >= loaded.expires:
                self._stop(loaded)
                self._changed.notify_all()

    def _stop(self, loaded: Loaded) -> None:
        if loaded.timer:
            loaded.timer.cancel()
        loaded.process.kill()
        loaded.process.wait()
        if self._loaded.get(loaded.blob) is loaded:
            del self._loaded[loaded.blob]

    def _start(self, model: Model, header: Header, blob: Path, context: int) -> Loaded:
        program = self._settings.library / "llama-server"
        if not program.is_file():
            raise Answer(500, f"error starting llama-server: llama-server binary not found (checked: {program})")
        port = _free_port()
        command = [str(program), "--model", str(blob), "--port", str(port), *self._arguments(context)]
        info("server.go:432", "starting llama-server", cmd=" ".join(command))
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)
        total = context * self._settings.parallel
        size = blob.stat().st_size + _OVERHEAD + total * _cache_bytes_per_token(header)
        loaded = Loaded(model, header, blob, context, size, process, 0.0)
        self._loaded[blob] = loaded
        while not _answers(port):
            status = process.poll()
            if status is not None:
                del self._loaded[blob]
                raise Answer(500, f"llama-server process has terminated: exit status {status}")
            time.sleep(0.01)
        loaded.load_seconds = time.monotonic() - started
        info("server.go:1350", f"llama-server started in {loaded.load_seconds:.2f} seconds")
        return loaded

    def _arguments(self, context: int) -> list[str]:
        total = context * self._settings.parallel
        batch = 512 if total <= 4096 else 1024 if total <= 32768 else 2048
        return (
            f"--host 127.0.0.1 --no-webui --offline -c {total} -np {self._settings.parallel} --log-verbosity 4"
            " --no-log-prefix --no-log-timestamps --load-mode none --flash-attn auto"
            f" -b {batch} -ub {batch} --context-shift --keep 4"
        ).split()


def _cache_bytes_per_token(header: Header) -> int:
    heads = header.number("attention.head_count") or 1
    kv_heads = header.number("attention.head_count_kv") or heads
    width = header.number("embedding_length") // heads
    return 2 * 2 * header.number("block_count") * kv_heads * width


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

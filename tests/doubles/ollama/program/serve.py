"""``ollama serve``: the key, the port, the folders, the routes; and the end of it all on a signal."""

import base64
import errno
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable

from .api import Native
from .engine import Engine
from .http import TEXT, Request, Response, Server
from .log import info
from .openai import OpenAI
from .settings import Failure, Settings, home, parse_host, read_settings
from .version import VERSION

Route = Callable[[Request], Response]


def serve() -> int:
    """Run until SIGTERM or SIGINT; Failure when it cannot start."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _ensure_key()
    settings = read_settings()
    engine = Engine(settings)
    if stop.wait(settings.knobs.listen_seconds):
        return 0
    server = _listen(settings, engine)
    _start_up(settings, engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop.wait()
    engine.scheduler.kill_all()
    sys.stdout.flush()
    os._exit(0)  # streams in flight are cut, not drained


def _ensure_key() -> None:
    folder = home() / ".ollama"
    path = folder / "id_ed25519"
    if path.exists():
        return
    sys.stdout.write(f"Couldn't find '{path}'. Generating new private key.\n")
    public = "ssh-ed25519 " + base64.b64encode(secrets.token_bytes(51)).decode()
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(base64.b64encode(secrets.token_bytes(48)) + b"\n")
        path.with_suffix(".pub").write_text(public)
    except OSError as error:
        raise Failure(f"could not create directory mkdir {folder}: {(error.strerror or '').lower()}") from None
    sys.stdout.write(f"Your new public key is: \n\n{public}\n\n")
    sys.stdout.flush()


def _listen(settings: Settings, engine: Engine) -> Server:
    try:
        return Server(settings.host, settings.port, Routes(engine))
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "address already in use",
            errno.EADDRNOTAVAIL: "cannot assign requested address",
            errno.EACCES: "permission denied",
        }.get(error.errno or 0, str(error.strerror).lower())
        raise Failure(f"listen tcp {_address(settings)}: bind: {reason}") from None


def _start_up(settings: Settings, engine: Engine) -> None:
    _, _, good_port = parse_host(os.environ.get("OLLAMA_HOST", ""))
    if not good_port:
        info("config.go:85", "invalid port, using default", level="WARN", default=str(settings.port))
    shown = {
        "OLLAMA_CONTEXT_LENGTH": settings.context_length,
        "OLLAMA_HOST": f"http://{_address(settings)}",
        "OLLAMA_KEEP_ALIVE": f"{int(settings.keep_alive // 60)}m{int(settings.keep_alive % 60)}s",
        "OLLAMA_MAX_QUEUE": settings.max_queue,
        "OLLAMA_MODELS": settings.models,
        "OLLAMA_NOPRUNE": str(settings.no_prune).lower(),
        "OLLAMA_NO_CLOUD": str(settings.no_cloud).lower(),
        "OLLAMA_NUM_PARALLEL": settings.parallel,
    }
    environment = " ".join(f"{key}:{value}" for key, value in shown.items())
    info("routes.go:1951", "server config", env=f"map[{environment}]")
    info("routes.go:1953", f"Ollama cloud disabled: {str(settings.no_cloud).lower()}")
    engine.store.prepare()
    info("images.go:919", f"total blobs: {sum(1 for _ in engine.store.blobs.iterdir())}")
    if not settings.no_prune:
        info("images.go:926", f"total unused blobs removed: {engine.store.prune()}")
    info("routes.go:2008", f"Listening on {_address(settings)} (version {VERSION})")
    info("runner.go:60", "discovering available GPUs...")
    total = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    free = f"{os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    info("types.go:50", "inference compute", id="cpu", library="cpu", total=total, available=free)
    info("routes.go:2058", "vram-based default context", total_vram="0 B", default_num_ctx="4096")


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


class Routes:
    """Which method answers which path."""

    def __init__(self, engine: Engine) -> None:
        api, v1 = Native(engine), OpenAI(engine)
        self._exact: dict[str, dict[str, Route]] = {
            "/": {"GET": api.root, "HEAD": api.root},
            "/api/version": {"GET": api.version, "HEAD": api.version},
            "/api/status": {"GET": api.status},
            "/api/tags": {"GET": api.tags, "HEAD": api.tags},
            "/api/ps": {"GET": api.ps},
            "/api/show": {"POST": api.show},
            "/api/generate": {"POST": api.generate},
            "/api/chat": {"POST": api.chat},
            "/api/create": {"POST": api.create},
            "/api/pull": {"POST": api.pull},
            "/api/delete": {"DELETE": api.delete},
            "/api/copy": {"POST": api.copy},
            "/api/embed": {"POST": api.embed},
            "/v1/models": {"GET": v1.models},
            "/v1/chat/completions": {"POST": v1.chat},
            "/v1/completions": {"POST": v1.completions},
            "/v1/embeddings": {"POST": v1.embeddings},
        }
        self._below: dict[str, dict[str, Route]] = {
            "/api/blobs/": {"HEAD": api.blob, "POST": api.blob},
            "/v1/models/": {"GET": v1.model},
        }

    def __call__(self, request: Request) -> Response:
        methods = self._exact.get(request.path)
        if methods is None:
            methods = next((found for prefix, found in self._below.items() if request.path.startswith(prefix)), None)
        if methods is None:
            return Response(404, b"404 page not found", TEXT)
        route = methods.get(request.method)
        return route(request) if route else Response(405, b"405 method not allowed", TEXT)

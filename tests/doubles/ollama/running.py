"""Install and run an Ollama in a test: the double, or the official archive named by ``DEPLOYCTL_TEST_OLLAMA``."""

import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from .archive import make_archive

OFFICIAL = os.environ.get("DEPLOYCTL_TEST_OLLAMA", "")
GGUF = os.environ.get("DEPLOYCTL_TEST_GGUF", "")  # a small model with a chat template that can count on
START_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    kind: str
    body: bytes

    def json(self) -> Any:
        """The body as one JSON document."""
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """The body as ndjson."""
        return [json.loads(line) for line in self.body.splitlines()]


def install(folder: Path) -> Path:
    """Unpack the archive below `folder` and return ``bin/ollama``."""
    archive = Path(OFFICIAL) if OFFICIAL else make_archive(folder / "ollama.tar.zst").path
    root = folder / "ollama"
    root.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(root)], check=True)
    return root / "bin" / "ollama"


def sha256(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Ollama:
    """A program with its own home, models and port; `serve` runs its server."""

    program: Path
    home: Path
    port: int = field(default_factory=free_port)

    @property
    def models(self) -> Path:
        """The folder that ``OLLAMA_MODELS`` names."""
        return self.home / "models"

    def blob(self, digest: str) -> Path:
        """Where a blob lies, by the hex of its sha256."""
        return self.models / "blobs" / f"sha256-{digest}"

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of server and commands."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(self.models),
            "OLLAMA_NO_CLOUD": "1",
            **more,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [str(self.program), *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def create(self, name: str, modelfile: str) -> subprocess.CompletedProcess[str]:
        """``ollama create`` from the text of a Modelfile, which lies in the home."""
        path = self.home / "Modelfile"
        path.write_text(modelfile, encoding="utf-8")
        return self.run("create", name, "-f", str(path))

    @contextmanager
    def serve(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A running server; its output lands in ``stdout.log`` and ``stderr.log`` of the home."""
        with (self.home / "stdout.log").open("ab") as out, (self.home / "stderr.log").open("ab") as err:
            process = subprocess.Popen(
                [str(self.program), "serve"], env=self.environment(**environment), stdout=out, stderr=err
            )
        try:
            self._await(process)
            yield process
        finally:
            process.terminate()
            process.wait()

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """One request on a connection of its own; a body that is not bytes goes out as JSON."""
        connection = HTTPConnection("127.0.0.1", self.port)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            return Reply(response.status, response.headers.get("Content-Type", ""), response.read())
        finally:
            connection.close()

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"ollama serve ended: {(self.home / 'stderr.log').read_text()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError("ollama serve does not listen")

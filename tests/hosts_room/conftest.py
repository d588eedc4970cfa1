"""Real machines for this room: sshd on loopback ports, and an HTTP server that remembers."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.hosts.ssh import SSHHost

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@dataclass(frozen=True)
class Entry:
    """An inventory entry as the hosts room sees it."""

    name: str
    address: str = "127.0.0.1"
    user: str | None = "root"
    port: int | None = 22
    key: Path | None = None
    jump: tuple[str, ...] = ()
    become: str = "auto"


def keygen(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@dataclass
class Sshd:
    """A real sshd that lets root in with one key."""

    folder: Path
    port: int
    key: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def known_hosts_line(self) -> str:
        kind, blob = (self.folder / "host_ed25519.pub").read_text().split()[:2]
        return f"[127.0.0.1]:{self.port} {kind} {blob}\n"

    @property
    def known_hosts(self) -> Path:
        file = self.folder / "known_hosts"
        if not file.exists():
            file.write_text(self.known_hosts_line)
        return file

    def entry(self, name: str = "box", **changes) -> Entry:
        return Entry(**{"name": name, "port": self.port, "key": self.key, **changes})

    def sessions(self) -> list[int]:
        """The processes that serve its connections."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def cut(self) -> None:
        """Kill every connection, as a machine that goes away does."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):  # it ended by itself meanwhile
                os.kill(pid, signal.SIGKILL)


def start_sshd(folder: Path, key: Path, *, port: int | None = None, more: str = "") -> Sshd:
    if SSHD is None:
        pytest.skip("no sshd here (apt-get install openssh-server)")
    if os.geteuid() != 0:
        pytest.skip("these tests log in as root")
    folder.mkdir(exist_ok=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    port = port or free_port()
    if not (folder / "host_ed25519").exists():
        keygen(folder / "host_ed25519")
    shutil.copy(f"{key}.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_ed25519\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin prohibit-password\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nAcceptEnv none\nUseDNS no\nMaxStartups 100\n"
        + more
    )
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    while True:  # ends by success, or by the test's own time limit
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return Sshd(folder, port, key, process)
        except ConnectionRefusedError:
            assert process.poll() is None, (folder / "log").read_text()


def stop_sshd(sshd: Sshd) -> None:
    sshd.cut()
    sshd.process.terminate()
    sshd.process.wait()


@pytest.fixture(scope="session")
def client_key(tmp_path_factory):
    return keygen(tmp_path_factory.mktemp("client") / "id")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory, client_key):
    sshd = start_sshd(tmp_path_factory.mktemp("sshd"), client_key)
    yield sshd
    stop_sshd(sshd)


@pytest.fixture(scope="session")
def second_sshd(tmp_path_factory, client_key):
    sshd = start_sshd(tmp_path_factory.mktemp("sshd2"), client_key)
    yield sshd
    stop_sshd(sshd)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test reads or writes the developer's own ~/.ssh."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture
def box(sshd):
    host = SSHHost(sshd.entry(), known_hosts=sshd.known_hosts)
    yield host
    host.close()


class _Handler(BaseHTTPRequestHandler):
    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        if self.path.startswith("/hang"):
            self.server.release.wait(60)
        if self.path.startswith("/cut"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")
            return
        status, answer = (404, b"not here") if self.path.startswith("/missing") else (200, self.server.answer)
        if self.path.startswith("/moved"):
            status = 302
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do

    def log_message(self, *args) -> None:
        return


@pytest.fixture
def web():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.seen, server.answer, server.release = [], b"hello", threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()

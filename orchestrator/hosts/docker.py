"""The Docker SDK on a host's own engine, over whatever carries bytes there.

The SDK's ``ssh://`` opens a connection of its own, with keys, jumps and trust of its own, and needs the docker
group. Here ``docker system dial-stdio`` runs where scripts run, as who scripts run. Import this module late:
the SDK is slow to load.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import requests
import urllib3
import urllib3.connection
from docker import DockerClient
from docker.constants import DEFAULT_DOCKER_API_VERSION, DEFAULT_TIMEOUT_SECONDS
from docker.errors import DockerException
from docker.transport import sshconn
from docker.transport.basehttpadapter import BaseHTTPAdapter
from docker.utils import kwargs_from_env

from orchestrator.errors import RefusedError
from orchestrator.hosts.base import Host

if TYPE_CHECKING:
    import paramiko
    from urllib3._base_connection import BaseHTTPConnection

DIAL = "exec docker system dial-stdio"

Line: TypeAlias = "socket.socket | paramiko.Channel"
Dial = Callable[[float | None], Line]
"""Opens a line to the engine; gets the time limit of its reads, in seconds."""

_IDLE = 2  # lines kept open: an sshd gives one connection ten channels, and scripts need some
_INSTALL = "install it: https://docs.docker.com/engine/install/"

_ASK = """\
export LC_ALL=C
command -v docker >/dev/null 2>&1 || exit 127
docker version --format '{{.Server.Version}}' 2>&1
"""


class _Connection(urllib3.connection.HTTPConnection):
    def __init__(self, dial: Dial) -> None:
        super().__init__("localhost", timeout=DEFAULT_TIMEOUT_SECONDS)
        self._dial = dial

    def connect(self) -> None:
        self.sock: Any = self._dial(DEFAULT_TIMEOUT_SECONDS)


class _Pool(sshconn.SSHConnectionPool):
    def __init__(self, dial: Dial) -> None:
        super().__init__(timeout=DEFAULT_TIMEOUT_SECONDS, maxsize=_IDLE)
        self._dial = dial

    def _new_conn(self) -> _Connection:
        return _Connection(self._dial)

    def _get_conn(self, timeout: float | None = None) -> "BaseHTTPConnection":
        """A kept line whose far end has hung up (engine restarted, connection lost) is dialled anew."""
        connection = super()._get_conn(timeout)
        line = getattr(connection, "sock", None)
        if line is not None and (getattr(line, "closed", False) or getattr(line, "eof_received", False)):
            connection.close()
        return connection


class _Adapter(BaseHTTPAdapter):
    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self._pool = _Pool(dial)

    def get_connection(self, url: object, proxies: object = None) -> _Pool:
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: object) -> str:
        return str(request.path_url)

    def close(self) -> None:
        self._pool.close()
        super().close()


def over(dial: Dial, host: Host, *, scheme: str = "http+docker://ssh") -> DockerClient:
    """A client whose lines come from ``dial``. ``scheme`` tells the SDK what they are: channels, or sockets.

    Raises RefusedError when there is no engine or it may not be used.
    """
    adapter = _Adapter(dial)

    def client(version: str) -> DockerClient:
        made = DockerClient(base_url="tcp://docker.invalid:1", version=version)
        made.api.trust_env = False  # proxies are for the outside
        made.api.mount(scheme, adapter)
        made.api.base_url = scheme
        return made

    probe = client(DEFAULT_DOCKER_API_VERSION)
    try:
        version = probe.api.version(api_version=False)["ApiVersion"]
    except (DockerException, requests.RequestException, OSError, KeyError) as error:
        probe.close()
        raise _refusal(host, error) from None
    return client(version)


def over_process(argv: list[str], before: bytes, host: Host) -> DockerClient:
    """A client whose lines are processes of this machine (sudo); ``before`` is what each reads first."""

    def dial(timeout: float | None) -> Line:
        near, far = socket.socketpair()
        with far:
            process = subprocess.Popen(
                argv, stdin=far.fileno(), stdout=far.fileno(), stderr=subprocess.DEVNULL, start_new_session=True
            )
        threading.Thread(target=process.wait, daemon=True).start()  # it ends when the line is closed
        near.settimeout(timeout)
        if before:
            near.sendall(before)
        return near

    return over(dial, host, scheme="http+docker://localhost")


def local(host: Host) -> DockerClient:
    """This machine's engine: ``DOCKER_HOST`` and its TLS settings, else the usual sockets.

    Raises RefusedError when there is none or it may not be used.
    """
    try:
        options: dict[str, Any] = dict(kwargs_from_env())
        if options.get("base_url", "").startswith("ssh:"):
            raise RefusedError(
                "DOCKER_HOST points to another machine", remedy="unset DOCKER_HOST, or name that machine with --host"
            )
        return DockerClient(**{"base_url": _socket(), "version": "auto", **options})
    except (DockerException, requests.RequestException, OSError) as error:
        raise _refusal(host, error) from None


def _socket() -> str:
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent") / "docker.sock"
    usual = Path("/var/run/docker.sock")
    return f"unix://{rootless if rootless.exists() and not usual.exists() else usual}"


def _refusal(host: Host, error: Exception) -> RefusedError:
    """Ask the host itself why its engine cannot be used: what the SDK says of a closed line tells nothing."""
    asked = host.run(_ASK, timeout=30)
    if asked.exited == 127:
        return RefusedError("Docker is not installed", host=host.name, remedy=_INSTALL)
    why = (asked.stdout + asked.stderr).strip() or str(error)
    if asked:
        remedy = "Docker 18.09 or newer is needed (docker system dial-stdio); upgrade it"
        return RefusedError("Docker answers, but not to us", host=host.name, why=str(error), remedy=remedy)
    if "permission denied" in f"{why} {error}".lower():
        remedy = 'become root (sudo), or let the user use Docker: sudo usermod -aG docker "$USER", and log in again'
        return RefusedError("Docker may not be used by this user", host=host.name, why=why, remedy=remedy)
    remedy = "start it: sudo systemctl start docker"
    return RefusedError("the Docker Engine does not answer", host=host.name, why=why, remedy=remedy)

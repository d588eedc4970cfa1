"""The Docker Engine of a host: here, and over SSH through a real sshd."""

import io
import re
import subprocess
import tarfile
import time

import pytest

from orchestrator.errors import RefusedError
from orchestrator.hosts import docker as engine
from orchestrator.hosts.base import Result
from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.ssh import SSHHost

pytestmark = pytest.mark.hosts
IMAGE = "deployctl-hosts-room:1"


@pytest.fixture(scope="module")
def image():
    """An image of this machine's shell and nothing else, made without a registry."""
    linked = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
        for file in ["/bin/sh", *re.findall(r"/\S+", linked)]:
            tar.add(file, file.lstrip("/"))
    subprocess.run(["docker", "import", "-", IMAGE], input=archive.getvalue(), check=True, capture_output=True)
    yield IMAGE
    subprocess.run(["docker", "rmi", "-f", IMAGE], check=True, capture_output=True)


def dials() -> set[str]:
    """Remote ends of lines to the engine."""
    found = subprocess.run(["pgrep", "-f", "^docker system dial-stdio"], capture_output=True, text=True)
    return set(found.stdout.split())


def test_version_is_negotiated_and_requests_work(box):
    client = box.docker()
    assert client.ping()
    assert client.api._version == client.version()["ApiVersion"]
    assert box.docker() is client


def test_containers_run_and_speak(box, image):
    client = box.docker()
    command = ["/bin/sh", "-c", "echo $CANARY; exec /bin/sh -c 'read x < /dev/zero'"]
    container = client.containers.run(image, command, environment={"CANARY": "canary-9"}, detach=True)
    try:
        assert next(container.logs(stream=True, follow=True)) == b"canary-9\n"
        code, output = container.exec_run(["/bin/sh", "-c", "echo inside"])
        assert (code, output) == (0, b"inside\n")
        assert box.run("echo the channel is shared").stdout
    finally:
        container.remove(force=True)


def test_nothing_is_left_after_close(sshd):
    before = dials()
    host = SSHHost(sshd.entry(), known_hosts=sshd.known_hosts)
    host.docker().ping()
    ours = dials() - before
    assert ours
    host.close()
    while ours & dials():
        time.sleep(0.02)


def test_after_a_lost_connection_it_is_dialled_again(box, sshd):
    box.docker().ping()
    sshd.cut()
    while box._route.hops[-1].transport.is_active():
        time.sleep(0.01)
    assert box.docker().ping()


def test_here():
    host = LocalHost()
    assert host.docker().ping()
    host.close()


def test_here_through_processes():
    """As sudo makes them; its absence changes only the command line."""
    host = LocalHost()
    client = engine.over_process(["sh", "-c", "IFS= read -r go; " + engine.DIAL], b"skipped\n", host)
    assert client.ping() and client.version()["ApiVersion"]
    client.close()


@pytest.mark.parametrize(
    "value", ["unix:///nonexistent.sock", "ssh://root@elsewhere", "nonsense://x", "tcp://127.0.0.1:1"]
)
def test_docker_host_is_honoured(value, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", value)
    with pytest.raises(RefusedError) as caught:
        LocalHost().docker()
    assert caught.value.remedy


class Saying(LocalHost):
    """A host whose docker command says something."""

    def __init__(self, exited: int, text: str) -> None:
        super().__init__()
        self._said = Result(exited, text)

    def run(self, script, **options):
        return self._said


@pytest.mark.parametrize(
    ("exited", "text", "what", "remedy"),
    [
        (127, "", "not installed", "install"),
        (1, "Got permission denied while trying to connect to the Docker daemon socket", "may not be used", "docker"),
        (1, "Cannot connect to the Docker daemon. Is the docker daemon running?", "does not answer", "start docker"),
        (0, "18.06.1", "not to us", "upgrade"),
    ],
)
def test_why_there_is_no_engine(exited, text, what, remedy):
    with pytest.raises(RefusedError) as caught:
        engine.over_process(["sh", "-c", "exit 1"], b"", Saying(exited, text))
    assert what in caught.value.what and remedy in caught.value.remedy
    assert caught.value.host == "local"


def test_a_host_without_docker(sshd, tmp_path, monkeypatch):
    """The same over SSH: the dialling fails at once and the reason is asked for."""
    monkeypatch.setattr(engine, "DIAL", "exec /nonexistent/docker system dial-stdio")
    monkeypatch.setattr(engine, "_ASK", "PATH=/nonexistent\n" + engine._ASK)
    host = SSHHost(sshd.entry(), known_hosts=sshd.known_hosts)
    with pytest.raises(RefusedError, match="not installed"):
        host.docker()
    host.close()

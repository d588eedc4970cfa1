"""Images on a real Docker Engine over SSH, as a user who reaches it by sudo only: found, loaded, removed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.errors import DeployError, RefusedError
from orchestrator.hosts.base import Host
from orchestrator.hosts.connect import open_host
from orchestrator.hosts.secret import Secret
from orchestrator.progress import Quiet
from orchestrator.resources.image import Image
from orchestrator.resources.observe import observe
from orchestrator.spec import Inventory
from tests.hosts.support import Controller
from tests.lab.images import OPW_PASSWORD
from tests.lab.machines import Machine
from tests.lab.shell import docker

pytestmark = pytest.mark.hosts
TAG = "example.test/tiny:1.0"
SIZE = 3 << 20


class Watched(Quiet):
    """Progress that remembers how far each task said it is."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int | None]] = []
        self.total: int | None = None

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Watched]:
        self.total = total
        yield self

    def update(self, done: int, total: int | None = None) -> None:
        self.steps.append((done, total))

    def message(self, text: str) -> None:
        return


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`docker save` of an image that holds one file."""
    folder = tmp_path_factory.mktemp("image")
    with tarfile.open(folder / "root.tar", "w") as root:
        entry = tarfile.TarInfo("data")
        entry.size = SIZE
        root.addfile(entry, io.BytesIO(bytes(range(256)) * (SIZE // 256)))
    docker("import", folder / "root.tar", TAG)
    try:
        docker("save", "-o", folder / "image.tar", TAG)
    finally:
        docker("rmi", TAG)
    yield folder / "image.tar"


@pytest.fixture(scope="module")
def connect(second_machine: Machine, deployctl: Controller):
    """`connect(user, password) -> Host`: connections that are closed at the end."""
    machine = second_machine
    logins = {
        user: {"address": "127.0.0.1", "port": machine.ssh_port, "user": user, "key": str(machine.key)}
        for user in ("op", "opw", "plain")
    }
    deployctl.knows([machine], more=logins)
    inventory, opened = Inventory.load(deployctl.inventory), []

    def login(user: str, password: str = "") -> Host:
        (entry,) = inventory.resolve([user])
        secret = Secret(password) if password else None
        opened.append(open_host(entry, sudo_password=secret, known_hosts=deployctl.known_hosts))
        return opened[-1]

    yield login
    for host in opened:
        host.close()


@pytest.fixture
def op(connect, second_machine: Machine) -> Iterator[Host]:
    """The user with sudo, who is not in Docker's group; no image is left behind."""
    yield connect("op")
    second_machine.exec(f"docker rmi {TAG} 2>/dev/null || true")


def seen(host: Host, image: Image):
    return observe(host, [image])[image.address]


def test_an_archive_is_loaded_and_removed_again(op: Host, archive: Path):
    image, progress = Image(reference=TAG, archive=str(archive)), Watched()
    before = seen(op, image)
    assert not before.exists
    image.apply(op, before, progress)
    assert seen(op, image).exists and not image.compare(seen(op, image))
    amounts = [done for done, _ in progress.steps]
    assert amounts == sorted(amounts) and len(amounts) > 3, "it moves"
    assert amounts[-1] == progress.total == archive.stat().st_size
    image.remove(op, Quiet())
    assert not seen(op, image).exists
    image.remove(op, Quiet())  # gone already


def test_an_image_that_is_there_is_not_sent_again(op: Host, archive: Path):
    image = Image(reference=TAG, archive=str(archive))
    image.apply(op, seen(op, image), Quiet())
    again = Watched()
    image.apply(op, seen(op, image), again)
    assert again.steps == []


def test_an_image_in_use_stays(op: Host, archive: Path, second_machine: Machine):
    image = Image(reference=TAG, archive=str(archive))
    image.apply(op, seen(op, image), Quiet())
    second_machine.exec(f"docker create --name user-of-it {TAG} /data")
    try:
        image.remove(op, Quiet())
        assert seen(op, image).exists
    finally:
        second_machine.exec("docker rm user-of-it")


def test_an_archive_of_another_image_is_told(op: Host, archive: Path):
    other = Image(reference="example.test/other:2.0", archive=str(archive))
    with pytest.raises(DeployError) as caught:
        other.apply(op, seen(op, other), Quiet())
    assert caught.value.host == "op" and caught.value.remedy
    assert caught.value.what == f"{archive} does not hold the image example.test/other:2.0"


@pytest.mark.parametrize("damage", ["cut", "no tar"])
def test_a_damaged_archive_is_told(op: Host, archive: Path, tmp_path: Path, damage: str):
    path = tmp_path / "damaged.tar"
    path.write_bytes(archive.read_bytes()[: SIZE // 2] if damage == "cut" else b"not a tar\n" * 1000)
    image = Image(reference=TAG, archive=str(path))
    with pytest.raises(DeployError) as caught:
        image.apply(op, seen(op, image), Quiet())
    assert caught.value.host == "op" and str(path) in caught.value.what + caught.value.why
    assert not seen(op, image).exists


def test_an_archive_that_is_missing_is_told(op: Host, tmp_path: Path):
    image = Image(reference=TAG, archive=str(tmp_path / "none.tar"))
    with pytest.raises(DeployError) as caught:
        image.apply(op, seen(op, image), Quiet())
    assert "none.tar" in caught.value.what + caught.value.why


def test_sudo_with_a_password_reaches_docker(connect):
    assert connect("opw", OPW_PASSWORD).docker().ping()


def test_a_user_without_sudo_is_told_what_to_do(connect):
    with pytest.raises(RefusedError) as caught:
        connect("plain").docker()
    assert "docker" in caught.value.what.lower() and "usermod" in caught.value.remedy

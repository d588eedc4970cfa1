"""Images, on this machine's own Docker Engine: pulled from a registry, loaded from an archive, and taken away."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.errors import DeployError
from orchestrator.hosts.local import LocalHost
from orchestrator.resources.image import Image
from orchestrator.resources.observe import observe
from tests.doubles.registry import Registry

pytestmark = pytest.mark.hosts

LAYER = 8 << 20  # bytes


class Heard:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.amounts: list[tuple[int, int | None]] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Heard]:
        yield self

    def update(self, done: int, total: int | None = None) -> None:
        self.amounts.append((done, total))

    def message(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry("lab/image", "v1", LAYER) as serving:
        yield serving
        subprocess.run(["docker", "rmi", "--force", serving.reference], capture_output=True, check=False)


def there(image: Image) -> bool:
    return observe(LocalHost(), [image])[image.address].exists


def test_is_pulled_with_progress_then_left_alone_then_removed(registry: Registry) -> None:
    host, heard = LocalHost(), Heard()
    image = Image(reference=registry.reference)
    observed = observe(host, [image])[image.address]
    assert not observed.exists
    image.apply(host, observed, heard)
    assert there(image)
    assert any("Pull complete" in note or "Download complete" in note for note in heard.notes)
    assert image.compare(observe(host, [image])[image.address]) == ()
    image.remove(host, heard)
    assert not there(image)
    image.remove(host, heard)  # twice is fine
    host.close()


def test_an_image_that_no_registry_has_is_refused_in_its_words(registry: Registry) -> None:
    host = LocalHost()
    image = Image(reference=registry.reference.replace(":v1", ":v2"))
    with pytest.raises(DeployError) as caught:
        image.apply(host, observe(host, [image])[image.address], Heard())
    assert "manifest unknown" in caught.value.why
    assert "--image-archive" in caught.value.remedy
    host.close()


def test_is_loaded_from_an_archive_that_must_hold_it(registry: Registry, tmp_path: Path) -> None:
    host, heard = LocalHost(), Heard()
    pulled = Image(reference=registry.reference)
    pulled.apply(host, observe(host, [pulled])[pulled.address], heard)
    archive = tmp_path / "image.tar"
    subprocess.run(["docker", "save", "--output", archive, registry.reference], check=True)
    pulled.remove(host, heard)

    heard = Heard()
    loaded = Image(reference=registry.reference, archive=str(archive))
    loaded.apply(host, observe(host, [loaded])[loaded.address], heard)
    assert there(loaded)
    assert heard.amounts[-1][0] == archive.stat().st_size

    other = Image(reference="lab/image:other", archive=str(archive))
    with pytest.raises(DeployError, match="does not hold the image"):
        other.apply(host, observe(host, [other])[other.address], heard)
    host.close()


def test_stays_while_another_container_uses_it(registry: Registry) -> None:
    host, heard = LocalHost(), Heard()
    image = Image(reference=registry.reference)
    image.apply(host, observe(host, [image])[image.address], heard)
    made = subprocess.run(
        ["docker", "create", registry.reference, "/hello"], capture_output=True, text=True, check=True
    )
    image.remove(host, heard)
    assert there(image)
    assert any("another container uses it" in note for note in heard.notes)
    subprocess.run(["docker", "rm", made.stdout.strip()], capture_output=True, check=True)
    image.remove(host, heard)
    assert not there(image)
    host.close()

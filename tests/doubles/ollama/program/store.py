"""The models on disk: ``blobs/sha256-<hex>`` and ``manifests/<host>/<namespace>/<model>/<tag>``."""

import hashlib
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import names
from .settings import Failure
from .wire import go_json, go_load

PRUNE_GRACE = 3600.0  # seconds; younger blobs survive a start
_MEDIA = "application/vnd.ollama.image."


class NotFound(Exception):
    """No manifest under this name."""


class BrokenManifest(Exception):
    """The manifest is there and cannot be read."""


class DigestMismatch(Exception):
    """An upload's content has another digest than its address says."""


@dataclass(frozen=True)
class Layer:
    """One blob of a model; `kind` is the end of its media type, such as ``model`` or ``params``."""

    kind: str
    digest: str
    size: int

    def as_json(self) -> dict[str, object]:
        """The layer as the manifest writes it."""
        return {"mediaType": _MEDIA + self.kind, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Model:
    """A stored model: its manifest, read."""

    name: names.Name
    digest: str  # hex of the manifest's sha256, without a prefix
    config_digest: str
    config_size: int
    layers: tuple[Layer, ...]
    modified: datetime

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return self.config_size + sum(layer.size for layer in self.layers)

    @property
    def digests(self) -> set[str]:
        """Every blob that the model needs."""
        return {self.config_digest, *(layer.digest for layer in self.layers)}

    def layer(self, kind: str) -> Layer | None:
        """The layer of a kind, if the model has one."""
        return next((layer for layer in self.layers if layer.kind == kind), None)


class Store:
    """The folder ``OLLAMA_MODELS``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.manifests = root / "manifests"

    def prepare(self) -> None:
        """Create the folders; Failure when that is impossible."""
        for folder in (self.blobs, self.manifests):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = (error.strerror or "").lower()
                raise Failure(f"mkdir {self.root}: {reason}: ensure path elements are traversable") from None

    def blob(self, digest: str) -> Path:
        """Where the blob ``sha256:<hex>`` lies."""
        return self.blobs / digest.replace(":", "-")

    def save_blob(self, chunks: Iterable[bytes], expected: str) -> None:
        """Keep an upload under its real digest; DigestMismatch when that is not `expected`."""
        sha256 = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=self.blobs, prefix="sha256-", delete=False) as file:
            temporary = Path(file.name)
            try:
                for chunk in chunks:
                    sha256.update(chunk)
                    file.write(chunk)
            except OSError:
                temporary.unlink()
                raise
        real = "sha256:" + sha256.hexdigest()
        temporary.chmod(0o644)
        temporary.rename(self.blob(real))
        if real != expected:
            raise DigestMismatch(f'digest mismatch, expected "{expected}", got "{real}"')

    def add_layer(self, kind: str, content: bytes) -> tuple[Layer, bool]:
        """The layer for `content`, and whether its blob was there already."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        existed = self.blob(digest).exists()
        if not existed:
            self.save_blob([content], digest)
        return Layer(kind, digest, len(content)), existed

    def text(self, layer: Layer | None) -> str:
        """The text of a layer; empty when there is none."""
        return self.blob(layer.digest).read_text(encoding="utf-8") if layer else ""

    def parameters(self, layer: Layer | None) -> dict[str, object]:
        """The PARAMETERs that a ``params`` layer holds."""
        parsed: dict[str, object] = go_load(self.text(layer).encode()) if layer else {}
        return parsed

    def write_manifest(self, name: names.Name, config: Layer, layers: Iterable[Layer]) -> None:
        """Put the model under `name`, replacing what was there."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {**config.as_json(), "mediaType": "application/vnd.docker.container.image.v1+json"},
            "layers": [layer.as_json() for layer in layers],
        }
        path = self.manifests / name.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(go_json(manifest) + "\n", encoding="utf-8")

    def find(self, text: str) -> Model:
        """The model called `text`, whatever its case; NotFound or BrokenManifest."""
        name = names.parse(text)
        path = self.manifests / name.path if name else None
        if path is not None and not path.is_file():
            path = next((p for p in self._files() if str(p.relative_to(self.manifests)).lower() == _lower(name)), None)
        if path is None:
            raise NotFound(text)
        return self._read(path)

    def models(self) -> list[Model]:
        """Every readable model, newest first."""
        found = []
        for path in self._files():
            try:
                found.append(self._read(path))
            except BrokenManifest:
                continue
        return sorted(found, key=lambda model: model.modified, reverse=True)

    def delete(self, model: Model) -> None:
        """Remove a model and the blobs that nothing else needs."""
        path = self.manifests / model.name.path
        path.unlink()
        for folder in list(path.parents)[:3]:
            if any(folder.iterdir()):
                break
            folder.rmdir()
        needed = {digest for other in self.models() for digest in other.digests}
        for digest in model.digests - needed:
            self.blob(digest).unlink(missing_ok=True)

    def copy(self, model: Model, name: names.Name) -> None:
        """A second name for the same blobs."""
        path = self.manifests / name.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((self.manifests / model.name.path).read_bytes())

    def prune(self) -> int:
        """Remove unused blobs older than the grace; returns how many."""
        needed = {self.blob(digest) for model in self.models() for digest in model.digests}
        oldest = time.time() - PRUNE_GRACE
        unused = [path for path in self.blobs.iterdir() if path not in needed and path.stat().st_mtime < oldest]
        for path in unused:
            path.unlink()
        return len(unused)

    def _files(self) -> Iterator[Path]:
        return (path for path in self.manifests.glob("*/*/*/*") if path.is_file())

    def _read(self, path: Path) -> Model:
        content = path.read_bytes()
        try:
            manifest = go_load(content)
            layers = tuple(
                Layer(item["mediaType"].removeprefix(_MEDIA), item["digest"], item["size"])
                for item in manifest["layers"]
            )
            config = manifest["config"]
            return Model(
                name=names.Name(*path.relative_to(self.manifests).parts),
                digest=hashlib.sha256(content).hexdigest(),
                config_digest=config["digest"],
                config_size=config["size"],
                layers=layers,
                modified=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BrokenManifest("unexpected EOF") from error


def _lower(name: names.Name | None) -> str:
    return str(name.path).lower() if name else ""

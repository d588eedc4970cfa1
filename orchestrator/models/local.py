"""Models that lie on the controller: found whole, checked, and hashed so that what arrives can be verified."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.errors import UsageError
from orchestrator.models import gguf, select
from orchestrator.models.resolved import ModelFile, ResolvedFiles, ResolvedModel, is_inside
from orchestrator.progress import Progress, Quiet, Task

_CHUNK = 4 << 20  # bytes


@dataclass(frozen=True)
class Found:
    """A model in a folder: all its files by name, the one that a runtime is pointed at among them, the label if any."""

    format: Literal["gguf", "safetensors"]
    folder: Path
    names: tuple[str, ...]
    main: str
    label: str = ""

    @property
    def weights(self) -> tuple[str, ...]:
        """The files that hold weights."""
        return self.names if self.format == "gguf" else tuple(n for n in self.names if n.endswith(".safetensors"))


def find(path: Path) -> Found:
    """The model at ``path``: a GGUF (any shard of a split one), or a folder of safetensors or of one GGUF.

    Only names are looked at. Raises UsageError when there is no model, or shards are missing.
    """
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _gguf(path)
    raise UsageError(
        f"There is no file or folder {path}", remedy="Check the spelling; for the Hub, write hf:OWNER/REPO."
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the file system says into what the user can do about it."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"The model {path} cannot be read", why=str(error), remedy="See its permissions.") from error


def resolve_local(path: Path, progress: Progress | None = None) -> ResolvedModel:
    """The model at ``path``, as ``find`` has it.

    Every file is read once, for its sha256. Raises UsageError when there is no model, or none that is whole.
    """
    with readable(path):
        found = find(path)
        label = found.label
        if found.format == "gguf":
            headers = [gguf.read_file(found.folder / name) for name in found.names]
            label = label or headers[0].file_type
        files = _hashed(found.folder, found.names, progress or Quiet())
    return ResolvedModel(files=files, format=found.format, main_file=found.main, quant=label)


def resolve_local_base(path: Path, progress: Progress | None = None) -> ResolvedFiles:
    """Tokenizer and configuration in a folder on the controller, for a GGUF (DESIGN 5.3). Weights are passed over.

    Raises UsageError when it is no folder, or holds no config.json.
    """
    progress = progress or Quiet()
    try:
        names = select.beside_gguf(_names(path)) if path.is_dir() else ()
        if "config.json" in names:
            return ResolvedFiles(files=_hashed(path, names, progress))
    except OSError as error:
        raise UsageError(f"The base {path} cannot be read", why=str(error), remedy="See its permissions.") from error
    raise UsageError(f"{path} is no folder with a config.json", remedy="Name the folder of the original model.")


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_file() and is_inside(entry.name)))


def _folder(folder: Path) -> Found:
    names = _names(folder)
    if any(name.endswith(".safetensors") for name in names):
        return _safetensors(folder, select.whole(folder.name, names))
    sets = select.gguf_sets(names)
    if len(sets) == 1:
        return _gguf(folder / sets[0].main)
    if sets:
        files = ", ".join(str(folder / one.main) for one in sets)
        raise UsageError(f"{folder} holds {len(sets)} GGUF models", remedy=f"Name one: {files}.")
    raise UsageError(
        f"{folder} holds neither safetensors nor GGUF files", remedy="Name the folder of the model itself."
    )


def _safetensors(folder: Path, names: tuple[str, ...]) -> Found:
    if "config.json" not in names:
        raise UsageError(f"{folder} holds no config.json", remedy="Copy it from the model's repository.")
    return Found("safetensors", folder, names, next(name for name in names if name.endswith(".safetensors")))


def _gguf(path: Path) -> Found:
    """Whatever the file is called."""
    sets = [one for one in select.gguf_sets(_names(path.parent)) if path.name in one.paths]
    names = select.complete(sets[0]).paths if sets else (path.name,)
    return Found("gguf", path.parent, names, names[0], sets[0].label if sets else "")


def _hashed(folder: Path, names: Sequence[str], progress: Progress) -> tuple[ModelFile, ...]:
    total = sum((folder / name).stat().st_size for name in names)
    label = names[0] if len(names) == 1 else folder.name
    with progress.task(f"reading {label}", total=total, unit="bytes") as task:
        files: list[ModelFile] = []
        for name in names:
            done = sum(file.size for file in files)
            files.append(_hash_one((folder / name).resolve(), name, done, task))
        return tuple(files)


def _hash_one(path: Path, name: str, done: int, task: Task) -> ModelFile:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            task.update(done + size)
    return ModelFile(path=name, local=str(path), size=size, sha256=digest.hexdigest())

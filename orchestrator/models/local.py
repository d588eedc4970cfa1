"""Models that lie on the controller: found whole, checked, and hashed so that what arrives can be verified."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.models import gguf, select
from orchestrator.models.resolved import ModelFile, ResolvedFiles, ResolvedModel, is_inside
from orchestrator.progress import Progress, Quiet, Task

_CHUNK = 4 << 20  # bytes


def resolve_local(path: Path, progress: Progress | None = None) -> ResolvedModel:
    """The model at ``path``: a GGUF (any shard of a split one), or a folder of safetensors or of one GGUF.

    Every file is read once, for its sha256. Raises UsageError when there is no model, or none that is whole.
    """
    progress = progress or Quiet()
    try:
        if path.is_dir():
            return _folder(path, progress)
        if path.is_file():
            return _gguf(path, progress)
    except OSError as error:
        raise UsageError(f"The model {path} cannot be read", why=str(error), remedy="See its permissions.") from error
    raise UsageError(
        f"There is no file or folder {path}", remedy="Check the spelling; for the Hub, write hf:OWNER/REPO."
    )


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


def _folder(folder: Path, progress: Progress) -> ResolvedModel:
    names = _names(folder)
    if any(name.endswith(".safetensors") for name in names):
        return _safetensors(folder, select.whole(folder.name, names), progress)
    sets = select.gguf_sets(names)
    if len(sets) == 1:
        return _gguf(folder / sets[0].main, progress)
    if sets:
        files = ", ".join(str(folder / one.main) for one in sets)
        raise UsageError(f"{folder} holds {len(sets)} GGUF models", remedy=f"Name one: {files}.")
    raise UsageError(
        f"{folder} holds neither safetensors nor GGUF files", remedy="Name the folder of the model itself."
    )


def _safetensors(folder: Path, names: Sequence[str], progress: Progress) -> ResolvedModel:
    if "config.json" not in names:
        raise UsageError(f"{folder} holds no config.json", remedy="Copy it from the model's repository.")
    files = _hashed(folder, names, progress)
    main = next(name for name in names if name.endswith(".safetensors"))
    return ResolvedModel(files=files, format="safetensors", main_file=main)


def _gguf(path: Path, progress: Progress) -> ResolvedModel:
    header = gguf.read_file(path)  # whatever it is called
    sets = [one for one in select.gguf_sets(_names(path.parent)) if path.name in one.paths]
    names = select.complete(sets[0]).paths if sets else (path.name,)
    for name in names[1:]:
        gguf.read_file(path.parent / name)
    label = (sets[0].label if sets else "") or header.file_type
    return ResolvedModel(files=_hashed(path.parent, names, progress), format="gguf", main_file=names[0], quant=label)


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

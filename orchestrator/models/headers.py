"""What the headers of a model's files say of it, read without the weights: from the Hub, or from this machine."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from orchestrator.errors import UsageError
from orchestrator.models import gguf, local, safetensors
from orchestrator.models.gguf import GgufHeader, Value
from orchestrator.models.hub import HubClient
from orchestrator.models.ranges import Head
from orchestrator.models.resolved import ModelFile, ResolvedModel
from orchestrator.models.tensor import Tensor
from orchestrator.progress import Progress, Quiet, Task

_AT_ONCE = 8  # requests
_LARGE = 1 << 20  # bytes that are asked for first of a header with a vocabulary,
_SMALL = 64 << 10  # and of one without: it takes some ten thousand
_LARGEST_JSON = 4 << 20  # bytes

T = TypeVar("T")


@dataclass(frozen=True)
class Headers:
    """``size`` is what the weight files take, ``read_bytes`` what was moved over the network; both in bytes.

    ``metadata`` is a GGUF's (that of the first part, where it is split), ``config`` the config.json beside
    safetensors. ``tensors`` are those of every part.
    """

    format: Literal["gguf", "safetensors"]
    quant: str
    size: int
    read_bytes: int
    tensors: tuple[Tensor, ...]
    metadata: Mapping[str, Value] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)

    @property
    def tensor_bytes(self) -> int:
        """Bytes of the weights alone."""
        return sum(tensor.size for tensor in self.tensors)


def read_hub(client: HubClient, model: ResolvedModel, progress: Progress | None = None) -> Headers:
    """The headers of a model on the Hub: some MB of a GGUF, some ten kB of each file of safetensors.

    Raises as ``HubClient.resolve`` does, UsageError for files that are damaged, and DeployError where parts of files
    are not given out.
    """
    weights = [file for file in model.files if file.path.endswith((".gguf", ".safetensors"))]
    label = f"reading the header of {Path(model.main_file).name}"
    with (progress or Quiet()).task(label, unit="bytes") as task:
        reader = _HubReader(client, model, task)
        if model.format == "gguf":
            headers = reader.each(reader.gguf, weights)
            return _of_gguf(headers, model.quant, model.size, reader.moved)
        tensors = reader.each(reader.safetensors, weights)
        config = client.fetch_json(model.repo, model.commit, "config.json")
    return _of_safetensors(tensors, config, f"hf:{model.repo}", sum(file.size for file in weights), reader.moved)


def read_local(path: Path) -> Headers:
    """The headers of a model on this machine. Raises UsageError when there is no model, or none that is whole."""
    with local.readable(path):
        found = local.find(path)
        paths = [found.folder / name for name in found.weights]
        size = sum(path.stat().st_size for path in paths)
        if found.format == "gguf":
            return _of_gguf([gguf.read_file(path) for path in paths], found.label, size, 0)
        tensors = [safetensors.read_file(path) for path in paths]
        return _of_safetensors(tensors, _json(found.folder / "config.json"), str(found.folder), size, 0)


def _json(path: Path) -> dict[str, object] | None:
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST_JSON else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else None


class _HubReader:
    """Reads the files of one model, several at once, and counts what is moved."""

    def __init__(self, client: HubClient, model: ResolvedModel, task: Task) -> None:
        self._client = client
        self._model = model
        self._task = task
        self.moved = 0

    def each(self, read: Callable[[ModelFile], T], files: Sequence[ModelFile]) -> list[T]:
        """In their order. The first failure is the one that is raised."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="header") as pool:
            futures = [pool.submit(read, file) for file in files]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()

    def gguf(self, file: ModelFile) -> GgufHeader:
        has_vocabulary = file.path == self._model.main_file
        source = Head(file.size, self._fetch(file), first=_LARGE if has_vocabulary else _SMALL)
        return gguf.read_header(source, file.size, file.path)

    def safetensors(self, file: ModelFile) -> tuple[Tensor, ...]:
        source = Head(file.size, self._fetch(file), first=_SMALL)
        return safetensors.read_header(source, file.size, file.path)

    def _fetch(self, file: ModelFile) -> Callable[[int, int], bytes]:
        def fetch(start: int, stop: int) -> bytes:
            found = self._client.read_range(self._model.repo, file, start, stop)
            self.moved += len(found)
            self._task.update(self.moved)
            return found

        return fetch


def _of_gguf(parts: Sequence[GgufHeader], quant: str, size: int, moved: int) -> Headers:
    tensors = tuple(tensor for part in parts for tensor in part.tensors)
    first = parts[0]
    return Headers("gguf", quant or first.file_type, size, moved, tensors, metadata=first.metadata)


def _of_safetensors(
    parts: Sequence[tuple[Tensor, ...]], config: Mapping[str, object] | None, where: str, size: int, moved: int
) -> Headers:
    if config is None:
        raise UsageError(
            f"{where} has no config.json that can be read", remedy="Name the repository or folder of the model itself."
        )
    tensors = tuple(tensor for part in parts for tensor in part)
    return Headers("safetensors", "", size, moved, tensors, config=config)

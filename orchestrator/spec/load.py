"""From a file and the command line to a Spec."""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from orchestrator.spec.document import Document, read_document
from orchestrator.spec.models import RUNTIMES, Spec
from orchestrator.spec.problems import Origins, Path, validated

DEFAULT_FILE = "deployctl.yaml"


def load_spec(
    path: FilePath | None,
    overrides: Mapping[str, object] | None = None,
    *,
    option_names: Mapping[str, str] | None = None,
) -> Spec:
    """The spec of a file (None: the worked example's defaults) with overrides on top.

    ``overrides`` are dotted keys (``"vllm.gpu_mem"``); later ones win, and a mapping is merged into what is there.
    ``option_names`` says how to name each in a message (``{"vllm.gpu_mem": "--gpu-mem"}``). Raises UsageError that
    lists every problem.
    """
    document = read_document(path) if path is not None else Document("")
    for runtime in RUNTIMES:
        if runtime in document.data and document.data[runtime] is None:
            document.data[runtime] = {}  # `vllm:` alone asks for vLLM with all defaults
    options: dict[Path, str] = {}
    for key, value in (overrides or {}).items():
        name = (option_names or {}).get(key, key)
        options.update((changed, name) for changed in put(document.data, key, value))
    return validated(Spec, document.data, Origins(document.file, document.lines, options))


def flat(values: Mapping[str, object], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """The leaves of nested mappings, with the keys that lead there; an empty mapping is a leaf."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, (*above, key))
        else:
            yield (*above, key), value


def put(data: dict[str, Any], key: str, value: object) -> list[tuple[str, ...]]:
    """Set a dotted key, merging mappings into what is there, and return the paths that were set.

    A scalar where a mapping belongs is left, so that it is reported and not hidden.
    """
    leaves = [(tuple(".".join(path).split(".")), leaf) for path, leaf in flat({key: value})]
    for path, leaf in leaves:
        parent = _descend(data, path[:-1])
        if isinstance(leaf, Mapping):
            _descend(data, path)
        elif parent is not None:
            parent[path[-1]] = leaf
    return [path for path, _ in leaves]


def _descend(data: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any] | None:
    for key in keys:
        if data.get(key) is None:
            data[key] = {}
        if not isinstance(data[key], dict):
            return None
        data = data[key]
    return data

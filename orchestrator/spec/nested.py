"""Dotted keys and nested mappings, which say the same."""

from collections.abc import Iterator, Mapping
from typing import Any


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

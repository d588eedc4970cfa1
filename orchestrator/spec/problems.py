"""What is wrong with a file, said so that it can be mended: where, which key, what was got, what was expected."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import UsageError
from orchestrator.spec.secrets import secret_name, secret_value

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document."""

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "valid Unicode text",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "contradiction": "{expected}",
    "inside": "{expected}",
    "value_error": "{error}",
}


@dataclass(frozen=True)
class Origins:
    """Where values came from: lines of a file, or names of options (which then stand for file and key)."""

    file: str = ""
    lines: Mapping[Path, int] = field(default_factory=dict)
    options: Mapping[Path, str] = field(default_factory=dict)

    def label(self, path: Path) -> str:
        """The beginning of a message about the value at ``path``."""
        for known in (path[:end] for end in range(len(path), 0, -1)):
            if known in self.options:
                return self.options[known]
            if known in self.lines:
                return f"{self.file}:{self.lines[known]}: {dotted(path)}"
        return f"{self.file}: {dotted(path)}" if self.file and not path else dotted(path)

    def place(self, path: Path) -> str:
        """``FILE:LINE`` of a value that is in the file."""
        return f"{self.file}:{self.lines[path]}"


def refuse(problems: Iterable[str]) -> NoReturn:
    """Raise the UsageError that lists them, one a line."""
    raise UsageError(
        "\n".join(problems), remedy="docs/reference/spec.md explains every key; `deployctl schema` is for editors"
    )


def validated(model: type[M], data: Mapping[str, Any], origins: Origins) -> M:
    """The data as the model. Raises UsageError with every problem."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = _said(model, error, origins)
    refuse(problems)


def problems_of(model: type[BaseModel], part: Mapping[str, Any], origins: Origins) -> list[str]:
    """What is wrong with a part of the data, whatever the rest will be: what contradicts only the defaults is not."""
    try:
        model.model_validate(part)
    except ValidationError as error:
        return _said(model, error, origins, ignored=frozenset({"contradiction"}))
    return []


def got(path: Path, value: object) -> str:
    """A value as a message shows it: short, printable, and hidden when it may be a secret."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if any(isinstance(part, str) and secret_name(part) for part in path[-2:]) or secret_value(value):
        return "a hidden value"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**24:
        return "a huge number"
    return printable(str(value)) if isinstance(value, int | float) else repr(printable(str(value)))


def printable(text: str, most: int = 60) -> str:
    """Text without control characters, cut to ``most`` characters."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 3] + "..."


def dotted(path: Path) -> str:
    """``vllm.gpus.0``"""
    return ".".join(printable(str(part)) for part in path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest known word; empty when none is near."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def _said(
    model: type[BaseModel], error: ValidationError, origins: Origins, ignored: frozenset[str] = frozenset()
) -> list[str]:
    # A default that depends on a wrong value is no problem of its own.
    ignored |= {"default_factory_not_called"}
    details = error.errors(include_url=False)
    return [_say(model, detail, origins) for detail in details if detail["type"] not in ignored]


def _say(model: type[BaseModel], detail: ErrorDetails, origins: Origins) -> str:
    path, kind, context = tuple(detail["loc"]), detail["type"], detail.get("ctx", {})
    value = detail["input"]
    if kind in {"contradiction", "inside"}:
        path, value = (*path, *context["path"]), context["got"]
    if kind == "extra_forbidden":
        return f"{origins.label(path)}: unknown key{_hint(model, path)}"
    template = _EXPECTED.get(kind)
    expected = template.format(**context) if template else detail["msg"]
    if kind == "string_type" and isinstance(value, int | float):
        expected += " (put it in quotes)"
    return f"{origins.label(path)}: got {got(path, value)}, expected {expected}"


def _hint(model: type[BaseModel], path: Path) -> str:
    """`` (did you mean ...?)`` for a key that its section, or else another section, nearly has."""
    name = str(path[-1])
    near = did_you_mean(name, _section(model, path[:-1]).model_fields)
    if not near:
        near = next(
            (dotted((top, name)) for top in model.model_fields if name in _section(model, (top,)).model_fields), ""
        )
    return f", did you mean {near}?" if near else ""


def _section(model: type[BaseModel], path: Path) -> type[BaseModel]:
    """The model that holds the keys under ``path``; for a path through a plain mapping, the last model on the way."""
    for part in path:
        known = model.model_fields.get(str(part))
        if known is None:
            break
        model = next((kind for kind in _kinds(known.annotation) if issubclass(kind, BaseModel)), model)
    return model


def _kinds(annotation: object) -> Iterable[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from _kinds(argument)

"""The table of every spec key, generated from the models, so that it cannot lag behind them."""

import json
from collections.abc import Iterator
from typing import Any

from orchestrator.spec.schema import inventory_schema, json_schema

Schema = dict[str, Any]

_HEAD = "| key | type | default | meaning |\n|---|---|---|---|"
_NAMES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def reference() -> str:
    """Markdown: every key of the spec with its type, default and meaning."""
    return "\n".join([_HEAD, *_rows(json_schema())]) + "\n"


def inventory_reference() -> str:
    """Markdown: every key of an inventory; NAME stands for a name of yours."""
    return "\n".join([_HEAD, *_rows(inventory_schema())]) + "\n"


def _rows(root: Schema) -> Iterator[str]:
    yield from _section_rows(root, root, "", {})


def _section_rows(root: Schema, section: Schema, above: str, known: dict[str, str]) -> Iterator[str]:
    """The keys of a section and of the sections in it; one that was ``known`` before is only referred to."""
    for key, schema in section["properties"].items():
        name = above + key
        definition, by_name = _section(schema)
        if definition:
            kind = "sections by name" if by_name else "section"
            kind += f" like `{known[definition]}`" if definition in known else ""
        else:
            kind = _kind(schema)
        default = json.dumps(schema["default"], ensure_ascii=False) if "default" in schema and not definition else ""
        yield f"| `{name}` | {_cell(kind)} | {_cell(default and f'`{default}`')} | {_cell(schema['description'])} |"
        if definition and definition not in known:
            known[definition] = name
            yield from _section_rows(root, root["$defs"][definition], f"{name}.NAME." if by_name else f"{name}.", known)


def _section(schema: Schema) -> tuple[str, bool]:
    """The definition of the section behind a key (empty: none), and whether the user names such sections."""
    for choice in (schema, *schema.get("anyOf", ())):
        if "$ref" in choice:
            return choice["$ref"].rpartition("/")[2], False
        for named in choice.get("patternProperties", {}).values():
            return _section(named)[0], True
    return "", False


def _kind(schema: Schema) -> str:
    """A schema in words: ``whole number 1 to 65535``, ``one of f16, q8_0``, ``list of text``."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(choice) for choice in schema["anyOf"]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    if schema.get("type") == "object":
        return "mapping"
    return _NAMES.get(schema.get("type", ""), "any") + _range(schema)


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    words = [
        f"at least {least}" if least is not None else f"above {above}" if above is not None else "",
        f"at most {most}" if most is not None else f"below {below}" if below is not None else "",
    ]
    said = ", ".join(word for word in words if word)
    return f" ({said})" if said else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

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
    "null": "nothing",
}


def reference() -> str:
    """Markdown: every key of the spec with its type, default and meaning."""
    return "\n".join([_HEAD, *_rows(json_schema())]) + "\n"


def inventory_reference() -> str:
    """Markdown: every key of an inventory; NAME stands for a name of yours."""
    return "\n".join([_HEAD, *_rows(inventory_schema())]) + "\n"


def _rows(root: Schema, section: Schema | None = None, above: str = "") -> Iterator[str]:
    for key, schema in (section or root)["properties"].items():
        name = above + key
        inner, suffix = _section(root, schema)
        kind = "section" if inner and not suffix else "sections by name" if inner else _kind(schema)
        default = "" if inner or "default" not in schema else f"`{json.dumps(schema['default'], ensure_ascii=False)}`"
        yield f"| `{name}` | {_cell(kind)} | {_cell(default)} | {_cell(schema['description'])} |"
        if inner:
            yield from _rows(root, inner, f"{name}.{suffix}")


def _section(root: Schema, schema: Schema) -> tuple[Schema | None, str]:
    """The schema of the section behind a key, and what stands between the key and the section's own keys."""
    choices = [schema, *schema.get("anyOf", ())]
    for choice in choices:
        if "$ref" in choice:
            return root["$defs"][choice["$ref"].rpartition("/")[2]], ""
        mapped = choice.get("additionalProperties")
        if isinstance(mapped, dict) and "$ref" in mapped:
            return root["$defs"][mapped["$ref"].rpartition("/")[2]], "NAME."
    return None, ""


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

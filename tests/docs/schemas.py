"""The published schemas, as tests use them: closed, so that a field which no schema knows is found."""

from __future__ import annotations

import json
from typing import Any

from tests.docs.pages import ROOT

SCHEMAS = ROOT / "docs" / "schemas"


def path_of(name: str) -> str:
    """The file of a document's schema."""
    return f"{name.replace('/', '-')}.json"


def closed(name: str) -> dict[str, Any]:
    """The schema of a document, refusing every field that it does not describe."""
    schema = json.loads((SCHEMAS / path_of(name)).read_text("utf-8"))
    return dict(_closed(schema))


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = {key: _closed(item) for key, item in value.items()}
    return {**inner, "additionalProperties": False} if isinstance(value.get("properties"), dict) else inner

"""JSON Schema (draft 2020-12) of the files that users write, for editors."""

from typing import Any

from orchestrator.spec.inventory_file import InventoryFile
from orchestrator.spec.models import Spec

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of a spec file."""
    return {"$schema": _DRAFT, **Spec.model_json_schema(), "title": "deployctl spec"}


def inventory_schema() -> dict[str, Any]:
    """The schema of an inventory file."""
    return {"$schema": _DRAFT, **InventoryFile.model_json_schema(), "title": "deployctl inventory"}

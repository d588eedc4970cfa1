"""The published schemas hold for the examples, and for what the commands print that need no machine."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from orchestrator.cli.documents import DOCUMENTS
from tests.cli.run import deployctl
from tests.docs.pages import ROOT
from tests.docs.schemas import SCHEMAS, closed, path_of

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.json"))
COMMANDS = {
    "deployctl.version/1": ["version"],
    "deployctl.hosts/1": ["hosts", "list", "--inventory", str(ROOT / "inventories" / "example.yaml")],
    "deployctl.render/1": ["render", "vllm"],
    "deployctl.error/1": ["up", "vlm"],
}


def test_there_is_one_for_each_document_and_no_other() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {path_of(name) for name in DOCUMENTS}


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_it_is_a_schema_that_later_fields_do_not_break(name: str) -> None:
    schema = json.loads((SCHEMAS / path_of(name)).read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"] == {"const": name} and "schema" in schema["required"]
    assert '"additionalProperties": false' not in json.dumps(schema)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_holds_for_the_example(path: Path) -> None:
    example = json.loads(path.read_text("utf-8"))
    jsonschema.validate(example, closed(example["schema"]))


@pytest.mark.parametrize("name", COMMANDS)
def test_it_holds_for_what_is_printed(name: str, tmp_path: Path) -> None:
    document = deployctl(*COMMANDS[name], "--json", cwd=tmp_path, guarded=True).document
    jsonschema.validate(document, closed(name))


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_document_of_another_shape_is_refused(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": name}, closed(name))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": "deployctl.other/1"}, closed(name))

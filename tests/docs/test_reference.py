"""The reference is what the code says, and nothing that users can say or meet is missing from it."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args, get_type_hints

import click
import pytest
from typing_extensions import is_typeddict

from orchestrator.cli.documents import DOCUMENTS, Applied, Failure
from orchestrator.cli.root import group
from orchestrator.errors import ExitStatus
from orchestrator.planning.saved import SavedPlan
from orchestrator.spec.schema import inventory_schema, json_schema
from tests.docs.pages import ROOT

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


@pytest.fixture(scope="module")
def generate():
    described = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "60", "HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, str(folder / "docs" / "generate.py"), "--check"]
    return subprocess.run(words, cwd="/", env=environment, capture_output=True, text=True, check=False)


def test_the_reference_is_fresh_wherever_it_is_made() -> None:
    ran = check(ROOT)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_stale_page_is_told(tmp_path: Path) -> None:
    for name in ("orchestrator", "templates", "inventories", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").mkdir()
    for name in ("documents.toml", "examples", "operating.md", "troubleshooting.md"):
        (tmp_path / "docs" / name).symlink_to(DOCS / name)
    (tmp_path / "docs" / "generate.py").write_text((DOCS / "generate.py").read_text("utf-8"))
    for folder in ("reference", "schemas"):
        shutil.copytree(DOCS / folder, tmp_path / "docs" / folder)
    stale = tmp_path / "docs" / "reference" / "commands.md"
    stale.write_text(stale.read_text("utf-8").replace("--gpu-mem", "--gpu-memory"))
    ran = check(tmp_path)
    assert ran.returncode == 1
    assert "commands.md is stale" in ran.stderr
    assert "spec.md" not in ran.stderr


def test_every_command_and_option_is_documented(generate) -> None:
    text = page("commands.md")
    for name, command in generate.walk(group):
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for option in (item for item in command.params if isinstance(item, click.Option)):
            for flag in (*option.opts, *option.secondary_opts):
                assert re.search(rf"{re.escape(flag)}\b", section), f"{name} {flag}"


@pytest.mark.parametrize("schema", [json_schema(), inventory_schema()], ids=["spec", "inventory"])
def test_every_key_is_documented(schema) -> None:
    sections = [schema, *schema["$defs"].values()]
    for key in (key for section in sections for key in section.get("properties", {})):
        assert re.search(rf"`([\w.]+\.)?{key}`", page("spec.md")), key


def test_every_exit_code_is_documented() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (\w+) \|", page("exit-codes.md"), re.MULTILINE))
    assert rows == {str(int(code)): code.name for code in ExitStatus}


def strings(folder: str) -> set[str]:
    """All string constants of the Python files in a folder; not of the programs that only run on hosts."""
    trees = [ast.parse(path.read_text("utf-8")) for path in (ROOT / folder).rglob("*.py") if "assets" not in path.parts]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def undocumented(variables: set[str]) -> set[str]:
    assert variables
    return {name for name in variables if f"`{name}`" not in page("environment.md")}


def test_every_environment_variable_is_documented() -> None:
    named = {text for text in strings("orchestrator") if re.fullmatch(r"DEPLOYCTL_[A-Z_]+|HF_[A-Z_]+|NO_COLOR", text)}
    assert not undocumented(named)


def test_every_environment_variable_of_the_tests_is_documented() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), ROOT / ".ci" / "run"]
    text = "".join(path.read_text("utf-8") for path in files)
    assert not undocumented(set(re.findall(r"\bDEPLOYCTL_TEST_[A-Z_]+", text)))


def test_every_document_and_every_field_that_a_verb_writes_is_documented(generate) -> None:
    described = {item["name"]: item for item in tomllib.loads((DOCS / "documents.toml").read_text("utf-8"))["document"]}
    written = {text for text in strings("orchestrator/cli") if re.fullmatch(r"deployctl\.[\w.]+/\d+", text)}
    assert written == set(described) == set(DOCUMENTS)
    for name, item in described.items():
        told = {part for path in described[item.get("like", name)]["fields"] for part in re.findall(r"\w+", path)}
        assert fields_of(DOCUMENTS[name]) - {"schema", "exit_code"} <= told, name


def fields_of(kind: type) -> set[str]:
    """The fields of a document and of the objects in it that are described with it, and not as shared objects."""
    if not is_typeddict(kind):
        return set(getattr(kind, "model_fields", ())) - {"format"} if kind is SavedPlan else set()
    found: set[str] = set()
    for name, hint in get_type_hints(kind).items():
        inner = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and one not in (Failure, Applied)]
        inner += [Applied] if name == "deployments" and Applied in get_args(hint) else []
        found |= {name}.union(*(fields_of(one) for one in inner))
    return found

"""Golden cases: a folder ``cases/TEMPLATE/CASE`` holds ``context.json`` and what must come out.

``expected`` is the file; ``refused`` is a part of the reason why there is none. A case is added by adding a folder
with a context; UPDATE_GOLDEN=1 writes what is missing or has changed.
"""

import json
import os
from pathlib import Path

import jinja2
import pytest

from orchestrator.errors import UsageError
from orchestrator.templating.engine import Renderer, packaged
from orchestrator.templating.filters import FILTERS

CASES = Path(__file__).parent / "cases"
ALL = sorted(path.parent.relative_to(CASES) for path in CASES.rglob("context.json"))


def accepted(template: str) -> list[Path]:
    """The cases of all templates of that file name that give a file, and no refusal."""
    return [case for case in ALL if case.parent.name == template and (CASES / case / "expected").is_file()]


def context_of(case: Path) -> dict[str, object]:
    return json.loads((CASES / case / "context.json").read_text("utf-8"))


@pytest.mark.parametrize("case", ALL, ids=str)
def test_renders_as_expected(case: Path) -> None:
    folder = CASES / case
    try:
        outcome, text = "expected", Renderer().render(case.parent.as_posix(), context_of(case))
    except UsageError as error:
        outcome, text = "refused", f"{error.why}\n"
    if os.environ.get("UPDATE_GOLDEN"):
        (folder / ("refused" if outcome == "expected" else "expected")).unlink(missing_ok=True)
        (folder / outcome).write_bytes(text.encode())
    assert (folder / outcome).is_file(), f"{outcome}: {text}"
    assert text == (folder / outcome).read_bytes().decode()


def test_every_template_has_a_case_and_every_case_a_template() -> None:
    assert {case.parent.as_posix() for case in ALL} == set(Renderer().names)


@pytest.mark.parametrize("name", Renderer().names)
def test_every_value_of_a_packaged_template_passes_a_quoting_filter(name: str) -> None:
    tree = jinja2.Environment().parse((packaged() / name).read_text("utf-8"))
    printed = [node for output in tree.find_all(jinja2.nodes.Output) for node in output.nodes]
    values = [node for node in printed if not isinstance(node, jinja2.nodes.TemplateData)]
    assert values
    assert all(isinstance(node, jinja2.nodes.Filter) and node.name in FILTERS for node in values)


@pytest.mark.parametrize("name", Renderer().names)
def test_says_who_manages_it_where_the_format_has_comments(name: str) -> None:
    assert name.endswith(".json.j2") or "Managed by deployctl" in (packaged() / name).read_text("utf-8").split("\n")[0]


@pytest.mark.parametrize("case", accepted("generation_config.json.j2"), ids=str)
def test_generation_config_is_read_back_equal(case: Path) -> None:
    context = context_of(case)
    assert json.loads(Renderer().render(case.parent.as_posix(), context)) == context["config"]

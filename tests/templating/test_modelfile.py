"""Whole Modelfiles, read back by the rules of Ollama's parser."""

from pathlib import Path

import pytest

from orchestrator.templating.engine import Renderer
from tests.templating import readers
from tests.templating.test_golden import accepted, context_of


def written(value: object) -> str:
    return value if isinstance(value, str) else str(value)


@pytest.mark.parametrize("case", accepted("Modelfile.j2"), ids=str)
def test_cases_give_back_their_values_and_no_other_directive(case: Path) -> None:
    context = context_of(case)
    wanted = [("from", context["from_path"])]
    wanted += [(name, written(value)) for name, value in context["parameters"]]  # type: ignore[attr-defined]  # JSON
    wanted += [(name, context[name]) for name in ("template", "system") if context[name] is not None]
    assert readers.modelfile_commands(Renderer().render(case.parent.as_posix(), context)) == wanted

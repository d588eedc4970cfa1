"""Golden cases: spec and facts in, resources and rendered files out. UPDATE_GOLDEN=1 writes what has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.runtimes.golden import ALL, CASES, outcome

GIVEN = {"spec.yaml", "facts.json", "inputs.json"}


def kept(folder: Path) -> dict[str, str]:
    """The expected texts of a case, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path.read_bytes().decode() for name, path in names.items() if name not in GIVEN}


@pytest.mark.parametrize("case", ALL, ids=str)
def test_gives_what_is_expected(case: Path) -> None:
    folder, made = CASES / case, outcome(case)
    if os.environ.get("UPDATE_GOLDEN"):
        for name in kept(folder).keys() - made.keys():
            (folder / name).unlink()
        for name, text in made.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode())
    assert made == kept(folder)

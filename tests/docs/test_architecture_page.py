"""What the architecture page and the guide say of the house is what the house is."""

import re
from typing import get_args

from orchestrator.facts import Layout
from orchestrator.health.report import LADDER
from orchestrator.resources.registry import AnyResource
from tests.architecture.test_house import MAY_USE
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
GUIDE = (ROOT / "docs" / "guide.md").read_text("utf-8")
RESOURCES = get_args(get_args(AnyResource)[0])


def rows(page: str, head: str) -> list[list[str]]:
    """The cells of the table under a head line."""
    table = page.partition(f"\n{head}\n")[2].partition("\n\n")[0]
    assert table, head
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def test_every_kind_of_resource_is_there_and_what_guards_it() -> None:
    written = {kind.strip("`"): (exclusive, kept) for kind, _, exclusive, kept in rows(PAGE, _KINDS)}
    assert set(written) == {one.model_fields["kind"].default for one in RESOURCES}
    for one in RESOURCES:
        exclusive, kept = written[one.model_fields["kind"].default]
        assert (exclusive == "yes") == one.exclusive, one
        assert (kept == "yes") == one.model_fields["keep"].default, one


_KINDS = "| kind | what it is | exclusive | kept by `down` |"


def test_every_room_is_there_and_what_it_may_use() -> None:
    written = {
        room.strip("`*"): used for room, _, used, _ in rows(PAGE, "| room | does | may use | touches a machine |")
    }
    assert set(written) == set(MAY_USE)
    for room, used in written.items():
        if not used.startswith("all"):
            assert set(re.findall(r"\w+", used)) == MAY_USE[room], room


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`([\w./-]+\.(?:py|toml|j2|sh|yaml))`", PAGE))
    assert len(named) > 8
    roots = (ROOT, ROOT / "orchestrator", ROOT / "orchestrator" / "spec" / "catalogue_data", ROOT / "docs")
    missing = {name for name in named if not any((root / name).exists() for root in roots)}
    assert not missing


def test_the_guide_says_where_things_lie() -> None:
    for layout in (Layout.system(), Layout.user("~", {})):
        for path in (
            f"{layout.deployment_state('NAME')}/manifest.json",
            layout.models,
            layout.deployment_data("NAME"),
            layout.deployment_config("NAME"),
            layout.opt,
        ):
            assert f"`{path}" in GUIDE, path


def test_the_guide_explains_every_rung() -> None:
    assert [rung for rung, _ in rows(GUIDE, "| rung | when it does not hold |")] == list(LADDER)

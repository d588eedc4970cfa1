"""What the pages show really works: links lead somewhere, command lines parse, files load."""

import re
import shlex
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from orchestrator.cli.bench import Bench
from orchestrator.cli.root import group
from orchestrator.cli.session import Session
from orchestrator.spec import Inventory, load_spec
from tests.docs.pages import PAGES, ROOT, anchors, blocks, label, links

SHELL = blocks("sh", "console", "bash")
YAML_BLOCKS = blocks("yaml")
GUIDES = [page for page in PAGES if "reference" not in page.parts]


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{link} leads nowhere"
        assert file.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(file), f"{link}: no such heading"


def command_lines() -> list[str]:
    """The `deployctl …` lines of the pages' shell blocks, without prompts, variables, redirections and comments."""
    found = []
    for block in SHELL:
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words[:1] == ["deployctl"]:
                end = next((index for index, word in enumerate(words) if word in {"|", ">", "2>", "&&", ";"}), None)
                found.append(shlex.join(words[1:end]))
    return sorted(set(found))


def test_the_pages_show_every_command() -> None:
    shown = {line.split()[0] for line in command_lines() if line}
    assert shown == set(group.commands)


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_parses(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command: click.Command = group
    words = shlex.split(line)
    while isinstance(command, click.Group):
        words = command.spelled_out(words) if isinstance(command, Bench) else words
        assert words, "names no command"
        named = command.get_command(click.Context(command), words[0])
        assert named is not None, f"there is no command {words[0]}"
        command, words = named, words[1:]
    context = command.make_context(line, words)
    if command.name in ("up", "render") and not context.params["config"]:
        Session(context.params).spec(context.params["runtime"])


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=label)
def test_a_file_that_is_shown_loads(block, tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(block.text)
    keys = YAML(typ="safe", pure=True).load(block.text)
    if keys.get("version") == 1:
        load_spec(file)
    else:
        assert Inventory.load(file).hosts


def test_the_pages_show_specs_and_inventories() -> None:
    kinds = {"version" in YAML(typ="safe", pure=True).load(block.text) for block in YAML_BLOCKS}
    assert kinds == {True, False}


def test_a_refusal_that_the_guide_explains_is_one_that_is_made() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "orchestrator").rglob("*.py"))
    guide = (ROOT / "docs" / "guide.md").read_text("utf-8")
    table = guide.partition("**Refusals you may meet:**")[2].partition("\n\nAn interrupted")[0]
    messages = [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]
    assert len(messages) > 5
    for message in messages:
        for part in message.split("…"):
            assert part.strip() in source, f"{message!r}: nothing says {part.strip()!r}"


@pytest.mark.parametrize("page", GUIDES, ids=label)
def test_pages_name_no_path_of_a_test_machine(page: Path) -> None:
    assert not re.search(r"/(tmp|root|work)/", page.read_text("utf-8"))

"""Values of users and of the Hub, on their whole way: spec and facts in, files and shell out.

No value adds a directive to a file, and no value is run by a shell: not by what observes, not by what is done, not by
the command that is shown for each resource. The shells are real; they find no programs, so that all that can
happen is what a value itself brought about, which would leave a file behind.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from ruamel.yaml import YAML

from orchestrator.errors import DeployError
from orchestrator.facts import Layout
from orchestrator.hosts.base import Result
from orchestrator.progress import Quiet
from orchestrator.resources.base import Observed
from orchestrator.resources.container import Container
from orchestrator.resources.files import Content
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.program import Program
from orchestrator.resources.release import Release
from orchestrator.runtimes.deployment import Deployment
from orchestrator.spec import load_spec
from tests.runtimes.golden import CASES, facts_of, inputs_of, wanted
from tests.templating import readers
from tests.templating.hostile import BOUND, TEXTS, VALUES
from tests.templating.readers import folder_for_all

WAYS = [
    Path("vllm/worked-example"),
    Path("vllm/venv-systemd"),
    Path("vllm/venv-user-scope"),
    Path("ollama/worked-example"),
    Path("ollama/without-systemd"),
]
EACH = pytest.mark.parametrize("case", WAYS, ids=str)


def overrides(runtime: str, text: str) -> dict[str, object]:
    """The same text wherever a spec takes free text; what it refuses there is left out by `deployment`."""
    own: dict[str, object] = {
        "vllm": {"served_name": text, "env": {"HOSTILE": text}, "extra_args": ["--chat-template", text], "image": text},
        "ollama": {"template": text, "env": {"HOSTILE": text}, "model_name": text, "keep_alive": text},
    }[runtime]
    return {"system": text, "sampling.stop": [text], **{f"{runtime}.{name}": value for name, value in own.items()}}


def deployment(case: Path, text: str | None) -> Deployment | None:
    """A case with that text in all of its places that take it, in its model's file name and its user's home."""
    runtime, facts = case.parent.name, facts_of(case)
    given: dict[str, object] = {}
    for key, value in (overrides(runtime, text) if text is not None else {}).items():
        with suppress(DeployError):
            load_spec(CASES / case / "spec.yaml", {key: value}, runtimes=(runtime,))
            given[key] = value
    if text is not None and facts.layout.scope == "user":
        given[f"{runtime}.expose"] = "direct"  # a home with such a name cannot be written in a Caddyfile: refused whole
    spec = load_spec(CASES / case / "spec.yaml", given, runtimes=(runtime,))
    plain = inputs_of(case, facts)
    changes: dict[str, Any] = {"spec": spec}
    if text is not None:
        with suppress(ValueError):
            model, name = plain.model.model_dump(), f"m{text}.gguf"
            model["files"][0]["path"] = model["main_file"] = name
            changes["model"] = type(plain.model).model_validate(model)
        if facts.layout.scope == "user" and "\0" not in text and text.isprintable():
            layout = Layout.user(f"/home/u{text}".rstrip("/"), {})
            changes["facts"] = facts.model_copy(update={"layout": layout})
    try:
        return wanted(inputs_of(case, **{"facts": facts, **changes}), runtime)
    except DeployError:  # refused, which is an answer
        return None


def directives(text: str) -> Counter[str]:
    """The names of a unit's or an ini file's directives and sections, with how often each is there."""
    names = [line.split("=", 1)[0] for line in text.split("\n") if line and line[0] not in "#;"]
    assert not any(line.endswith("\\") for line in text.split("\n")), "a line that goes on"
    return Counter(names)


def read(content: Content) -> Counter[str]:
    """What a rendered file says, without its values."""
    if content.path.endswith("container.yaml"):
        return Counter(list(YAML(typ="safe", pure=True).load(content.content)))
    if content.path.endswith("Modelfile"):
        return Counter(name for name, _ in readers.modelfile_commands(content.content))
    return directives(content.content)


FORMATS = (".service", "deployctl.conf", "supervisord.conf", "Modelfile", "container.yaml")


@functools.cache
def benign(case: Path) -> dict[str, Counter[str]]:
    """What the case's files say when every free text is a plain word."""
    found = deployment(case, "plain")
    assert found is not None
    return files(found)


def files(found: Deployment) -> dict[str, Counter[str]]:
    rendered = [item for item in found.resources if isinstance(item, Content)]
    kept = [item for item in rendered if item.path.endswith(FORMATS) or "/programs/" in item.path]
    return {item.path.rpartition("/")[2]: read(item) for item in kept}


def hostile(test: Callable[..., None]) -> Callable[..., None]:
    for value in VALUES:
        test = example(text=value)(test)
    return settings(BOUND, max_examples=25)(given(text=TEXTS)(test))


@EACH
@hostile
def test_no_value_adds_or_takes_a_directive(case: Path, text: str) -> None:
    found = deployment(case, text)
    if found is None:
        return
    seen, usual = files(found), benign(case)
    assert seen.keys() == usual.keys()
    for name, said in seen.items():
        more = {key for key in said | usual[name] if said[key] != usual[name][key]}
        # what the spec refused as a value is not there; nothing else may differ
        assert more <= {"Environment", "system", "template", "stop", "keep_alive"}, (name, more)
        assert all(said[key] <= usual[name][key] for key in more), (name, more)


INJECTIONS = {
    "bare": "x$(>owned)`>owned`;>owned;x",
    "in single quotes": "x';>owned;'x",
    "in double quotes": 'x";>owned;"x',
    "on a line of its own": "x\n>owned\n'\n>owned\n'x",
    "behind the end of a document": "x\nDEPLOYCTL_END\n>owned\nEOF\n>owned\nx",
}
"""Each would leave a file where a shell ran it, and needs no program for that."""


class Recorder:
    """A host that only notes what it is asked to run; all that it is asked, it says it has done."""

    name, is_local = "gpu01", False

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def run(self, script: str, **_: object) -> Result:
        self.scripts.append(script)
        return Result(0, "", "")

    def http(self, request: object) -> Any:
        raise DeployError("nobody is there")

    def docker(self) -> Any:
        raise DeployError("no engine")


def shell_of(found: Deployment) -> Iterator[str]:
    """All shell that comes of a deployment."""
    host = Recorder()
    for resource in found.resources:
        yield resource.probe()
        yield resource.command()
        # those go by the SDK, or by the script of transfers, which has its own tests
        if not isinstance(resource, Container | ModelFiles | Program | Release):
            with suppress(DeployError):
                resource.apply(host, Observed(exists=False), Quiet())  # type: ignore[arg-type]  # as much of a Host as they use
        with suppress(DeployError):
            resource.remove(host, Quiet())  # type: ignore[arg-type]
    yield from host.scripts
    yield from (item.content for item in found.resources if isinstance(item, Content) and item.path.endswith(".sh"))


def runs(script: str, folder: Path) -> str:
    """What a real shell without any program makes of a script, as nobody (where that can be said)."""
    nobody: dict[str, Any] = {"user": readers.NOBODY, "group": readers.NOBODY, "extra_groups": []}
    done = subprocess.run(
        ["/bin/sh", "-s"],
        input=script.encode(),
        cwd=folder / "run",
        env={"PATH": "/nonexistent"},
        capture_output=True,
        timeout=60,
        check=False,
        **(nobody if os.geteuid() == 0 else {}),
    )
    return done.stderr.decode("utf-8", "replace")


@EACH
@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_no_value_is_run_by_a_shell(case: Path, text: str) -> None:
    found = deployment(case, text)
    assert found is not None
    scripts = [script for script in shell_of(found) if script]
    assert "owned" in "".join(scripts) or "\n" in text, "a text of several lines may be refused everywhere"
    with folder_for_all() as folder:
        said = runs("\n".join(f"( :\n{script}\n)" for script in scripts), folder)  # some are only a comment
        assert not (folder / "run" / "owned").exists()
        assert re.search("unexpected|[Uu]nterminated", said) is None, said


UNQUOTED = {
    "bare": "echo {}",
    "in single quotes": "echo '{}'",
    "in double quotes": 'echo "{}"',
    "on a line of its own": "echo '{}'",
    "behind the end of a document": "cat <<DEPLOYCTL_END\n{}\nDEPLOYCTL_END",
}


@pytest.mark.parametrize(("name", "place"), UNQUOTED.items())
def test_where_a_value_is_not_quoted_there_is_a_proof(name: str, place: str) -> None:
    with folder_for_all() as folder:
        runs(place.replace("{}", INJECTIONS[name]), folder)
        assert (folder / "run" / "owned").exists()

"""Unit files, read back by systemd itself."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.templating import filters
from orchestrator.templating.engine import Renderer
from orchestrator.templating.text import Unsayable
from tests.templating import readers
from tests.templating.hostile import BOUND, TEXTS, VALUES
from tests.templating.test_golden import accepted, context_of

UNITS = accepted("ollama.service.j2") + accepted("vllm.service.j2")
GATEWAYS = accepted("gateway.service.j2")


def said(function: Callable[..., str], *arguments: object) -> str | None:
    with contextlib.suppress(Unsayable):
        return function(*arguments)
    return None


def check(texts: list[str]) -> None:
    """Put all texts in every place of a unit; what is not refused must come back, and nothing else."""
    words = [text for text in texts if said(filters.systemd_word, text) is not None]
    pairs = {f"V{n}": text for n, text in enumerate(texts) if said(filters.systemd_env, "V", text) is not None}
    values = [text for text in texts if text and said(filters.systemd_value, text) is not None]
    paths = [f"/p{text}" for text in texts if "/" not in text and said(filters.systemd_path, f"/p{text}") is not None]
    command = f"ExecStart={filters.systemd_exec(['/bin/true', *words])}"
    variables = "\n".join(f"Environment={filters.systemd_env(name, value)}" for name, value in pairs.items())
    files = {"main.service": f"[Service]\n{variables}\n{command}\nRestart=always\n"}
    for n, value in enumerate(values):
        files[f"v{n}.service"] = f"[Unit]\nDescription={filters.systemd_value(value)}\n[Service]\n{command}\n"
    for n, path in enumerate(paths):
        files[f"p{n}.service"] = f"[Service]\nReadWritePaths={filters.systemd_path(path)}\n{command}\n"
    read = readers.systemd_reads(files)
    assert all([word.replace("$$", "$") for word in unit.words[1:]] == words for unit in read.values())
    assert read["main.service"].environment == pairs
    assert read["main.service"].lines["Restart"] == ["always"]
    assert [read[f"v{n}.service"].lines["Description"] for n in range(len(values))] == [[value] for value in values]
    assert [read[f"p{n}.service"].lines["ReadWritePaths"] for n in range(len(paths))] == [[path] for path in paths]


def test_hostile_values_come_back_from_systemd() -> None:
    check(list(VALUES))


@settings(BOUND, max_examples=15)
@given(st.lists(TEXTS, min_size=5, max_size=15))
def test_any_values_come_back_from_systemd(texts: list[str]) -> None:
    check(texts)


@pytest.mark.parametrize(
    "value", ["a b", "100%", 'say "hi"', "it's", "$HOME", "a\\b", "# ;", "{{ x }}", "世界 🙂", "-x", "a;b"]
)
def test_the_usual_can_be_said(value: str) -> None:
    assert filters.systemd_value(value) and filters.systemd_word(value) and filters.systemd_env("A", value)


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\x07b", "a\ufdd0b"])
def test_line_breaks_and_controls_are_refused(value: str) -> None:
    for function in (filters.systemd_word, filters.systemd_value, filters.systemd_path):
        with pytest.raises(Unsayable):
            function(f"/{value}")
    with pytest.raises(Unsayable):
        filters.systemd_env("K", value)


@pytest.mark.parametrize(
    "program", ["ollama", "-/bin/true", "+/bin/true", "", "/bin/a b\\", "/bin/$x", '/bin/"x"', "/bin/"]
)
def test_a_program_that_systemd_would_read_otherwise_is_refused(program: str) -> None:
    with pytest.raises(Unsayable):
        filters.systemd_exec([program, "serve"])


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A\n", "É", "A-B"])
def test_a_variable_with_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(Unsayable):
        filters.systemd_env(name, "x")


@pytest.mark.parametrize(
    ("paths", "setting"),
    [(["/opt/x", "/homework"], "yes"), (["/opt/x", "/home/me/m"], "read-only"), (["/root"], "read-only"), ([], "yes")],
)
def test_homes_are_hidden_unless_the_service_lives_in_one(paths: list[str], setting: str) -> None:
    assert filters.systemd_protect_home(paths) == setting


def runnable(case: Path) -> dict[str, object]:
    """The case's context with a program that exists: verify looks for it."""
    context = context_of(case)
    return {**context, "exec": ["/bin/true", *context["exec"][1:]]}  # type: ignore[index]  # JSON of a case


@pytest.mark.parametrize("case", UNITS, ids=str)
def test_units_verify_clean_and_give_back_their_values(case: Path) -> None:
    context = runnable(case)
    files = {"engine.service": Renderer().render(case.parent.as_posix(), context)}
    assert readers.systemd_verifies(files, "engine.service") == ""
    read = readers.systemd_reads(files)["engine.service"]
    assert [word.replace("$$", "$") for word in read.words] == context["exec"]
    assert read.environment == dict(context["environment"])  # type: ignore[call-overload]  # JSON of a case
    assert read.lines["Description"] == [context["description"]]
    assert read.lines["Restart"] == ["always"]


@pytest.mark.parametrize("case", accepted("drop-in.conf.j2"), ids=str)
def test_drop_ins_add_their_variables_and_touch_nothing_else(case: Path) -> None:
    context = context_of(case)
    files = {
        "vendor.service": "[Service]\nEnvironment=PATH=/bin\nExecStart=/bin/true serve\n",
        "vendor.service.d/deployctl.conf": Renderer().render(case.parent.as_posix(), context),
    }
    assert readers.systemd_verifies(files, "vendor.service") == ""
    read = readers.systemd_reads(files)["vendor.service"]
    assert read.environment == {"PATH": "/bin", **dict(context["environment"])}  # type: ignore[call-overload]
    assert read.words == ["/bin/true", "serve"]


@pytest.mark.parametrize("case", GATEWAYS, ids=str)
def test_the_gateways_unit_verifies_clean_and_gives_back_its_values(case: Path) -> None:
    context = runnable(case)
    context["reload"] = ["/bin/true", *context["reload"][1:]]  # type: ignore[index]  # JSON of a case
    files = {"gateway.service": Renderer().render(case.parent.as_posix(), context)}
    assert readers.systemd_verifies(files, "gateway.service") == ""
    read = readers.systemd_reads(files)["gateway.service"]
    assert [word.replace("$$", "$") for word in read.words] == context["reload"], "the last of its commands"
    assert read.environment == dict(context["environment"])  # type: ignore[call-overload]  # JSON of a case
    assert read.lines["Restart"] == ["always"]


@pytest.mark.parametrize("case", UNITS + GATEWAYS, ids=str)
def test_units_are_locked_up(case: Path) -> None:
    assert readers.exposure(Renderer().render(case.parent.as_posix(), context_of(case))) <= 3.0


@pytest.mark.parametrize("case", [case for case in UNITS if case.name in ("cuda", "cpu")], ids=str)
def test_what_is_not_locked_up_is_explained(case: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/architecture.md").read_text("utf-8").replace("\\|", "|")
    open_ = readers.not_locked_up(Renderer().render(case.parent.as_posix(), context_of(case)))
    assert open_
    assert [setting for setting in open_ if f"`{setting}`" not in page] == []


@pytest.mark.parametrize("case", UNITS, ids=str)
def test_a_unit_has_the_devices_of_its_engine_and_no_others(case: Path) -> None:
    lines = Renderer().render(case.parent.as_posix(), context_of(case)).splitlines()
    said = [line for line in lines if line.startswith(("PrivateDevices=", "DevicePolicy=", "DeviceAllow="))]
    gpu = ["PrivateDevices=no", "DevicePolicy=closed", "DeviceAllow=char-nvidia* rwm", "DeviceAllow=/dev/dxg rw"]
    assert said == (gpu if context_of(case)["device"] == "cuda" else ["PrivateDevices=yes"])

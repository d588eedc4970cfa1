"""Every filter: whatever the text, it comes back from the consumer as it was, or it is refused."""

import contextlib
import json
import shlex
import subprocess

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestrator.templating import filters
from orchestrator.templating.text import Unsayable
from tests.templating import readers
from tests.templating.hostile import BOUND, TEXTS, VALUES


def hostile(test):
    """Arbitrary text, and each of the hostile values by name."""
    for value in VALUES:
        test = example(value)(test)
    return settings(BOUND, max_examples=150)(given(TEXTS)(test))


@hostile
def test_json(text: str) -> None:
    with contextlib.suppress(Unsayable):
        assert json.loads(filters.json({text: [text, 1, 2.5, None, True]}, indent=2)) == {
            text: [text, 1, 2.5, None, True]
        }


def test_json_keeps_the_order_and_refuses_what_json_lacks() -> None:
    assert filters.json({"b": 1, "a": 0.05}) == '{"b": 1, "a": 0.05}'
    for value in (float("nan"), float("inf"), {1, 2}, b"bytes"):
        with pytest.raises(Unsayable):
            filters.json(value)


@hostile
def test_yaml(text: str) -> None:
    with contextlib.suppress(Unsayable):
        written = f"key:\n  - {filters.yaml(text)}\nnext: 1\n"
        assert YAML(typ="safe", pure=True).load(written) == {"key": [text], "next": 1}
        assert pyyaml.safe_load(written) == {"key": [text], "next": 1}  # vLLM's own reader of --config


@pytest.mark.parametrize("value", VALUES[:-1])
def test_json_and_yaml_can_say_everything(value: str) -> None:
    assert filters.json(value) and filters.yaml(value)


@hostile
def test_shell(text: str) -> None:
    with contextlib.suppress(Unsayable):
        assert shlex.split(f"x={filters.shell(text)}") == [f"x={text}"]


@pytest.mark.parametrize("value", [value for value in VALUES[:-1] if "\0" not in value])
def test_a_real_shell_reads_the_same(value: str) -> None:
    done = subprocess.run(["sh", "-c", f"printf %s {filters.shell(value)}"], capture_output=True, check=True)
    assert done.stdout.decode() == value


@hostile
def test_envfile(text: str) -> None:
    with contextlib.suppress(Unsayable):
        written = f"A={filters.envfile(text)}\nB=next\n"
        assert readers.environment_file(written) == {"A": text, "B": "next"}


@pytest.mark.parametrize("value", VALUES)
def test_a_shell_can_source_the_envfile(value: str) -> None:
    with contextlib.suppress(Unsayable):
        written = f"A={filters.envfile(value)}\nB=next\n"
        assert (readers.sourced(written, "A"), readers.sourced(written, "B")) == (value, "next")


def test_a_key_stands_bare_in_the_envfile_because_docker_knows_no_quotes() -> None:
    assert filters.envfile("sk-Abc_123.def") == "sk-Abc_123.def"


@hostile
def test_modelfile(text: str) -> None:
    with contextlib.suppress(Unsayable):
        written = f"FROM x\nPARAMETER stop {filters.modelfile(text)}\nSYSTEM next\n"
        assert readers.modelfile_commands(written) == [("from", "x"), ("stop", text), ("system", "next")]


@pytest.mark.parametrize(
    "value", ['say "hi"', '"', '"quoted"', "a\nb", 'a"\n', "it's", "\\n", "{{ .Prompt }}", "# no", ""]
)
def test_modelfile_says_the_usual(value: str) -> None:
    assert readers.modelfile_commands(f"SYSTEM {filters.modelfile(value)}\n") == [("system", value)]


@hostile
def test_modelfile_parameter_never_becomes_a_directive(text: str) -> None:
    with contextlib.suppress(Unsayable):
        written = f"PARAMETER {filters.modelfile_parameter(text)} 1\n"
        assert readers.modelfile_commands(written) == [(text, "1")]
        assert text not in readers.MODELFILE_COMMANDS


def test_a_parameter_named_model_would_be_a_second_from() -> None:
    with pytest.raises(Unsayable, match="directive"):
        filters.modelfile_parameter("model")


@hostile
def test_comment_is_one_line(text: str) -> None:
    with contextlib.suppress(Unsayable):
        written = filters.comment(text)
        assert written.startswith("#")
        assert len(written.splitlines()) == 1


@BOUND
@given(st.one_of(st.none(), st.binary(), st.lists(st.text()), st.just(float("nan"))))
def test_text_filters_refuse_what_is_no_text(value: object) -> None:
    for function in (filters.shell, filters.envfile, filters.modelfile, filters.systemd_value, filters.supervisor):
        with pytest.raises(Unsayable):
            function(value)


@pytest.mark.parametrize("name", sorted(filters.FILTERS))
def test_a_refusal_never_repeats_the_value(name: str) -> None:
    secret = "canary-7f3\0\n\ud800'\"\\"
    special = {
        "systemd_env": ("K", secret),
        "supervisor_env": ([("K", secret)],),
        "caddy_addresses": ([secret], "https", 5000),
    }
    arguments = special.get(name, (secret,))
    try:
        filters.FILTERS[name](*arguments)
    except Unsayable as refusal:
        assert "canary" not in str(refusal)


@pytest.mark.parametrize("value", ["a b", 'say "hi"', "it's", "$HOME `id`", "100%", "\\", "# no", "世界", "-x", "a;b"])
def test_the_usual_can_be_said_in_an_envfile(value: str) -> None:
    assert readers.environment_file(f"A={filters.envfile(value)}\n") == {"A": value}

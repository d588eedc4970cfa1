"""The renderer, with the user's own templates before the packaged ones."""

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.templating.engine import Renderer

NAME = "ollama/drop-in.conf.j2"


def override(folder: Path, text: str | bytes) -> Renderer:
    path = folder / NAME
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Renderer(folder)


def test_an_override_replaces_its_template_and_no_other(tmp_path: Path) -> None:
    renderer = override(
        tmp_path, "# mine\n{% for name, value in environment %}\n{{ name | systemd_env(value) }}\n{% endfor %}"
    )
    assert renderer.render(NAME, {"environment": [["A", "b c"]]}) == '# mine\n"A=b c"\n'
    assert renderer.render("vllm/generation_config.json.j2", {"config": {}}) == "{}\n"
    assert renderer.names == Renderer().names


def test_an_override_may_build_on_the_packaged_templates(tmp_path: Path) -> None:
    renderer = override(tmp_path, '{% include "vllm/generation_config.json.j2" %}')
    assert renderer.render(NAME, {"config": {"a": 1}}) == '{\n  "a": 1\n}\n'


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[Service]\n{% for x in %}\n", 2, "Expected an expression"),
        ("[Service]\n\n{{ enviroment }}\n", 3, "'enviroment' is undefined"),
        ("[Service]\n{{ enviroment | systemd_value }}\n", 2, "'enviroment' is undefined"),
        ("[Service]\n{{ environment.x.y | systemd_value }}\n", 2, "has no attribute 'x'"),
        ("[Service]\n{{ 1 | nofilter }}\n", 2, "No filter named 'nofilter'"),
        ('[Service]\n{{ "a\\nb" | systemd_value }}\n', 2, "a newline cannot be written in a systemd unit"),
        ("[Service]\n{{ environment | systemd_value }}\n", 2, "list"),
        ('[Service]\n{{ 1 + "canary" }}\n', 2, "TypeError"),
        ("[Service]\n{{ 1 / 0 }}\n", 2, "ZeroDivisionError"),
        ("[Service]\n{{ environment.append(1) }}\n", 2, "SecurityError"),
        ("[Service]\n{{ ''.__class__.__mro__ }}\n", 2, "SecurityError"),
        ("[Service]\n{{ range(10 ** 9) | list }}\n", 2, "OverflowError"),
    ],
)
def test_a_wrong_override_is_named_with_its_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        override(tmp_path, text).render(NAME, {"environment": []})
    assert f"{tmp_path / NAME}:{line}" in caught.value.what
    assert why in caught.value.why
    assert "canary" not in caught.value.why
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text", ['{% include "nothing.j2" %}', b"\xff\xfe", "{% extends name %}", f'{{% include "{NAME}" %}}']
)
def test_any_other_wrong_override_is_a_usage_error_too(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(UsageError):
        override(tmp_path, text).render(NAME, {"environment": [], "name": 3})


def test_an_override_cannot_reach_files_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match=NAME):
        override(tmp_path / "mine", '{% include "../secret" %}').render(NAME, {"environment": []})


def test_the_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        Renderer(tmp_path / "nowhere")


def test_an_unknown_template_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        Renderer().render("ollama/nothing.j2", {})
    assert NAME in caught.value.remedy


def test_values_are_never_rendered_again() -> None:
    text = Renderer().render(NAME, {"environment": [["A", "{{ 7 * 7 }}{% endfor %}"]]})
    assert 'Environment="A={{ 7 * 7 }}{%% endfor %%}"\n' in text

"""The container's description and its `docker run` line."""

import csv
import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestrator.errors import UsageError
from orchestrator.templating.container import ContainerSpec, docker_run_line, parse_container
from orchestrator.templating.engine import Renderer
from tests.templating.hostile import BOUND, TEXTS, VALUES
from tests.templating.test_golden import accepted, context_of

CASES = accepted("container.yaml.j2")
BASE: dict[str, object] = {
    "name": "vllm",
    "image": "vllm/vllm-openai:v0.32.0",
    "entrypoint": None,
    "command": [],
    "environment": [],
    "mounts": [],
    "ports": [],
    "gpus": None,
    "ipc": None,
    "shm_size_bytes": None,
    "memory_bytes": None,
    "log_driver": None,
    "restart": "unless-stopped",
    "user": None,
    "group_add": [],
    "pids_limit": None,
    "cap_drop": [],
    "security_opt": [],
    "read_only": False,
    "tmpfs": [],
    "labels": [],
    "stop_timeout_s": 30,
    "network": None,
}


def rendered(context: dict[str, object]) -> str:
    return Renderer().render("vllm/container.yaml.j2", context)


def plain(context: dict[str, object]) -> dict[str, object]:
    """The context as the description shows it: pairs as mappings, what is absent left out."""
    pairs = {name: dict(context[name]) for name in ("environment", "labels")}  # type: ignore[call-overload]
    return {name: value for name, value in {**context, **pairs}.items() if value is not None}


def docker_would_get(line: str) -> list[str]:
    """The words that a real shell would hand to docker."""
    script = f"docker() {{ printf '%s\\0' docker \"$@\"; }}\n{line}\n"
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def spec_of(**changes: object) -> ContainerSpec:
    return parse_container(rendered({**BASE, **changes}))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases_parse_back_to_exactly_their_values(case: Path) -> None:
    context = context_of(case)
    assert YAML(typ="safe", pure=True).load(rendered(context)) == plain(context)
    spec = parse_container(rendered(context))
    assert json.loads(spec.model_dump_json(exclude_none=True)) == plain(context)


@settings(BOUND, max_examples=60)
@given(st.lists(TEXTS, max_size=4), st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), TEXTS, max_size=3))
def test_any_words_and_variables_come_back_from_yaml_and_from_the_shell(
    words: list[str], pairs: dict[str, str]
) -> None:
    context = {**BASE, "command": words, "environment": list(pairs.items())}
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in "".join([*words, *pairs.values()])):
        with pytest.raises(UsageError):
            parse_container(rendered(context))
        return
    spec = parse_container(rendered(context))
    assert (list(spec.command), spec.environment) == (words, pairs)
    line = docker_would_get(docker_run_line(spec))
    image = line.index(BASE["image"])  # type: ignore[arg-type]
    assert line[image + 1 :] == words
    assert [word.removeprefix("--env=") for word in line[:image] if word.startswith("--env=")] == [
        f"{name}={value}" for name, value in pairs.items()
    ]


@pytest.mark.parametrize("value", [value for value in VALUES[:-1] if "\0" not in value])
def test_hostile_words_stay_words(value: str) -> None:
    spec = spec_of(command=[value], environment=[("A", value)], labels=[("l", value)])
    line = docker_would_get(docker_run_line(spec))
    assert line[:3] == ["docker", "run", "--detach"]
    assert line[-2:] == [BASE["image"], value]
    assert {f"--env=A={value}", f"--label=l={value}"} < set(line)


def test_the_line_says_all_that_the_description_says() -> None:
    spec = spec_of(
        entrypoint=["python3", "-m"],
        command=["vllm", "--port", "8000"],
        mounts=[
            {"source": "/srv/my, models", "target": "/models", "read_only": True},
            {"source": "cache", "target": "/root/.cache", "read_only": False},
        ],
        ports=[
            {"host_ip": "127.0.0.1", "host_port": 8000, "container_port": 8001},
            {"host_ip": "::1", "host_port": 1, "container_port": 2},
        ],
        gpus=[0, 2],
        network="host",
        ipc="host",
        shm_size_bytes=2**30,
        memory_bytes=2**34,
        log_driver="local",
        user="2000:0",
        group_add=["44"],
        pids_limit=100,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs=["/tmp:rw,size=1g"],
        labels=[("deployctl.name", "vllm")],
    )
    text = docker_run_line(spec)
    assert all(line.endswith(" \\") for line in text.split("\n")[:-1])
    line = docker_would_get(text)
    assert line == shlex.split(text.replace(" \\\n", " "))
    assert line == [
        *["docker", "run", "--detach", "--name=vllm", "--entrypoint=python3", "--restart=unless-stopped"],
        *["--stop-timeout=30", '--gpus="device=0,2"', "--network=host", "--ipc=host", "--shm-size=1073741824"],
        *["--memory=17179869184", "--log-driver=local", "--user=2000:0", "--pids-limit=100"],
        *[
            "--read-only=true",
            "--group-add=44",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--tmpfs=/tmp:rw,size=1g",
        ],
        *["--label=deployctl.name=vllm", '--mount=type=bind,"source=/srv/my, models",target=/models,readonly'],
        *["--mount=type=volume,source=cache,target=/root/.cache"],
        *["--publish=127.0.0.1:8000:8001", "--publish=[::1]:1:2"],
        *["vllm/vllm-openai:v0.32.0", "-m", "vllm", "--port", "8000"],
    ]
    (fields,) = csv.reader([next(word for word in line if "my, models" in word).removeprefix("--mount=")])
    assert fields == ["type=bind", "source=/srv/my, models", "target=/models", "readonly"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: [", "line 1"),
        ("name: a\nname: b\n", "line 2"),
        ("just text", "whole file"),
        ("name: a\n", "image: Field required"),
        ("name: a\nimage: i\nprivileged: true\n", "privileged: Extra inputs"),
        ("name: a\nimage: -v=/:/host\n", "image: Value error, a name that begins with '-'"),
        ("name: a\nimage: i\nports: [{host_ip: a, host_port: 70000, container_port: 1}]\n", "ports.0.host_port"),
        ("name: a\nimage: i\nmounts: [{source: /a}]\n", "mounts.0.target: Field required"),
        ("name: a\nimage: i\nenvironment: {'A=B': c}\n", "environment"),
        ("name: a\nimage: i\nlabels: {'a b': c}\n", "labels"),
        ("name: a\nimage: i\ngpus: []\n", "gpus"),
        ("name: !!python/object:os.system x\nimage: i\n", ""),
        ("name: \x07\n", ""),
    ],
)
def test_a_wrong_override_is_explained(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_container(text)
    assert why in caught.value.why
    assert "render" in caught.value.remedy


def test_the_explanation_never_repeats_a_value() -> None:
    with pytest.raises(UsageError) as caught:
        parse_container("name: a\nimage: i\nenvironment: {A: [canary]}\nlabels: {a: {b: canary}}\n")
    assert "canary" not in caught.value.why

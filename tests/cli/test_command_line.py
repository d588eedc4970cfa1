"""What holds of every command: help, exit codes, messages, one JSON document, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestrator.cli.options import SPEC_OPTIONS, SpecOption
from orchestrator.cli.root import cli, group
from orchestrator.errors import DeployError, ExitStatus
from tests.cli.run import VARIABLES, deployctl

ROOT = Path(__file__).parents[2]
HEAVY = {"docker", "fabric", "invoke", "paramiko", "huggingface_hub", "requests", "jinja2", "ruamel", "rich"}


def verbs(command: click.Command = group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command, as it is typed."""
    below = command.commands if isinstance(command, click.Group) else {}
    return [words, *(found for name, inner in below.items() for found in verbs(inner, (*words, name)))]


def test_exit_codes_are_those_of_the_design() -> None:
    assert {status.name: int(status) for status in ExitStatus} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "REFUSED": 4,
        "UNHEALTHY": 5,
        "LOCKED": 6,
        "DIFFERENT": 7,
        "INTERRUPTED": 130,
    }
    statuses = {kind.__name__: int(kind.status) for kind in DeployError.__subclasses__() if "_" not in kind.__name__}
    assert statuses == {
        "UsageError": 2,
        "UnreachableError": 3,
        "RefusedError": 4,
        "UnhealthyError": 5,
        "LockedError": 6,
        "StoppedError": 130,
    }


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_help_shows_an_example_and_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    """In a process of its own, which says afterwards what it had to load."""
    program = (
        "import atexit, sys\n"
        f"heavy = {HEAVY!r}\n"
        "atexit.register(lambda: print(heavy & sys.modules.keys(), file=sys.stderr))\n"
        "from orchestrator.cli import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "--help"], env=VARIABLES, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "set()\n")
    inner_group = bool(words) and isinstance(_command(words), click.Group)
    assert inner_group or f"  deployctl {' '.join(words)}" in done.stdout


def _command(words: tuple[str, ...]) -> click.Command:
    command: click.Command = group
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    return command


USAGE = {
    "an unknown verb": ("deploy",),
    "an unknown option": ("up", "vllm", "--no-such"),
    "an unknown runtime": ("up", "sglang"),
    "an unknown runtime to render": ("render", "sglang"),
    "no runtime and no spec": ("up", "--yes"),
    "an option of the other runtime": ("up", "ollama", "--max-model-len", "8192"),
    "an option that needs a runtime": ("up", "--port", "5000"),
    "a number that is none": ("up", "vllm", "--port", "many"),
    "a port that is none": ("up", "vllm", "--port", "70000"),
    "no time to connect": ("status", "--connect-timeout", "0"),
    "an endless time to connect": ("status", "--connect-timeout", "inf"),
    "a time to connect that is no number": ("status", "--connect-timeout", "nan"),
    "a negative time to wait": ("up", "vllm", "--wait", "-1"),
    "a setting without a value": ("up", "vllm", "--set", "vllm.port"),
    "an unknown setting": ("up", "vllm", "--set", "vllm.prot=1"),
    "a setting that is nested too deep": ("up", "vllm", "--set", "vllm.port=" + "[" * 5000),
    "a setting that is deep, but whole": ("up", "vllm", "--set", "vllm.port=" + "[" * 900 + "]" * 900),
    "a mapping that is deep": ("up", "vllm", "--set", "vllm=" + '{"a":' * 900 + "1" + "}" * 900),
    "a number beyond all bounds": ("up", "vllm", "--set", "vllm.port=" + "9" * 5000),
    "a spec that is missing": ("up", "vllm", "--config", "missing.yaml"),
    "a folder of templates that is missing": ("render", "vllm", "--templates", "missing"),
    "an inventory that is missing": ("status", "--inventory", "missing"),
    "an unknown schema": ("schema", "plan"),
    "too many words": ("version", "again"),
}


@pytest.mark.parametrize("words", USAGE.values(), ids=USAGE.keys())
def test_what_is_typed_wrong_is_a_message_and_exit_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = deployctl(*words, cwd=tmp_path, guarded=True)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.strip()
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "words",
    [words for words in USAGE.values() if words[0] != "schema"],
    ids=[name for name, words in USAGE.items() if words[0] != "schema"],
)
def test_with_json_a_failure_is_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli([*words, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (ended.value.code, document["schema"]) == (2, "deployctl.error/1")
    assert document["error"]["exit_code"] == 2
    assert document["error"]["what"]


def test_a_bad_spec_names_file_line_and_key(tmp_path: Path) -> None:
    (tmp_path / "deployctl.yaml").write_text("version: 1\nvllm:\n  max_modle_len: 8192\n")
    ran = deployctl("render", "vllm", cwd=tmp_path, guarded=True)
    assert ran.status == 2
    assert "deployctl.yaml:3" in ran.err
    assert "max_model_len" in ran.err


def test_an_option_beats_the_spec(tmp_path: Path) -> None:
    (tmp_path / "deployctl.yaml").write_text("vllm:\n  port: 6001\n")
    assert deployctl("render", "vllm", "--json", cwd=tmp_path).document["endpoint"]["url"] == "http://127.0.0.1:6001/v1"
    ran = deployctl("render", "vllm", "--port", "6002", "--json", cwd=tmp_path)
    assert ran.document["endpoint"]["url"] == "http://127.0.0.1:6002/v1"


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A home whose paths are short enough for the supervisor's socket."""
    with tempfile.TemporaryDirectory(prefix="dc") as folder:
        yield Path(folder)


def test_nothing_is_changed_where_nobody_can_confirm(tmp_path: Path, short_home: Path) -> None:
    """A real plan on this machine, in directories of the test's own."""
    (tmp_path / "weights.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    home = short_home
    words = ("up", "ollama", "--user", "--model", "./weights.gguf", "--port", "39117", "--archive", "ollama.tgz")
    (tmp_path / "ollama.tgz").write_bytes(b"an archive that is never unpacked")
    ran = deployctl(*words, cwd=tmp_path, HOME=str(home))
    assert (ran.status, "add --yes" in ran.err) == (2, True), ran.err
    assert "changes" in ran.out
    ran = deployctl(*words, "--json", cwd=tmp_path, HOME=str(home))
    assert (ran.status, ran.document["error"]["remedy"]) == (2, "add --yes")
    assert [path for path in home.rglob("*") if "deployctl" in str(path.relative_to(home)) and path.is_file()] == []


def test_where_nothing_is_deployed_commands_say_so(tmp_path: Path) -> None:
    status = deployctl("status", "--user", cwd=tmp_path, HOME=str(tmp_path))
    assert (status.status, status.out) == (0, "local: nothing is deployed\n")
    down = deployctl("down", "vllm", "--user", cwd=tmp_path, HOME=str(tmp_path))
    assert (down.status, down.out) == (0, "vllm on local: nothing to take down\n")
    logs = deployctl("logs", "vllm", "--user", cwd=tmp_path, HOME=str(tmp_path))
    assert logs.status == 4
    assert "vllm is not deployed on local" in logs.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["spec", "inventory"])
def test_schema_is_json_schema_and_accepts_the_examples(tmp_path: Path, what: str) -> None:
    schema = deployctl("schema", what, cwd=tmp_path, guarded=True).document
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    folder = ROOT / "inventories"
    files = sorted((folder / "specs").glob("*.yaml") if what == "spec" else folder.glob("*.yaml"))
    assert files
    for file in files:
        found = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
        assert [error.message for error in validator(schema).iter_errors(json.loads(json.dumps(found)))] == []


def test_hosts_list_shows_the_example_inventory(tmp_path: Path) -> None:
    words = ("hosts", "list", "--inventory", str(ROOT / "inventories" / "example.yaml"))
    ran = deployctl(*words, cwd=tmp_path, guarded=True)
    assert ran.status == 0, ran.err
    found = deployctl(*words, "--json", cwd=tmp_path, guarded=True).document
    assert found["hosts"]
    for host in found["hosts"]:
        assert host["name"] in ran.out
    only = deployctl(*words, "--host", found["hosts"][0]["name"], "--json", cwd=tmp_path, guarded=True).document
    assert [host["name"] for host in only["hosts"]] == [found["hosts"][0]["name"]]


@pytest.mark.parametrize(
    "words", [("schema",), ("version",), ("render", "vllm"), ("render", "vllm", "--json")], ids=str
)
def test_a_reader_that_leaves_is_no_failure(tmp_path: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", *words],
        cwd=tmp_path,
        env=VARIABLES,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", SPEC_OPTIONS, ids=lambda option: option.flag)
def test_every_spec_option_names_a_key_that_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, option: SpecOption
) -> None:
    """A key that is spelled wrong would be refused as unknown, whatever its value."""
    monkeypatch.chdir(tmp_path)
    value = [] if option.kind is bool else ["1"]
    for runtime in option.runtimes:
        with pytest.raises(SystemExit) as ended:
            cli(["render", runtime, option.flag.split("/")[0], *value])
        err = capsys.readouterr().err
        assert ended.value.code in (0, 2, 4)
        assert "unknown key" not in err


WORDS = st.one_of(
    st.sampled_from([word for verb in verbs() for word in verb]),
    st.sampled_from([option.flag.split("/")[0] for option in SPEC_OPTIONS]),
    st.sampled_from(["--json", "--set", "--config", "--templates", "--out", "--vram", "--inventory", "-v", "--", "-"]),
    st.sampled_from(["vllm.env={}", "sampling=null", "vllm=[]", "hosts=[]", "model.source=", "vllm.max_model_len=1e9"]),
    st.text(st.characters(exclude_characters="\0"), max_size=12),
)
SAFE = ("render", "version", "schema")
"""Verbs that touch no host, whatever follows."""


@given(st.sampled_from(SAFE), st.lists(WORDS, max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_words_bring_it_to_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, words: list[str]
) -> None:
    """In this process, since a start for each would take minutes."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli([verb, *words])
    out, err = capsys.readouterr()
    assert ended.value.code in (0, 1, 2, 4)
    assert "internal" not in err
    assert "Traceback" not in err
    if "--json" in words and ended.value.code and verb != "schema" and "--" not in words:
        assert json.loads(out)["error"]["exit_code"] == ended.value.code


@pytest.mark.parametrize(
    "words", [(b"up", b"\xff"), (b"render", b"vllm", b"--served-name", b"\xff\xfe", b"--json")], ids=str
)
def test_bytes_that_are_no_text_are_no_traceback(tmp_path: Path, words: tuple[bytes, ...]) -> None:
    ran = deployctl(*words, cwd=tmp_path)
    assert ran.status == 2
    assert "Traceback" not in ran.err

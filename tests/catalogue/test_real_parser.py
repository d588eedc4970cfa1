"""The tables against the real parser, where DEPLOYCTL_TEST_VLLM_PYTHON names a Python that has vLLM."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.runtimes.vllm_args import parse
from orchestrator.spec.catalogue import DATA
from tests.catalogue.test_vllm_args import BAD, GOOD

HERE = Path(__file__).parent
PYTHON = os.environ.get("DEPLOYCTL_TEST_VLLM_PYTHON", "")

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not PYTHON, reason="DEPLOYCTL_TEST_VLLM_PYTHON names no Python with vLLM"),
]


def run(script: str, data: object = None) -> str:
    environment = {
        **os.environ,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [PYTHON, str(HERE / script)]
    done = subprocess.run(command, input=json.dumps(data), capture_output=True, text=True, env=environment, check=True)
    return done.stdout


def test_the_table_is_what_the_parser_says() -> None:
    output = run("dump_options.py")
    real = json.loads(output[output.index("{\n") :])
    table = json.loads((DATA / f"vllm-serve-{real['version']}.json").read_text())
    assert table == real


def test_the_parser_agrees_on_what_is_good_and_bad_and_on_what_it_means() -> None:
    version = json.loads((output := run("dump_options.py"))[output.index("{\n") :])["version"]
    lists = [words for words, _ in GOOD + BAD if words != ["--"]]  # argparse drops a lone --
    ours = [read(words, version) for words in lists]
    asked = [["/model", *words] for words in [*lists, *(one or [] for one in ours)]]
    theirs = json.loads(run("parse_cases.py", asked).splitlines()[-1])
    for words, one, given, again in zip(lists, ours, theirs[: len(lists)], theirs[len(lists) :], strict=True):
        assert (one is None) == (given is None), words
        assert one is None or given == again, words


def read(words: list[str], version: str) -> list[str] | None:
    try:
        return [word for argument in parse(words, version) for word in argument.words]
    except UsageError:
        return None

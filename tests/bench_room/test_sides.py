"""An engine asked on its host: Ollama (the double, or the one that DEPLOYCTL_TEST_OLLAMA names), over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.bench.measure import measure
from orchestrator.bench.result import Load
from orchestrator.bench.sides import Side, questions
from orchestrator.bench.target import Target
from orchestrator.errors import DeployError
from orchestrator.hosts.local import LocalHost
from orchestrator.progress import Quiet
from tests.doubles.gguf import write_gguf
from tests.doubles.ollama.running import GGUF, Ollama, free_port, install

MODELFILE = """FROM {gguf}
SYSTEM You count.
PARAMETER num_ctx 512
PARAMETER temperature 0.5
PARAMETER repeat_penalty 1.05
PARAMETER stop "<|im_end|>"
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("ollama")
    (folder / "home").mkdir()
    ollama = Ollama(install(folder), folder / "home")
    gguf = Path(GGUF) if GGUF else write_gguf(folder / "tiny.gguf")
    with ollama.serve():
        created = ollama.create("tiny", MODELFILE.format(gguf=gguf))
        assert created.returncode == 0, created.stderr
        yield Target("it", f"http://127.0.0.1:{ollama.port}/v1", "tiny", host=LocalHost(), runtime="ollama")


def test_its_settings_are_those_of_its_model(target: Target):
    assert target.host
    found = Side(target, target.host, ()).settings()
    assert found.system == "You count." and found.stop == ("<|im_end|>",)
    assert found.said == {"temperature": 0.5, "repetition_penalty": 1.05}
    assert found.sampling["temperature"] == 1.0, "over /v1"


def test_it_answers_the_same_question_the_same(target: Target):
    assert target.host
    side = Side(target, target.host, ())
    first, second = (side.say(questions()[0][0]) for _ in range(2))
    assert first == second and first.text and first.prompt_tokens


def test_it_is_measured_with_its_own_counts(target: Target):
    load = Load(concurrency=(1, 4), requests=8, output_tokens=6, prompts="stories/1")
    found = measure(target, load, by="me", progress=Quiet())
    assert [level.errors for level in found.levels] == [{}, {}]
    assert all(0 < level.output_tokens <= 48 and level.counted_by == "usage" for level in found.levels)


def test_a_model_that_is_not_there_and_nobody_at_all(target: Target):
    host = LocalHost()
    with pytest.raises(DeployError) as failure:
        Side(Target("it", target.url, "nope", host=host, runtime="ollama"), host, ()).settings()
    assert "nope" in failure.value.why and failure.value.remedy == "deployctl logs it"
    nobody = Target("it", f"http://127.0.0.1:{free_port()}/v1", "tiny", host=host, runtime="vllm")
    with pytest.raises(DeployError) as failure:
        Side(nobody, host, ()).say("?")
    assert "refused" in failure.value.why.lower()

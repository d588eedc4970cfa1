"""`make demo`, as somebody who has just cloned the repository runs it: to an answer, again, and away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.lab import cache
from tests.lab.machines import free_port

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parent.parent.parent


class Demo:
    """The demo in a home of its own. What pip downloads is kept between runs of the tests."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()

    def make(self, target: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "DEPLOYCTL_"))}
        own = {"HOME": str(self.home), "DEMO_PORT": str(self.port), "PIP_CACHE_DIR": str(cache.folder() / "pip")}
        words = ["make", "--no-print-directory", target, f"PYTHON={sys.executable}"]
        return subprocess.run(
            words, cwd=ROOT, env={**kept, **own, "PYTHON": sys.executable}, capture_output=True, text=True, check=False
        )

    @property
    def key(self) -> str:
        """What its user sees when he asks for the key."""
        program = self.home / ".cache" / "deployctl-demo" / "venv" / "bin" / "deployctl"
        words = [str(program), "keys", "show", "demo", "--user"]
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.strip()

    @property
    def processes(self) -> list[str]:
        """Command lines of processes that run from its home."""
        lines = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it has just ended
                continue
        return [line for line in lines if str(self.home) in line]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("home"))
    yield demo
    demo.make("demo-down")


@pytest.mark.timeout(1500)
def test_from_nothing_to_an_answer(demo: Demo) -> None:
    run = demo.make("demo")
    assert run.returncode == 0, run.stdout + run.stderr
    said = run.stdout
    assert "answer: The capital of France is Paris." in said
    assert "✓ makes sense" in said
    assert f"endpoint  http://127.0.0.1:{demo.port}/v1" in said
    assert f"curl http://127.0.0.1:{demo.port}/v1/chat/completions" in said
    assert '-H "Authorization: Bearer $(deployctl keys show demo --user)"' in said
    assert f"key       {demo.key}" in said and said.count(demo.key) == 1
    assert said.partition("== asking: ")[2].partition("\n")[2].strip()  # the question's answer


def test_its_endpoint_answers_the_official_client(demo: Demo) -> None:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{demo.port}/v1", api_key=demo.key)
    (model,) = client.models.list().data
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = client.chat.completions.create(model=model.id, messages=question, max_tokens=24, temperature=0)  # type: ignore[arg-type]
    assert "Paris" in (answer.choices[0].message.content or "")


def test_again_changes_nothing_and_the_curls_that_it_prints_work_as_they_are(demo: Demo) -> None:
    before = [line for line in demo.processes if "api_server" in line]
    run = demo.make("demo")
    assert run.returncode == 0, run.stdout + run.stderr
    line = run.stdout[run.stdout.index("  curl ") : run.stdout.index("\n  next")].strip()
    last = run.stdout.rstrip().rpartition("\n")[2].strip()
    assert last.startswith("curl ")
    program = f"{demo.home}/.cache/deployctl-demo/venv/bin"
    for curl, path, answer in (
        (line, f"{program}:{os.environ['PATH']}", '"chat.completion"'),
        (last, os.environ["PATH"], '"list"'),
    ):
        env = {"HOME": str(demo.home), "PATH": path}
        asked = subprocess.run(["sh", "-c", f"{curl} -fsS"], env=env, capture_output=True, text=True, check=False)
        assert answer in asked.stdout, asked
    assert "demo on local: nothing to change" in run.stdout
    assert [line for line in demo.processes if "api_server" in line] == before


def test_down_leaves_nothing(demo: Demo) -> None:
    run = demo.make("demo-down")
    assert run.returncode == 0, run.stdout + run.stderr
    assert demo.processes == []
    assert [path for path in demo.home.rglob("*") if path.is_file() and "deployctl" in str(path)] == []
    with pytest.raises(openai.APIConnectionError):
        openai.OpenAI(base_url=f"http://127.0.0.1:{demo.port}/v1", api_key="none", max_retries=0).models.list()

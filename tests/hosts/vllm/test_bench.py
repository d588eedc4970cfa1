"""`bench` and `parity` on the real vLLM beside Ollama, over SSH: held against vLLM's own numbers of the same run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.docs.schemas import closed
from tests.doubles.ollama.archive import make_archive
from tests.doubles.ollama.running import OFFICIAL
from tests.hosts.support import BEHIND, Run
from tests.hosts.vllm.conftest import HOST, SMALL, Box
from tests.lab.images import VLLM_VERSION
from tests.lab.lab import VLLM_IN_MACHINES

pytestmark = [pytest.mark.hosts, pytest.mark.vllm]

STATE = "/var/lib/deployctl/deployments/vllm"
COUNTERS = ("time_to_first_token_seconds_sum", "time_to_first_token_seconds_count", "generation_tokens_total")


@pytest.fixture(scope="module")
def both(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Both runtimes, from one spec with a system prompt."""
    archive = Path(OFFICIAL) if OFFICIAL else make_archive(tmp_path_factory.mktemp("archive") / "ollama.tar.zst").path
    engine = {"device": "cpu", "runner": "container", "image": VLLM_IN_MACHINES, "version": VLLM_VERSION}
    spec = {
        "hosts": [HOST],
        "model": {"source": str(box.gguf)},
        "ollama": {"archive": str(archive), "model_name": "smol", "context": 2048, "num_parallel": 4},
        "vllm": {**engine, **SMALL},
    }
    file = box.deployctl.home / "deployctl.yaml"
    file.write_text(json.dumps(spec, indent=2))  # JSON is YAML
    yield box.deployctl("up", "--yes", "--json").ended(0)
    box.down("--purge")
    file.unlink()


def bench(box: Box, *words: str, status: int = 0) -> dict[str, Any]:
    """`deployctl bench` as its document, held against its schema."""
    document = box.deployctl("bench", *words, "--host", HOST, "--json").ended(status).json()
    jsonschema.validate(document, closed(document["schema"]))
    return dict(document)


def counters(box: Box) -> dict[str, float]:
    """vLLM's own numbers."""
    text = box.machine.exec(f"curl -fsS http://127.0.0.1:{BEHIND['vllm']}/metrics")
    found = {name: re.search(rf"^vllm:{name}\{{[^}}]*\}} (\S+)", text, re.MULTILINE) for name in COUNTERS}
    return {name: float(match[1]) for name, match in found.items() if match}


def test_its_numbers_are_vllms_own(box: Box, both: Run):
    before = counters(box)
    # Fifty at once wait for seconds in vLLM; what the way there adds on a busy machine is little beside that.
    found = bench(box, "vllm", "--concurrency", "50", "--requests", "50", "--output-tokens", "16", "--warmup", "0")
    after = counters(box)
    (measured,) = found["measurements"]
    seen = {name: after[name] - before[name] for name in COUNTERS}
    (level,) = measured["levels"]
    assert (level["requests"], level["succeeded"], level["errors"]) == (50, 50, {})
    assert level["output_tokens"] == seen["generation_tokens_total"]
    assert seen["time_to_first_token_seconds_count"] == 50
    mean = seen["time_to_first_token_seconds_sum"] / 50
    assert level["ttft_s"]["mean"] == pytest.approx(mean, rel=0.05)


def test_fifty_streams_leave_the_client_at_ease_and_that_is_printed(box: Box, both: Run):
    run = box.deployctl("bench", "vllm", "--host", HOST, "--concurrency", "50", "--output-tokens", "16").ended(0)
    busy = re.search(r"generator (\d+)% of a core, tunnel (\d+)%, its loop late by ([\d.]+) ms", run.stdout)
    assert busy and int(busy[1]) < 70 and int(busy[2]) < 70, run
    assert re.search(r"^ +50 +50 +0 ", run.stdout, re.MULTILINE), run
    assert "GPU: no memory, use or energy: the host has no nvidia-smi" in run.stdout
    assert "through the SSH connection" in run.stdout and "this side was busy" not in run.stdout


def test_the_result_lies_beside_its_generation(box: Box, both: Run):
    (name,) = box.machine.exec(f"ls {STATE}/bench").split()
    kept = json.loads(box.machine.exec(f"cat {STATE}/bench/{name}"))
    assert kept["generation"] == int(name.removesuffix(".json")) == box.status()["vllm"]["generation"]
    assert kept["levels"][0]["concurrency"] == 50 and kept["way"] == "ssh" and kept["summary"]["device"] == "cpu"
    assert box.status()["vllm"]["drift"] == [], "a result is no change"


def test_both_are_compared_in_one_report(box: Box, both: Run):
    found = bench(box, "compare", "ollama", "vllm", "--concurrency", "1,8", "--output-tokens", "24")
    assert [item["target"] for item in found["measurements"]] == ["ollama", "vllm"]
    assert all(level["errors"] == {} for item in found["measurements"] for level in item["levels"])
    page = (box.deployctl.home / "benchmark" / "report.html").read_text()
    assert "ollama on gpu01" in page and "vllm on gpu01" in page and "<svg" in page
    assert (box.deployctl.home / "benchmark" / "report.png").stat().st_size > 10_000


def test_parity_tells_what_the_spec_makes_different(box: Box, both: Run):
    run = box.deployctl("parity", "ollama", "vllm", "--host", HOST, "--exit-code", "--json").ended(7)
    found = run.json()
    jsonschema.validate(found, closed("deployctl.parity/1"))
    named = {item["name"]: item for item in found["differences"]}
    assert "named SmolLM" in named["system prompt"]["second"], "the template brings one"
    assert named["temperature"]["first"].startswith("1 (told 0.5)")
    ollama, vllm = found["sides"]
    assert vllm["sampling"]["temperature"] == 0.5 and vllm["sampling"]["top_k"] == ollama["sampling"]["top_k"] == 20
    assert "<|im_start|>user\nHello!" in vllm["rendered"] and "messages" in vllm["template"]
    assert any("Paris" in item["second"] for item in found["answers"])
    told = box.deployctl("parity", "ollama", "vllm", "--host", HOST).ended(0).stdout
    assert "greedy answers are the same" in told and "why: " in told and "→ " in told


def test_a_generation_that_is_slower_fails_the_gate(box: Box, both: Run):
    load = ("vllm", "--concurrency", "6", "--requests", "12", "--output-tokens", "24", "--gate", "30%")
    assert bench(box, *load)["compared"] == [], "nothing was measured before"
    box.deployctl("up", "vllm", "--max-num-seqs", "1", "--yes", "--json").ended(0)
    slower = bench(box, *load, status=1)
    (compared,) = slower["compared"]
    assert compared["generation"] > compared["before"]
    (error,) = slower["errors"]
    assert "slower than its generation" in error["what"] and "output tokens/s" in error["why"]
    assert "deployctl rollback vllm" in error["remedy"]
    box.deployctl("rollback", "vllm", "--host", HOST, "--yes").ended(0)
    bench(box, *load)


def test_no_tunnel_and_no_generator_stays(box: Box, both: Run):
    assert box.machine.exec("pgrep -xc nvidia-smi || true").strip() == "0"
    assert box.machine.exec("ss -Htn state established '( sport = :5000 )' | wc -l").strip() == "0"

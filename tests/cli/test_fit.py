"""``deployctl fit`` as a user has it: on a Hub of this machine, local files, and machines assumed or real."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.run import VARIABLES, Ran, deployctl
from tests.docs.pages import blocks
from tests.docs.schemas import closed
from tests.doubles.gguf import qwen_14b, write_gguf
from tests.doubles.hub import FakeHub, Sparse
from tests.lab.models import GEMMA3, fetch
from tests.models.test_safetensors import safetensors

REPO = "lmstudio-community/Qwen2.5-14B-Instruct-GGUF"
MODEL = f"hf:{REPO}:Q4_K_M"
SIZES = {
    "Q2_K": 5_770_498_176, "IQ4_XS": 8_185_925_760, "Q5_K_M": 10_508_873_856, "Q6_K": 12_124_684_416,
    "Q8_0": 15_701_598_336,
}  # fmt: skip
"""Bytes of the published files."""


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    files = {"Qwen2.5-14B-Instruct-Q4_K_M.gguf": Sparse(*qwen_14b(size=8_984_954_848))}
    files |= {f"Qwen2.5-14B-Instruct-{quant}.gguf": Sparse(b"", size) for quant, size in SIZES.items()}
    files["Qwen2.5-0.5B-Draft-Q8_0.gguf"] = Sparse(b"", 500_000_000)
    with FakeHub(cdn=True) as hub:
        hub.add_repo(REPO, files)
        hub.add_repo("acme/safe", dense())
        yield hub


def dense() -> dict[str, bytes | Path | Sparse]:
    """Qwen2.5-0.5B's shape in two shards of bf16."""
    config = {
        "model_type": "qwen2", "num_hidden_layers": 24, "hidden_size": 896, "num_attention_heads": 14,
        "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936, "max_position_embeddings": 32768,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    }  # fmt: skip
    size = 494_000_000
    tensor = {"w": {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}
    head = safetensors(tensor, 0)
    shard = Sparse(head, len(head) + size)
    return {
        "config.json": json.dumps(config).encode(),
        "model-00001-of-00002.safetensors": shard,
        "model-00002-of-00002.safetensors": shard,
    }


@pytest.fixture
def fit(hub: FakeHub, tmp_path: Path):
    def run(*words: str) -> Ran:
        return deployctl("fit", *words, cwd=tmp_path, HF_ENDPOINT=hub.url, HOME=str(tmp_path))

    return run


def outlooks(ran: Ran) -> dict[str, dict[str, Any]]:
    """What each runtime makes of the model on the first machine."""
    return {one["estimate"]["runtime"]: one for one in ran.document["targets"][0]["outlooks"]}


def largest(outlook: dict[str, Any]) -> dict[int, int]:
    return {one["parallel"]: one["context_tokens"] for one in outlook["largest"]}


def test_the_worked_example(fit) -> None:
    """vLLM holds 24576 tokens on a card of 16 GB; Ollama holds them with one slot and not with two."""
    ran = fit(MODEL, "--vram", "16GiB", "--json")
    found = outlooks(ran)
    assert ran.status == 0
    assert found["vllm"]["estimate"]["verdict"] == "fits"
    assert largest(found["vllm"])[1] >= 24576
    assert found["vllm"]["estimate"]["concurrency_low"] >= 1
    assert found["ollama"]["estimate"]["verdict"] == "fits"
    assert largest(found["ollama"])[1] >= 24576 > largest(found["ollama"])[2] > 0
    assert ran.document["model"]["weights_bytes"] == 8_982_142_976
    assert ran.document["model"]["read_bytes"] < 10_000_000


def test_what_has_changed_since_is_said(fit) -> None:
    said = " ".join(fit(MODEL, "--vram", "16GiB").out.split())
    assert "Ollama before November 2025 counted 15943 MiB for this and left about 4 % on the CPU" in said
    assert "--gpu-mem 1.0 means all that is free" in said
    assert "(24576 fit for 1 request, not for 2)" in said
    assert "before November" not in fit(MODEL, "--vram", "16GiB", "--no-flash-attention").out  # another case


def test_two_slots_spill(fit) -> None:
    ran = fit(MODEL, "--vram", "16GiB", "--parallel", "2", "--runtime", "ollama", "--json")
    estimate = outlooks(ran)["ollama"]["estimate"]
    assert (ran.status, estimate["verdict"], estimate["parallel"]) == (4, "spills", 2)
    assert 0 < estimate["cpu_percent"] < 100
    levers = {lever["setting"] for lever in outlooks(ran)["ollama"]["levers"]}
    assert {"kv_cache_type", "num_parallel", "context"} <= levers


@pytest.mark.parametrize("words", [("--vram", "16GiB"), ("--gpu", "rtx 3060 12gb", "--gpus", "2"), ("--host", "local")])
def test_the_document_is_as_published(fit, words: tuple[str, ...]) -> None:
    ran = fit(MODEL, *words, "--json")
    jsonschema.validate(ran.document, closed("deployctl.fit/1"))
    assert ran.document["exit_code"] == ran.status
    assert ran.document["errors"] == []


def test_one_header_is_read_for_all_quantizations(fit, hub: FakeHub) -> None:
    before = len(hub.records)
    ran = fit(f"hf:{REPO}", "--gpu", "RTX 4060 Ti 16GB", "--json")
    asked = {record.path.rpartition("/")[2] for record in hub.records[before:] if record.is_download}
    assert asked == {"Qwen2.5-14B-Instruct-Q4_K_M.gguf"}
    assert sum(record.sent for record in hub.records[before:]) < 10_000_000
    assert len([record for record in hub.records[before:] if record.path.startswith("/api/models/")]) == 1
    found = {one["quant"]: one for one in ran.document["quantizations"]}
    assert list(found) == ["Q2_K", "IQ4_XS", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"]  # by size, and no other model's
    assert [quant for quant, one in found.items() if one["exact"]] == ["Q4_K_M"]
    assert found["Q8_0"]["bits_per_weight"] == pytest.approx(8.5, abs=0.02)
    contexts = [one["outlooks"][0]["context_tokens"] for one in found.values()]
    assert contexts == sorted(contexts, reverse=True)
    assert found["Q8_0"]["outlooks"][1]["verdict"] == "does not fit"
    assert ran.status == 0


def test_the_table_says_what_is_by_size_alone(fit) -> None:
    lines = fit(f"hf:{REPO}", "--gpu", "RTX 4060 Ti 16GB").out.splitlines()
    rows = {line.split()[0]: line for line in lines if re.match(r"I?Q\d", line)}
    assert rows["Q4_K_M"].split("  ")[-1].strip().startswith("fits, up to")
    assert "~does not fit" in rows["Q8_0"]
    assert lines[-1] == "~ by the size of the file: one header was read"


def test_nothing_of_a_repository_that_fits_is_exit_4(fit) -> None:
    ran = fit(f"hf:{REPO}", "--vram", "4GiB")
    assert ran.status == 4
    assert "spills" in ran.out


def test_a_quantization_may_be_named_beside(fit) -> None:
    assert fit(f"hf:{REPO}", "--quant", "Q4_K_M", "--vram", "16GiB").out.startswith(f"{MODEL}\n")
    ran = fit(MODEL, "--quant", "Q8_0", "--vram", "16GiB")
    assert (ran.status, "--quant chooses from a repository" in ran.err) == (2, True)


def test_safetensors_are_vllm_s(fit) -> None:
    ran = fit("hf:acme/safe", "--vram", "16GiB", "--json")
    assert (ran.status, list(outlooks(ran))) == (0, ["vllm"])
    assert ran.document["model"]["weights_bytes"] == 988_000_000
    assert ran.document["model"]["parameters"] == 494_000_000
    ran = fit("hf:acme/safe", "--vram", "16GiB", "--runtime", "ollama")
    assert (ran.status, "Ollama serves GGUF" in ran.err) == (2, True)


def test_a_local_model_on_this_machine(fit, tmp_path: Path) -> None:
    """A real one: neither hashed nor sent anywhere."""
    ran = fit(str(fetch(GEMMA3)), "--vram", "8GiB", "--json")
    assert ran.status == 0
    assert ran.document["model"]["architecture"] == "gemma3"
    assert ran.document["model"]["read_bytes"] == 0
    path = write_gguf(tmp_path / "tiny.gguf", context_length=2048)
    ran = fit(str(path), "--host", "local", "--json")
    assert ran.status == 0
    assert {one["estimate"]["context_tokens"] for one in outlooks(ran).values()} == {2048}
    assert ran.document["targets"][0]["ram_total_bytes"] > 0


def test_an_unknown_architecture_is_never_a_firm_yes(fit, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "new.gguf", architecture="brandnew")
    ran = fit(str(path), "--vram", "80GiB")
    assert ran.status == 0
    assert "estimate only: the architecture brandnew is not known" in ran.out
    assert "tight (estimate only)" in ran.out
    assert not re.search(r": fits,", ran.out)


def test_a_model_s_own_words_move_no_cursor(fit, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "evil.gguf", architecture="evil\x1b[2J\r\nollama: fits")
    ran = fit(str(path), "--vram", "16GiB")
    assert ran.status == 0
    assert "evil\N{REPLACEMENT CHARACTER}[2J" in ran.out
    assert not set("\x1b\r") & set(ran.out + ran.err)


def test_what_is_free_counts_and_not_what_there_is(fit) -> None:
    ran = fit(MODEL, "--vram", "16GiB", "--free", "12GiB", "--json")
    assert ran.status == 4
    assert ran.document["targets"][0]["cards"] == [{"name": "GPU", "total_mib": 16384, "free_mib": 12288}]
    assert outlooks(ran)["ollama"]["estimate"]["verdict"] == "spills"
    assert outlooks(ran)["vllm"]["estimate"]["verdict"] == "does not fit"


def test_a_type_of_the_kv_cache_is_for_its_runtime(fit) -> None:
    plain = outlooks(fit(MODEL, "--vram", "16GiB", "--json"))
    small = outlooks(fit(MODEL, "--vram", "16GiB", "--kv-cache-dtype", "q8_0", "--json"))
    both = outlooks(fit(MODEL, "--vram", "16GiB", "--kv-cache-dtype", "q8_0", "--kv-cache-dtype", "fp8", "--json"))

    def cache(found: dict[str, dict[str, Any]], runtime: str) -> int:
        return found[runtime]["estimate"]["kv_request_bytes"]

    assert cache(small, "ollama") == cache(plain, "ollama") * 34 // 64
    assert cache(small, "vllm") == cache(plain, "vllm") == 2 * cache(both, "vllm")


def test_the_levers_that_are_named_can_be_tried(fit) -> None:
    def verdicts(*words: str) -> dict[str, int]:
        found = outlooks(fit(MODEL, "--vram", "16GiB", "--json", *words))
        return {runtime: one["estimate"]["need_high_bytes"] for runtime, one in found.items()}

    plain = verdicts()
    assert verdicts("--enforce-eager")["vllm"] < plain["vllm"]
    assert verdicts("--max-num-seqs", "16")["vllm"] < plain["vllm"]
    assert verdicts("--max-num-batched-tokens", "8K")["vllm"] > plain["vllm"]
    assert verdicts("--no-flash-attention")["ollama"] > plain["ollama"]
    assert verdicts("--context", "8K")["ollama"] < plain["ollama"]


def test_a_host_that_is_not_there_is_exit_3(fit) -> None:
    ran = fit(MODEL, "--host", "nobody@127.0.0.1:9", "--json")
    assert ran.status == 3
    assert ran.document["targets"] == []
    assert ran.document["errors"][0]["exit_code"] == 3


WRONG = {
    "no size": ("--vram", "16"),
    "a size that is none": ("--vram", "lots"),
    "a GPU that is not known": ("--gpu", "Voodoo 2"),
    "a GPU that is made with several memories": ("--gpu", "RTX 4060 Ti"),
    "two GPUs": ("--gpu", "T4", "--vram", "16GiB"),
    "a GPU and a host": ("--vram", "16GiB", "--host", "local"),
    "free of nothing": ("--free", "1GiB"),
    "more free than there is": ("--vram", "16GiB", "--free", "17GiB"),
    "no memory at all": ("--vram", "0GiB"),
    "two types of the cache": ("--vram", "16GiB", "--kv-cache-dtype", "q8_0", "--kv-cache-dtype", "q4_0"),
    "another runtime's type of the cache": ("--vram", "16GiB", "--runtime", "vllm", "--kv-cache-dtype", "q8_0"),
    "a context that is none": ("--vram", "16GiB", "--context", "0"),
    "a context beyond all bounds": ("--vram", "16GiB", "--context", "99999999T"),
    "no requests": ("--vram", "16GiB", "--parallel", "0"),
    "no GPUs": ("--vram", "16GiB", "--gpus", "0"),
}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_what_is_typed_wrong_is_told_before_anybody_is_asked(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = deployctl("fit", MODEL, *words, cwd=tmp_path, guarded=True)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.strip()
    assert "Traceback" not in ran.err


def test_the_remedy_names_the_cards_that_come_close(fit) -> None:
    assert "RTX 4060 Ti 8GB, RTX 4060 Ti 16GB" in fit(MODEL, "--gpu", "nvidia geforce rtx4060ti").err


def test_the_guide_shows_what_is_printed(fit) -> None:
    shown = [block.text for block in blocks("text")]
    assert fit(MODEL, "--vram", "16GiB").out in shown
    assert fit(f"hf:{REPO}", "--gpu", "RTX 4060 Ti 16GB").out in shown


def on_a_terminal(*words: str, hub: FakeHub, cwd: Path) -> str:
    """What a terminal shows of stdout and stderr."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", "fit", *words],
        cwd=cwd,
        env={**VARIABLES, "HF_ENDPOINT": hub.url, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # so Linux says that nobody writes any more
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert done.wait() == 0
    return shown.decode()


def test_colours_and_bars_are_for_terminals(hub: FakeHub, tmp_path: Path, fit) -> None:
    words = (MODEL, "--vram", "16GiB")
    painted = on_a_terminal(*words, hub=hub, cwd=tmp_path)
    plain = on_a_terminal(*words, "--no-color", hub=hub, cwd=tmp_path)
    piped = fit(*words)
    assert "\x1b[32m\x1b[1mfits" in painted
    assert "\x1b[" not in plain
    assert "\x1b[" not in piped.out + piped.err
    for text in (plain, piped.out):
        assert "█████" in text

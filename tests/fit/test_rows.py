"""Every measured figure that there is, against what is predicted for it."""

import statistics

import pytest

from orchestrator.fit import vllm
from orchestrator.fit.memory import GIB, MIB, Card, Machine, VllmSettings
from orchestrator.fit.ollama import CONTEXT_HIGH_MIB, CONTEXT_LOW_MIB
from orchestrator.fit.verdict import estimate
from orchestrator.fit.vllm_cache import cache
from tests.fit import configs, models, published, rows
from tests.fit.rows import Figure


def named(figure: Figure) -> str:
    return f"{figure.row} {figure.name}"


@pytest.mark.parametrize("figure", rows.figures(), ids=named)
def test_a_figure_is_predicted(figure: Figure) -> None:
    assert figure.holds, f"{figure.low:.0f}-{figure.high:.0f} {figure.unit} predicted, {figure.measured:.0f} measured"


def test_every_row_is_checked_or_has_a_reason() -> None:
    """Each published figure is either a case above, or in unchecked.csv with a reason, and not both."""
    for row in rows.read("memory_published.csv"):
        planned = row["source"].startswith("measured")
        checked = set(rows._plan(row) if planned else published.predictions(row))
        reasons = {entry["figure"] for entry in rows.unchecked_of(row) if len(entry["reason"]) > 20}
        assert checked or reasons
        assert set(rows.measured_of(row)) <= checked | reasons, row
        assert not checked & reasons, row


def test_every_reason_is_about_a_row() -> None:
    published_rows = rows.read("memory_published.csv")
    for entry in rows.read("unchecked.csv"):
        assert any(entry in rows.unchecked_of(row) for row in published_rows), entry


def test_caches_and_weights_of_llama_cpp_are_exact() -> None:
    """Half of them to the last bit that the figures show."""
    exact = [figure for figure in rows.figures() if figure.rule == "0.5 %" and "header" in figure.row]
    assert len(exact) > 40
    assert statistics.median(abs(figure.error) for figure in exact) < 0.02


def test_whole_processes_are_closer_than_they_must_be() -> None:
    errors = [abs(figure.error) for figure in rows.figures() if figure.name == "nvidia_smi_used_mib"]
    assert len(errors) == 14
    assert max(errors) < 0.5


@pytest.mark.parametrize(("seqs", "batched"), [(256, 2048), (256, 8192), (64, 2048), (1024, 8192)])
@pytest.mark.parametrize("version", ["0.23.0", "0.32.0"])
def test_the_range_on_a_small_card_is_narrow(seqs: int, batched: int, version: str) -> None:
    settings = VllmSettings(max_num_seqs=seqs, max_num_batched_tokens=batched, version=version)
    total = vllm.parts(models.qwen25_14b(), settings).total
    assert 0 < total.high - total.low <= 1.5 * GIB


def test_a_process_takes_what_was_seen_of_it() -> None:
    """245 MiB on an RTX 4060 Ti, 451 to 456 on RTX 4090s (llama.cpp#15860), 613 on an H200 after the first request."""
    assert CONTEXT_LOW_MIB <= 245 < 456 < 613 <= CONTEXT_HIGH_MIB


H200 = Card("H200", 143771, round(rows.H200_GIB * 1024))


def test_the_served_example_of_the_reference() -> None:
    """Qwen2.5-14B Q4_K_M in a budget of 15.98 GiB, with graphs and batches of 8192: 30448 tokens in vLLM's log."""
    asked = VllmSettings(24576, 1, 256, 8192, utilization=0.1143, version="0.23.0")
    found = estimate(models.qwen25_14b(), asked, Machine((H200,)))
    tokens = [room / found.kv_request_bytes * 24576 for room in (found.kv_low_bytes, found.kv_high_bytes)]
    assert tokens[0] <= 30448 <= tokens[1]
    assert found.kv_high_bytes - found.kv_low_bytes <= 1.5 * GIB


def test_the_longest_context_that_vllm_itself_worked_out() -> None:
    """Llama 3.1 8B with 131072 tokens: "16.0 GiB KV cache is needed … available … 6.04 GiB … 49440"."""
    blocks = cache(configs.llama31_8b(), VllmSettings())
    assert blocks.request_bytes(131072) == 16 * GIB
    room = round(6.04 * GIB)
    assert blocks.needed_bytes(49440, 1) <= room < blocks.needed_bytes(49440 + 2 * 16 + 1, 1)


def test_caches_of_real_servers_on_a_cpu() -> None:
    """vLLM 0.32: "auto" made 10112 tokens of 20 MiB for a tiny model; Gemma 3 270M got 7178 tokens in 64 MiB."""
    tiny = configs.shape(
        model_type="qwen2", layers=4, hidden=256, heads=4, kv=2, width=64, wide=512, vocabulary=1000, context=32768
    )
    blocks = cache(tiny, VllmSettings(), cpu=True)
    assert blocks.needed_bytes(10112, 1) <= 20 * MIB < blocks.needed_bytes(10113, 1)
    assert blocks.concurrency(20 * MIB, 10112) * 10112 == 10240
    windows = cache(models.gemma3_270m(), VllmSettings(4096, max_num_batched_tokens=1024), cpu=True)
    assert int(windows.concurrency(64 * MIB, 4096) * 4096) == 7178


def test_what_programs_see_of_a_card() -> None:
    """In their words: 139.80 GiB of an H200, 15.70 of an RTX 4060 Ti, 23.56 of an RTX 3090."""
    for total, seen in ((143771, 139.80), (16380, 15.70), (24576, 23.56)):
        assert abs(Card("x", total, total).usable_mib / 1024 - seen) < 0.02

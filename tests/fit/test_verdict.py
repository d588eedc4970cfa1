"""The worked example, and what the verdicts mean."""

from dataclasses import replace

import pytest

from orchestrator.fit.cards import card_named, idle_card
from orchestrator.fit.memory import GIB, MIB, Card, Machine, OllamaSettings, VllmSettings
from orchestrator.fit.past import wanted_bytes
from orchestrator.fit.shape import ModelShape
from orchestrator.fit.solve import adapted, largest, largest_context, levers
from orchestrator.fit.verdict import estimate
from tests.fit import configs, models
from tests.fit.models import flat

QWEN = models.qwen25_14b()
SIXTEEN = Machine((idle_card("16 GiB", 16384),), 64 * GIB, 56 * GIB)
CONTEXT = 24576


def machine(*free_mib: int, total: int = 16380, ram: int = 56 * GIB) -> Machine:
    return Machine(tuple(Card(f"card {index}", total, free, index) for index, free in enumerate(free_mib)), ram, ram)


class TestTheWorkedExample:
    """Qwen2.5-14B-Instruct, Q4_K_M, 16 GiB, 24576 tokens (the case that took the article by trial)."""

    def test_vllm_fits(self) -> None:
        found = estimate(QWEN, VllmSettings(CONTEXT, version="0.23.0"), SIXTEEN)
        assert found.verdict == "fits"
        assert found.concurrency_low >= 1

    def test_vllm_with_the_batches_of_the_article_is_told_what_to_change(self) -> None:
        asked = VllmSettings(CONTEXT, version="0.23.0", max_num_batched_tokens=8192)
        assert estimate(QWEN, asked, SIXTEEN).verdict == "tight"
        lever = next(lever for lever in levers(QWEN, asked, SIXTEEN) if lever.setting == "max_num_batched_tokens")
        assert lever.context_tokens >= CONTEXT
        assert lever.summary == f"max_num_batched_tokens 2048: {lever.context_tokens} tokens, +0.5 GiB"
        assert adapted(QWEN, asked, SIXTEEN, ("max_num_batched_tokens",)) == replace(asked, max_num_batched_tokens=2048)

    def test_ollama_fits_one_slot(self) -> None:
        found = estimate(QWEN, OllamaSettings(CONTEXT), SIXTEEN)
        assert (found.verdict, found.gpu_layers, found.cpu_percent) == ("fits", 49, 0)

    def test_ollama_does_not_fit_two_slots(self) -> None:
        found = estimate(QWEN, OllamaSettings(CONTEXT, parallel=2), SIXTEEN)
        assert found.verdict == "spills"
        assert 0 < found.cpu_percent < 50
        assert found.gpu_layers < 49
        assert any("49152 tokens" in note for note in found.notes)

    def test_it_says_what_changed_since(self) -> None:
        notes = estimate(QWEN, OllamaSettings(CONTEXT), SIXTEEN).notes
        said = next(note for note in notes if "November 2025" in note)
        assert "15943 MiB" in said
        assert "4 % on the CPU" in said
        assert "13925 MiB" in said

    def test_the_old_estimator_spilled_on_the_card_of_the_article(self) -> None:
        """It wanted 15944 MiB, and an idle RTX 4060 Ti has 15831 free after a CUDA context (ollama#10740)."""
        assert abs(wanted_bytes(QWEN, CONTEXT) / MIB - 15944) <= 1

    def test_nothing_is_said_where_nothing_changed(self) -> None:
        assert not estimate(QWEN, OllamaSettings(8192), SIXTEEN).notes
        assert not estimate(QWEN, OllamaSettings(CONTEXT), machine(24000, total=24564)).notes
        assert not estimate(models.llama31_8b(), OllamaSettings(CONTEXT), SIXTEEN).notes

    def test_without_flash_attention_it_fits_no_more_where_a_desktop_runs(self) -> None:
        """The plan of llama.cpp itself: `-ngl 46` with 15221 MiB free, all with 15831 (reference: 14778 MiB)."""
        off = OllamaSettings(CONTEXT, flash_attention=False)
        assert estimate(QWEN, off, machine(15221)).verdict == "spills"
        assert estimate(QWEN, OllamaSettings(CONTEXT), machine(15221)).verdict == "fits"

    def test_a_narrow_cache_and_a_small_reserve_are_offered(self) -> None:
        found = {lever.setting + lever.value: lever for lever in levers(QWEN, OllamaSettings(CONTEXT, 2), SIXTEEN)}
        assert found["kv_cache_typeq8_0"].context_tokens == 29952
        assert found["env LLAMA_ARG_FIT_TARGET512"].context_tokens > largest_context(
            QWEN, OllamaSettings(CONTEXT, 2), SIXTEEN
        )
        assert found["context16384"].summary == "context 16384: fits"

    def test_more_requests_get_less_each(self) -> None:
        found = largest(QWEN, OllamaSettings(CONTEXT), SIXTEEN)
        assert [item.parallel for item in found] == [1, 2, 4, 8]
        assert [item.context_tokens for item in found] == [32512, 16384, 8192, 4096]


def test_all_that_is_free_is_translated_and_said() -> None:
    found = estimate(QWEN, VllmSettings(8192), SIXTEEN)
    assert found.utilization == 0.944
    assert any("0.944" in note for note in found.notes)
    assert not estimate(QWEN, VllmSettings(8192, utilization=0.9), SIXTEEN).notes


def test_vllm_refuses_more_than_is_free() -> None:
    found = estimate(QWEN, VllmSettings(8192, utilization=1.0), SIXTEEN)
    assert found.verdict == "does not fit"
    assert any("more than is free" in note for note in found.notes)


def test_vllm_never_spills() -> None:
    assert estimate(QWEN, VllmSettings(8192), machine(8000)).verdict == "does not fit"


def test_vllm_refuses_a_context_beyond_the_model() -> None:
    found = estimate(QWEN, VllmSettings(65536), machine(80000, total=81559))
    assert found.verdict == "does not fit"
    assert any("trained for 32768" in note for note in found.notes)


def test_ollama_cuts_a_context_beyond_the_model() -> None:
    found = estimate(QWEN, OllamaSettings(65536), machine(80000, total=81559))
    assert found.context_tokens == 32768
    assert any("32768" in note for note in found.notes)


def test_tensor_parallel_needs_the_gpus_and_divides_the_heads() -> None:
    shape, large = configs.qwen25_7b(), machine(23000, 23000, 23000, total=24564)
    assert estimate(shape, VllmSettings(8192, tensor_parallel=4), large).verdict == "does not fit"
    odd = estimate(shape, VllmSettings(8192, tensor_parallel=3), large)
    assert any("cannot be divided" in note for note in odd.notes)
    both = estimate(shape, VllmSettings(8192, tensor_parallel=2), large)
    assert both.verdict == "tight"  # shared by several: an estimate only
    assert len(both.placed) == 2
    one = estimate(shape, VllmSettings(8192), large)
    assert both.kv_low_bytes > 2 * one.kv_low_bytes  # each has half of the weights


def test_a_gpu_less_offers_tensor_parallel_as_a_lever() -> None:
    shape, two = configs.qwen25_7b(), machine(16000, 16000)
    lever = next(lever for lever in levers(shape, VllmSettings(8192), two) if lever.setting == "tensor_parallel")
    assert lever.context_tokens > largest_context(shape, VllmSettings(8192), two)


def test_layers_are_split_over_gpus_that_are_too_small_alone() -> None:
    found = estimate(QWEN, OllamaSettings(CONTEXT), machine(9500, 9500, total=10240))
    assert found.verdict == "tight"
    assert [place.gpu for place in found.placed] == [0, 1]
    assert sum(place.layers for place in found.placed) == 49
    assert any("split over 2" in doubt for doubt in found.doubts)
    assert all(place.need_bytes <= place.free_bytes for place in found.placed)


def test_one_gpu_is_enough_where_one_is() -> None:
    found = estimate(QWEN, OllamaSettings(8192), machine(9000, 15900))
    assert [place.gpu for place in found.placed] == [1]
    assert found.verdict == "fits"


def test_what_spills_has_to_find_room_too() -> None:
    small = machine(8000, ram=2 * GIB)
    assert estimate(QWEN, OllamaSettings(CONTEXT), small).verdict == "does not fit"
    assert estimate(QWEN, OllamaSettings(CONTEXT), machine(8000)).verdict == "spills"


def test_a_cpu_is_checked_against_main_memory() -> None:
    cpu = Machine((), 24 * GIB, 19 * GIB)
    assert estimate(QWEN, OllamaSettings(8192), cpu).verdict == "fits"
    assert estimate(QWEN, OllamaSettings(CONTEXT, 4), cpu).verdict == "does not fit"
    small = models.gemma3_270m()
    served = estimate(small, VllmSettings(8192, cpu_kv_cache_bytes=GIB), cpu)
    assert served.verdict == "fits"
    assert served.parts[0].high_bytes == small.parameters * 2  # 16 bits
    assert estimate(QWEN, VllmSettings(8192), cpu).verdict == "does not fit"


def test_a_cpu_cache_that_is_too_small_for_one_request_is_said() -> None:
    found = estimate(models.llama31_8b(), VllmSettings(65536, cpu_kv_cache_bytes=GIB), Machine((), 0, 64 * GIB))
    assert found.verdict == "does not fit"
    assert any("8.0 GiB of KV cache" in note for note in found.notes)


@pytest.mark.parametrize(
    ("total", "parallel", "rss", "buffers"),
    [(512, 1, 313, 264), (2048, 1, 322, 279), (32768, 1, 424, 458), (131072, 4, 846, 982)],
)
def test_a_cpu_server_takes_what_was_seen(total: int, parallel: int, rss: int, buffers: int) -> None:
    """Ollama 0.33 with Gemma 3 270M on a CPU: resident memory, of which not all that is allocated is touched."""
    asked = OllamaSettings(total // parallel, parallel)
    found = estimate(models.gemma3_270m(), asked, Machine((), 32 * GIB, 19 * GIB))
    assert abs(found.need_high_bytes / MIB - 250 - buffers) <= 25
    assert found.need_high_bytes / MIB >= rss


@pytest.mark.parametrize(
    ("total", "batch"), [(512, 512), (2048, 512), (8192, 1024), (16384, 1024), (32768, 1024), (65536, 2048)]
)
def test_ollama_chooses_the_batch_by_the_context(total: int, batch: int) -> None:
    """As its server's command lines showed."""
    small = replace(models.gemma3_270m(), training_context=0)
    assert estimate(small, OllamaSettings(total), Machine((), 32 * GIB, 19 * GIB)).batch_tokens == batch


def test_ollama_steps_the_batch_down_where_memory_is_short() -> None:
    assert estimate(QWEN, OllamaSettings(CONTEXT), SIXTEEN).batch_tokens == 512
    assert estimate(QWEN, OllamaSettings(CONTEXT), machine(48000, total=49140)).batch_tokens == 1024


def test_heads_without_flash_attention_cost_more_and_allow_no_narrow_cache() -> None:
    """Keys of 120 elements: llama.cpp keeps all scores of a batch on a GPU, and does not start with q8_0."""
    odd, large = models.plain("llama", flat("Q4_K"), 24, 3840, 32, 8, 120, 10240, 32000), machine(22000, total=24564)
    usual = models.plain("llama", flat("Q4_K"), 24, 4096, 32, 8, 128, 10240, 32000)
    computes = [
        next(part.high_bytes for part in estimate(shape, OllamaSettings(32768), large).parts if part.name == "compute")
        for shape in (odd, usual)
    ]
    assert computes[0] > 5 * computes[1]
    found = estimate(odd, OllamaSettings(8192, kv_cache_type="q8_0"), large)
    assert found.verdict == "does not fit"
    assert any("heads of 120" in note for note in found.notes)
    assert not [lever for lever in levers(odd, OllamaSettings(32768), large) if lever.setting == "kv_cache_type"]
    assert estimate(odd, OllamaSettings(8192, kv_cache_type="q8_0"), Machine((), 0, 64 * GIB)).verdict == "fits"


@pytest.mark.parametrize(
    "shape",
    [models.deepseek_v2_lite(flat("Q4_K")), models.gemma3_12b(), models.gpt_oss_20b(flat("Q4_K")), QWEN],
    ids=["latent", "256", "64", "128"],
)
def test_usual_heads_have_flash_attention(shape: ModelShape) -> None:
    asked = OllamaSettings(4096, kv_cache_type="q8_0")
    assert estimate(shape, asked, machine(80000, total=81559)).verdict == "fits"


def test_ollama_serves_some_models_one_request_at_a_time() -> None:
    found = estimate(models.qwen35_27b(flat("Q4_K")), OllamaSettings(8192, 4), machine(48000, total=49140))
    assert found.parallel == 1
    assert any("one request at a time" in note for note in found.notes)


def test_a_model_that_is_not_known_is_never_a_firm_yes() -> None:
    odd = QWEN.doubting("the architecture zyx is not known: an upper bound")
    for asked in (OllamaSettings(4096), VllmSettings(4096)):
        found = estimate(odd, asked, machine(80000, total=81559))
        assert (found.verdict, found.certain) == ("tight", False)
        assert found.doubts


def test_a_projector_takes_its_size_and_more_reserve() -> None:
    seeing = replace(QWEN, projector_bytes=800 * MIB)
    plain, found = (estimate(shape, OllamaSettings(CONTEXT), SIXTEEN) for shape in (QWEN, seeing))
    assert found.need_high_bytes == plain.need_high_bytes + 800 * MIB
    assert found.reserve_bytes == plain.reserve_bytes + GIB
    assert plain.verdict == "fits"
    assert found.verdict in {"tight", "spills"}


def test_defaults_adapt_to_the_card() -> None:
    """What nobody set is made smaller until it starts: batches first, the context last."""
    asked = VllmSettings(32768, version="0.23.0", max_num_batched_tokens=8192)
    unset = ("max_num_batched_tokens", "max_num_seqs", "context_tokens")
    found = adapted(QWEN, asked, SIXTEEN, unset)
    assert estimate(QWEN, found, SIXTEEN).verdict == "fits"
    assert CONTEXT <= found.context_tokens < 32768
    assert found.max_num_batched_tokens == 2048
    slots = adapted(QWEN, OllamaSettings(8192, 4), machine(13000), ("parallel",))
    assert slots.parallel < 4


def test_a_card_is_known_by_its_name() -> None:
    found = estimate(QWEN, OllamaSettings(CONTEXT), Machine((card_named("rtx 4060ti 16 gb"),)))
    assert found.verdict == "fits"

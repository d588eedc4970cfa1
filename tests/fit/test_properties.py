"""What must hold for any model, machine and settings, however odd."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.fit.config_shape import shape_from_config
from orchestrator.fit.gguf_shape import KNOWN, shape_from_gguf
from orchestrator.fit.llamacpp import Server, buffers, partial
from orchestrator.fit.memory import GIB, MIB, Card, Estimate, Machine, OllamaSettings, Settings, VllmSettings
from orchestrator.fit.shape import ModelShape
from orchestrator.fit.solve import STEP, adapted, fits, largest_context, levers
from orchestrator.fit.verdict import estimate
from orchestrator.models.tensor import Tensor
from tests.fit import configs, models
from tests.fit.models import flat

MODELS: dict[str, Callable[[], ModelShape]] = {
    "dense": models.qwen25_14b,
    "windows": models.gemma3_12b,
    "experts": lambda: models.qwen3_30b_a3b(flat("Q4_K")),
    "experts and windows": lambda: models.gpt_oss_20b(flat("Q4_K")),
    "latent": lambda: models.deepseek_v2_lite(flat("Q4_K")),
    "delta net": lambda: models.qwen35_27b(flat("Q4_K")),
    "mamba": lambda: models.jamba(flat("Q4_K")),
    "config": configs.qwen25_7b,
    "config, windows": configs.gemma3_12b_text,
    "config, delta net": configs.qwen36_35b_a3b,
}
SHAPES = {name: build() for name, build in MODELS.items()}

shapes = st.sampled_from(sorted(SHAPES)).map(SHAPES.__getitem__)
contexts = st.integers(1, 300_000)
slots = st.integers(1, 64)
widths = ("f32", "f16", "q8_0", "q5_1", "q4_1", "q4_0")


def machine_of(free_mib: int, cards: int = 1) -> Machine:
    every = tuple(Card(f"card {index}", max(1, free_mib), max(0, free_mib), index) for index in range(cards))
    return Machine(every, 64 * GIB, 48 * GIB)


machines = st.builds(machine_of, st.integers(0, 200_000), st.integers(0, 4))


@given(shapes, contexts, contexts, slots, st.sampled_from(widths), st.booleans())
def test_llama_cpp_takes_more_for_more_context(
    shape: ModelShape, one: int, other: int, parallel: int, kind: str, attention: bool
) -> None:
    less, more = sorted((one, other))
    server = Server(less, parallel, kv_cache_type=kind, flash_attention=attention)
    assert buffers(shape, server).total <= buffers(shape, replace(server, total_tokens=more)).total


@given(shapes, contexts, slots, slots)
def test_llama_cpp_takes_more_for_more_slots(shape: ModelShape, context: int, one: int, other: int) -> None:
    """Each slot with as much context."""
    few, many = sorted((one, other))
    assert buffers(shape, Server(context * few, few)).total <= buffers(shape, Server(context * many, many)).total


@given(shapes, contexts, slots, st.sampled_from(widths), st.sampled_from(widths))
def test_wider_types_make_larger_caches(shape: ModelShape, context: int, parallel: int, one: str, other: str) -> None:
    wide, narrow = sorted((one, other), key=widths.index)
    found = [buffers(shape, Server(context, parallel, kv_cache_type=kind)).kv_cache for kind in (narrow, wide)]
    assert found[0] <= found[1]


@given(shapes, contexts, st.integers(0, 2000), st.integers(0, 2000))
def test_more_layers_on_the_gpu_take_more_of_it(shape: ModelShape, context: int, one: int, other: int) -> None:
    few, many = sorted((one, other))
    if many > len(shape.layers):  # all of them: then the buffers for a split are not needed
        many = len(shape.layers)
        few = min(few, many)
    held = [partial(shape, Server(context), layers) for layers in (few, many)]
    assert held[0].total <= held[1].total
    assert held[0].host >= held[1].host


@given(shapes, contexts, contexts, st.integers(1, 16), st.integers(1, 512), st.integers(16, 16384))
def test_vllm_needs_more_for_more_context(
    shape: ModelShape, one: int, other: int, parallel: int, seqs: int, batched: int
) -> None:
    less, more = sorted((one, other))
    chosen = VllmSettings(less, parallel, seqs, batched)
    machine = machine_of(48_000)
    found = [estimate(shape, replace(chosen, context_tokens=tokens), machine) for tokens in (less, more)]
    assert found[0].need_high_bytes <= found[1].need_high_bytes
    assert found[0].concurrency_low >= found[1].concurrency_low
    wider = estimate(shape, replace(chosen, parallel=parallel + 1), machine)
    assert found[0].need_high_bytes <= wider.need_high_bytes


@given(shapes, contexts, st.sampled_from(["fp8", "nvfp4"]))
def test_a_narrow_cache_holds_more_requests(shape: ModelShape, context: int, kind: str) -> None:
    chosen, machine = VllmSettings(context), machine_of(80_000)
    plain, narrow = (estimate(shape, replace(chosen, kv_cache_dtype=each), machine) for each in ("auto", kind))
    # a page of attention is made as large as a state, in blocks of 16 tokens: narrower tokens round up differently
    rounding = plain.kv_request_bytes // 100 if shape.recurrent else 0
    assert narrow.kv_request_bytes <= plain.kv_request_bytes + rounding


settings_of: st.SearchStrategy[Settings] = st.one_of(
    st.builds(
        OllamaSettings,
        contexts,
        st.integers(1, 8),
        st.sampled_from(["f16", "q8_0", "q4_0"]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, 512, 2048]),
        st.sampled_from([0, 512, 1024]),
    ),
    st.builds(
        VllmSettings,
        contexts,
        st.integers(1, 8),
        st.sampled_from([16, 256, 1024]),
        st.sampled_from([2048, 8192]),
        st.sampled_from(["auto", "fp8"]),
        st.sampled_from([None, 0.5, 0.9]),
        st.booleans(),
        st.sampled_from([1, 2]),
        st.sampled_from(["0.23.0", "0.24.0", "0.32.0"]),
    ),
)


@settings(max_examples=60, deadline=None)
@given(shapes, settings_of, machines)
def test_the_largest_context_fits_and_a_larger_one_does_not(
    shape: ModelShape, chosen: Settings, machine: Machine
) -> None:
    found = largest_context(shape, chosen, machine)
    assert found % STEP == 0
    if found:
        assert fits(estimate(shape, replace(chosen, context_tokens=found), machine))
    if found + STEP <= shape.training_context:
        assert not fits(estimate(shape, replace(chosen, context_tokens=found + STEP), machine))


@settings(max_examples=40, deadline=None)
@given(shapes, settings_of, machines)
def test_a_lever_gives_what_it_says(shape: ModelShape, chosen: Settings, machine: Machine) -> None:
    now = largest_context(shape, chosen, machine)
    for lever in levers(shape, chosen, machine):
        assert lever.context_tokens >= now or lever.freed_bytes >= 32 * MIB
        assert lever.value in lever.summary


@settings(max_examples=40, deadline=None)
@given(shapes, settings_of, machines)
def test_what_nobody_set_is_adapted_until_it_starts(shape: ModelShape, chosen: Settings, machine: Machine) -> None:
    free = ("context_tokens", "max_num_seqs", "max_num_batched_tokens")
    found = adapted(shape, chosen, machine, free)
    assert found == chosen or fits(estimate(shape, found, machine))
    assert found.context_tokens <= chosen.context_tokens
    assert adapted(shape, chosen, machine, ()) == chosen


@settings(max_examples=150, deadline=None)
@given(shapes, settings_of, machines)
def test_a_verdict_is_no_contradiction(shape: ModelShape, chosen: Settings, machine: Machine) -> None:
    found = estimate(shape, chosen, machine)
    assert found.need_low_bytes <= found.need_high_bytes
    assert found.need_high_bytes == sum(part.high_bytes for part in found.parts)
    assert all(0 <= part.low_bytes <= part.high_bytes for part in found.parts)
    assert found.kv_low_bytes <= found.kv_high_bytes
    assert 0 <= found.cpu_percent <= 100
    if found.verdict == "fits":
        assert found.certain
        assert found.short_bytes == 0
    if found.verdict == "spills":
        assert found.runtime == "ollama"
        assert found.gpu_layers <= len(shape.layers)
    assert Estimate.model_validate_json(found.model_dump_json()) == found


@settings(max_examples=60, deadline=None)
@given(shapes, settings_of, st.integers(0, 100_000), st.integers(0, 100_000))
def test_more_free_memory_never_makes_it_worse(shape: ModelShape, chosen: Settings, one: int, other: int) -> None:
    """With a batch that is set: the one that Ollama chooses grows with the memory."""
    if isinstance(chosen, OllamaSettings):
        chosen = replace(chosen, batch_tokens=512)
    else:
        chosen = replace(chosen, utilization=None, tensor_parallel=1)
    small, large = sorted((one, other))
    order = ["does not fit", "spills", "tight", "fits"]
    total = 120_000
    ranked = [
        order.index(estimate(shape, chosen, Machine((Card("x", total, free),), 0, 0)).verdict)
        for free in (small, large)
    ]
    assert ranked[0] <= ranked[1]


numbers = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.sampled_from([0, 1, -1, 1 << 32, (1 << 64) - 1]),
    st.floats(),
    st.booleans(),
    st.text(max_size=4),
    st.none(),
)
values = st.one_of(numbers, st.lists(numbers, max_size=6), st.lists(numbers, max_size=6).map(tuple))
NAMES = (
    "block_count", "embedding_length", "feed_forward_length", "context_length", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.sliding_window",
    "attention.sliding_window_pattern", "attention.recurrent_layers", "attention.shared_kv_layers",
    "attention.key_length_mla", "attention.kv_lora_rank", "full_attention_interval", "nextn_predict_layers",
    "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.group_count", "shortconv.l_cache", "kda.head_dim",
    "wkv.head_size", "expert_count", "expert_used_count", "leading_dense_block_count", "vocab_size",
)  # fmt: skip
tensors = st.lists(
    st.builds(
        Tensor,
        st.sampled_from(["token_embd.weight", "output.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight",
                         "blk.99999.ffn_up.weight", "blk.x.y", "blk.-1.z", "blk", ""]),
        st.sampled_from(["Q4_K", "F32", "ggml-99"]),
        st.lists(st.integers(0, 1 << 63), max_size=4).map(tuple),
        st.integers(0, 1 << 63),
    ),
    max_size=6,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.sampled_from(sorted(KNOWN)), st.text(max_size=5)),
    st.dictionaries(st.sampled_from(NAMES), values),
    tensors,
    settings_of,
    machines,
)
def test_a_hostile_header_gets_an_answer(
    architecture: str, metadata: dict[str, object], listed: list[Tensor], chosen: Settings, machine: Machine
) -> None:
    named = {f"{architecture}.{key}": value for key, value in metadata.items()}
    shape = shape_from_gguf({"general.architecture": architecture, **named}, listed)
    assert len(shape.layers) <= 1024
    found = estimate(shape, chosen, machine)
    assert found.verdict in {"fits", "tight", "spills", "does not fit"}
    if architecture not in KNOWN:
        assert found.verdict != "fits"


CONFIG_NAMES = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size",
    "vocab_size", "max_position_embeddings", "sliding_window", "layer_types", "hybrid_override_pattern",
    "attn_layer_period", "full_attention_interval", "kv_lora_rank", "qk_rope_head_dim", "num_experts",
    "moe_intermediate_size", "linear_num_value_heads", "mamba_d_state", "mamba_d_conv", "tie_word_embeddings",
    "torch_dtype", "quantization_config", "text_config", "vision_config", "auto_map", "model_type",
)  # fmt: skip
nested = st.one_of(values, st.dictionaries(st.sampled_from(CONFIG_NAMES), values, max_size=8))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(CONFIG_NAMES), nested), st.integers(-5, 1 << 70), settings_of, machines)
def test_a_hostile_config_gets_an_answer(
    config: dict[str, object], size: int, chosen: Settings, machine: Machine
) -> None:
    shape = shape_from_config(config, size)
    assert len(shape.layers) <= 1024
    assert estimate(shape, chosen, machine).verdict in {"fits", "tight", "spills", "does not fit"}


def test_values_that_are_no_numbers_are_doubts() -> None:
    shape = shape_from_gguf({"general.architecture": "llama", "llama.block_count": float("nan")}, ())
    assert any("block_count" in doubt for doubt in shape.doubts)
    assert not shape.certain


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_shapes_of_these_tests_are_certain(name: str) -> None:
    assert SHAPES[name].certain, SHAPES[name].doubts

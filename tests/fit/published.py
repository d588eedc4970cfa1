"""Predictions for figures that others published, row by row. Sizes are bytes."""

from collections.abc import Callable

from orchestrator.fit import llamacpp, vllm, vllm_cache
from orchestrator.fit.gguf_shape import shape_from_gguf
from orchestrator.fit.llamacpp import Server
from orchestrator.fit.memory import GIB, MIB, VllmSettings
from orchestrator.fit.ollama import CONTEXT_HIGH_MIB
from orchestrator.fit.shape import ModelShape
from tests.fit import configs, models
from tests.fit.models import flat, keys, plain, q4_k_m

Prediction = dict[str, tuple[tuple[float, float], str]]

PLANNED: dict[str, Callable[[], ModelShape]] = {
    "Jamba": lambda: models.jamba(flat("Q4_K")),
    "Gemma-3-27B": lambda: models.gemma3_27b(flat("Q4_K")),
    "gemma-3-270m": models.gemma3_270m,
    "Qwen3.5-27B": lambda: models.qwen35_27b(flat("Q4_K")),
    "Llama-3.1-8B": lambda: models.llama31_8b(flat("Q4_K")),
    "DeepSeek-V2-Lite": lambda: models.deepseek_v2_lite(flat("Q8_0", "Q8_0")),
    "Qwen2.5-14B": models.qwen25_14b,
    "Qwen3-30B-A3B": lambda: models.qwen3_30b_a3b(flat("Q4_K")),
    "gpt-oss-20b": lambda: models.gpt_oss_20b(flat("Q8_0", "Q8_0")),
}
"""Shapes of the rows that llama.cpp itself planned."""


def exact(size: float) -> tuple[tuple[float, float], str]:
    return (size, size), "0.5 %"


def near(size: float) -> tuple[tuple[float, float], str]:
    return (size, size), "3 % or 250 MiB"


def bound(size: float) -> tuple[tuple[float, float], str]:
    return (size, size), "upper bound"


def cached(shape: ModelShape, server: Server) -> float:
    found = llamacpp.buffers(shape, server)
    return found.kv_cache + found.state


def dense(layers: int, kv: int, width: int, heads: int = 0) -> ModelShape:
    """A model of which only the cache matters."""
    return plain("llama", q4_k_m, layers, 4096, heads or kv, kv, width, 4096, 32000)


def gemma4_12b() -> ModelShape:
    """8 layers that see all with one wide head, 40 with a window and eight heads."""
    metadata = keys(
        "gemma4", block_count=48, embedding_length=3840, feed_forward_length=15360, context_length=262144,
        attention__head_count=16, attention__head_count_kv=[1 if i % 6 == 5 else 8 for i in range(48)],
        attention__key_length=512, attention__value_length=512, attention__key_length_swa=256,
        attention__value_length_swa=256, attention__sliding_window=1024,
        attention__sliding_window_pattern=[i % 6 != 5 for i in range(48)],
    )  # fmt: skip
    return shape_from_gguf(metadata, ())


def legacy_deepseek(layers: int) -> ModelShape:
    """Whole heads, from before llama.cpp kept latent rows."""
    metadata = keys(
        "deepseek2", block_count=layers, embedding_length=7168, attention__head_count=128,
        attention__head_count_kv=128, attention__key_length=192, attention__value_length=128,
    )  # fmt: skip
    return shape_from_gguf(metadata, ())


def latent_deepseek() -> ModelShape:
    metadata = keys(
        "deepseek2", block_count=61, embedding_length=7168, attention__head_count=128, attention__head_count_kv=1,
        attention__key_length=576, attention__value_length=512, attention__key_length_mla=192,
        attention__value_length_mla=128,
    )  # fmt: skip
    return shape_from_gguf(metadata, ())


def qwen35_4b() -> ModelShape:
    metadata = keys(
        "qwen35", block_count=32, embedding_length=2560, feed_forward_length=9216, context_length=262144,
        attention__head_count=16, attention__head_count_kv=4, attention__key_length=256, attention__value_length=256,
        ssm__conv_kernel=4, ssm__inner_size=4096, ssm__state_size=128, ssm__group_count=16, ssm__time_step_rank=32,
    )  # fmt: skip
    return shape_from_gguf(metadata, ())


def command_r7b() -> ModelShape:
    recipe: models.Recipe = lambda part, layer, layers: "Q8_0" if part == "output" else "Q6_K"  # noqa: E731
    return plain(
        "cohere2", recipe, 32, 4096, 32, 8, 128, 14336, 256000, tied=True, attention__sliding_window=4096
    )  # fmt: skip


def _command_r7b() -> Prediction:
    """In 2025 the results of a whole batch were kept, whether wanted or not."""
    shape, server = command_r7b(), Server(31000)
    then = 4 * 512 * (shape.vocabulary + 4 * shape.hidden)
    found = llamacpp.buffers(shape, server)
    return {"total_gib": near(found.total - found.compute + then + CONTEXT_HIGH_MIB * MIB)}


def _qwen14b() -> Prediction:
    found = llamacpp.buffers(models.qwen25_14b(), Server(8192, 4))
    return {"weights_gib": exact(found.weights), "kv_gib": exact(found.kv_cache)}


def _qwen7b_plan() -> Prediction:
    found = llamacpp.buffers(models.qwen25_7b(), Server(4096))
    return {
        "weights_gib": exact(found.weights),
        "kv_gib": exact(found.kv_cache),
        "compute_gib": near(found.compute),
        "total_gib": near(found.total),
    }


def _qwen36_27b() -> Prediction:
    found = llamacpp.buffers(models.qwen35_27b(q4_k_m), Server(65536, kv_cache_type="q8_0"))
    return {"total_gib": near(found.total)}


def _coder_30b() -> Prediction:
    blocks = vllm_cache.cache(configs.qwen3_coder_30b(), VllmSettings())
    return {"kv_gib": exact(blocks.request_bytes(262144)), "kv_tokens": exact(262144)}


def _qwen36_35b() -> Prediction:
    settings = VllmSettings(context_tokens=131072, kv_cache_dtype="fp8", version="0.24.0")
    blocks = vllm_cache.cache(configs.qwen36_35b_a3b(), settings)
    return {"kv_tokens": exact(blocks.concurrency(int(5.98 * GIB), 131072) * 131072)}


def _qwen3_4b_awq() -> Prediction:
    settings, shape = VllmSettings(context_tokens=2048), configs.qwen3_4b()
    tokens = vllm_cache.cache(shape, settings).concurrency(int(36.88 * GIB), 2048) * 2048
    peak = vllm.activation(shape, settings) + vllm.graphs(shape, settings)
    return {"kv_tokens": exact(tokens), "compute_gib": ((peak.low, peak.high), "within range")}


def _llama3_tp2() -> Prediction:
    settings = VllmSettings(tensor_parallel=2, version="0.6.5")
    found = vllm.weights(configs.llama31_8b(8192), settings)
    return {"weights_gib": ((found.low, found.high), "0.5 %")}


def _state() -> Prediction:
    return {"kv_gib": exact(llamacpp.buffers(models.qwen35_27b(q4_k_m), Server(768, 3)).state)}


def _qwen15_72b() -> Prediction:
    """Cells came in multiples of 32 then, of 256 now: what a token takes is the same."""
    return {"kv_gib": exact(cached(dense(80, 64, 128), Server(32768)) / 32768 * 32848)}


def _compute(shape: ModelShape, server: Server) -> Prediction:
    return {"compute_gib": bound(llamacpp.compute_bytes(shape, server))}


def _cache(shape: ModelShape, server: Server) -> Prediction:
    return {"kv_gib": exact(cached(shape, server))}


_ROWS: dict[tuple[str, str, str], Callable[[], Prediction]] = {
    ("ollama/issues/9091", "Qwen2.5-14B", "f16"): _qwen14b,
    ("lilbee/pull/721", "Qwen3.6-27B", "q8_0"): _qwen36_27b,
    ("gpustack/issues/1126", "DeepSeek-R1", "f16"): lambda: _cache(legacy_deepseek(19), Server(8192)),
    ("ollama/issues/5913", "llama3:70b", "f16"): lambda: _cache(dense(80, 8, 128, 64), Server(2048)),
    ("vllm/pull/10511", "Meta-Llama-3-8B", "bf16"): _llama3_tp2,
    ("gguf-parser-go/issues/45", "granite-3.0", "q8_0"): lambda: _compute(
        models.granite_3b_a800m(q4_k_m), Server(4096, kv_cache_type="q8_0")
    ),
    ("vllm/issues/34076", "Qwen3-Coder-30B", "bf16"): _coder_30b,
    ("unsloth/issues/10489", "Gemma-4-12B", "q8_0"): lambda: _cache(gemma4_12b(), Server(262144, kv_cache_type="q8_0")),
    ("ollama/issues/10615", "mistral-small3.1", "f16"): lambda: _cache(dense(40, 8, 128, 32), Server(131072)),
    ("gguf-parser-go/issues/45", "OLMoE", "q8_0"): lambda: _compute(
        models.olmoe(q4_k_m), Server(4096, kv_cache_type="q8_0")
    ),
    ("llama.cpp/issues/11200", "Qwen2.5-Coder-32B", "q8_0"): lambda: _cache(
        dense(64, 8, 128, 40), Server(32768, kv_cache_type="q8_0")
    ),
    ("unsloth/pull/6718", "Qwen3.5-4B", "f16"): lambda: {
        "compute_gib": near(llamacpp.compute_bytes(qwen35_4b(), Server(262144)))
    },
    ("unsloth/pull/6718", "Qwen3.5-4B", "q8_0"): lambda: {
        "compute_gib": near(llamacpp.compute_bytes(qwen35_4b(), Server(262144, kv_cache_type="q8_0")))
    },
    ("llama-cpp-python/pull/1", "Qwen2.5(-VL)-7B", "f16"): lambda: _cache(models.qwen25_7b(), Server(2048)),
    ("writeragent/issues/570", "7B class", "f16"): _qwen7b_plan,
    ("club-3090/issues/612", "Qwen3.6-35B", "fp8"): _qwen36_35b,
    ("vllm/pull/57047", "Qwen3-4B-AWQ", "bf16"): _qwen3_4b_awq,
    ("llama.cpp/pull/23792", "Qwen3.5-27B class", "f32 state"): _state,
    ("koboldcpp/issues/724", "Qwen1.5-72B", "f16"): _qwen15_72b,
    ("llama.cpp/pull/13194", "command-r7b", "f16"): _command_r7b,
    ("ik_llama.cpp/pull/492", "DeepSeek-R1", "f16"): lambda: _cache(latent_deepseek(), Server(16384)),
}


def predictions(row: dict[str, str]) -> Prediction:
    """What is predicted of a row's figures; nothing for a row that no arithmetic reaches."""
    for (source, model, kind), predict in _ROWS.items():
        if row["source"].endswith(source) and row["model"].startswith(model) and row["kv_dtype"] == kind:
            return predict()
    return {}

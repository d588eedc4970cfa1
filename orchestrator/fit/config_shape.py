"""A model's shape from its config.json, as Transformers writes it and vLLM reads it.

Where the same thing has several names, the first that is there counts. Sources: the config classes of Transformers,
vLLM's model_arch_config_convertor.py and v1/kv_cache_interface.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.fit.reading import Reading
from orchestrator.fit.shape import MOST_LAYERS, Layer, ModelShape

WHOLE = {
    "llama", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "gemma",
    "phi", "phi3", "phimoe", "mixtral", "mistral3", "granite", "granitemoe", "starcoder2", "internlm2", "internlm3",
    "cohere", "olmo", "olmo2", "olmoe", "glm", "glm4", "glm4_moe", "chatglm", "exaone", "smollm3", "stablelm",
    "nemotron", "ernie4_5", "ernie4_5_moe", "hunyuan_v1_dense", "hunyuan_v1_moe", "seed_oss", "dots1", "gpt_neox",
    "gpt2", "opt", "dbrx", "apertus", "minimax_m2",
}  # fmt: skip
LATENT = {"deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "kimi_k2", "minicpm3", "longcat_flash"}
WINDOWED = {
    "mistral": 0, "gemma2": 2, "gemma3": 6, "gemma3_text": 6, "gemma3n_text": 5, "gemma4_text": 6, "gpt_oss": 2,
    "cohere2": 4, "llama4_text": 4, "exaone4": 4, "olmo3": 4,
}  # fmt: skip
"""Model types with sliding windows, and every which layer sees all where the file has no list (0: none does)."""
STATEFUL = {
    "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "jamba", "mamba", "mamba2", "falcon_mamba", "falcon_h1", "bamba",
    "granitemoehybrid", "nemotron_h", "lfm2", "lfm2_moe", "kimi_linear",
}  # fmt: skip
KNOWN = WHOLE | LATENT | STATEFUL | set(WINDOWED)

STATE_EVERYWHERE = {"mamba", "mamba2", "falcon_mamba"}
STATE_AND_CACHE = {"falcon_h1"}

_NESTED = ("text_config", "language_config", "llm_config", "thinker_config")
_KINDS = {
    "full_attention": "full", "attention": "full", "sliding_attention": "window", "chunked_attention": "window",
    "linear_attention": "state", "mamba": "state", "mamba2": "state", "conv": "state", "recurrent": "state",
}  # fmt: skip
_NEMOTRON = {"*": "full", "M": "state"}


@dataclass(frozen=True)
class _State:
    conv: int
    state: int


def shape_from_config(
    config: Mapping[str, object], weights_bytes: int, *, parameters: int = 0, draft_bytes: int = 0
) -> ModelShape:
    """The shape that a config.json describes, of a model whose safetensors hold ``weights_bytes`` in all.

    ``parameters`` is the number of weights where it is known. Never raises: what makes no sense becomes a doubt.
    """
    text = _language(config)
    reading = Reading(text)
    kind = reading.text("model_type") or Reading(config).text("model_type")
    hidden, vocabulary = reading.first("hidden_size", "n_embd", "d_model"), reading.count("vocab_size")
    weights = max(0, weights_bytes) // (2 if _single_precision(config, text) else 1)  # vLLM loads them as 16 bits
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    embedding = min(vocabulary * hidden * 2, weights)
    output = 0 if tied else min(embedding, weights - embedding)
    layers = _layers(reading, kind, weights - embedding - output)
    shape = ModelShape(
        architecture=kind,
        source="config",
        layers=layers,
        hidden=hidden,
        vocabulary=vocabulary,
        training_context=reading.first("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"),
        embedding_bytes=embedding,
        output_bytes=output,
        other_bytes=weights - embedding - output - sum(layer.weights_bytes for layer in layers),
        parameters=max(0, parameters),
        tied=tied,
        draft_bytes=max(0, draft_bytes),
        draft_layers=reading.first("num_nextn_predict_layers", "mtp_num_hidden_layers"),
        latent_elements=_latent(reading),
        experts=_experts(reading),
        experts_used=reading.first("num_experts_per_tok", "num_experts_per_token", "moe_topk", "top_k_experts"),
        rope_tables=2 if kind.startswith("gemma3") else 1,
        quantized=bool(_quantization(config)),
        kv_cache_dtype=_cache_dtype(config),
    )
    return shape.doubting(*reading.doubts, *_doubts(shape, config, text))


def _latent(reading: Reading) -> int:
    """The row of latents that a layer keeps of a token, 0 where it keeps heads."""
    rank = reading.count("kv_lora_rank")
    return rank + reading.count("qk_rope_head_dim") if rank else 0


def _language(config: Mapping[str, object]) -> Mapping[str, object]:
    """The part about the language model, where the file describes several models."""
    for _ in range(len(_NESTED)):
        inner = next((config[name] for name in _NESTED if isinstance(config.get(name), Mapping)), None)
        if not isinstance(inner, Mapping):
            break
        config = inner
    return config


def _single_precision(config: Mapping[str, object], text: Mapping[str, object]) -> bool:
    named = (part.get(key) for part in (text, config) for key in ("dtype", "torch_dtype"))
    return next((value for value in named if isinstance(value, str)), "") == "float32" and not _quantization(config)


def _quantization(config: Mapping[str, object]) -> Mapping[str, object]:
    for part in (config, _language(config)):
        for key in ("quantization_config", "compression_config"):
            value = part.get(key)
            if isinstance(value, Mapping):
                return value
    return {}


def _cache_dtype(config: Mapping[str, object]) -> str:
    """The type of the KV cache that the checkpoint was made for; empty for that of its weights."""
    quantization = _quantization(config)
    named = quantization.get("kv_cache_quant_algo")
    scheme = quantization.get("kv_cache_scheme")
    eight = isinstance(scheme, Mapping) and scheme.get("num_bits") == 8
    return "fp8" if eight or (isinstance(named, str) and named.lower() == "fp8") else ""


def _experts(reading: Reading) -> int:
    return reading.first("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")


def _layers(reading: Reading, model_type: str, weights: int) -> tuple[Layer, ...]:
    count = min(reading.first("num_hidden_layers", "n_layer", "num_layers"), MOST_LAYERS)
    kinds = _kinds(reading, model_type, count)
    window = reading.first("sliding_window", "attention_chunk_size", "sliding_window_size")
    state = _state(reading)
    heads = reading.of_layers("num_attention_heads", count) if reading.has("num_attention_heads") else (0,) * count
    shared = reading.count("num_kv_shared_layers")
    dense = reading.first("first_k_dense_replace", "moe_layer_start_index", "num_dense_layers")
    experts = _experts(reading) > 0
    layers = []
    for index, kind in enumerate(kinds):
        windowed, stateful = kind == "window", kind == "state" or model_type in STATE_AND_CACHE
        cached = kind in {"full", "window"} and index < count - shared
        kv_heads, key, value = _heads(reading, heads[index], windowed)
        expert = experts and index >= dense
        layers.append(
            Layer(
                kv_heads=kv_heads if cached else 0,
                heads=heads[index],
                key_length=key,
                value_length=value,
                window=window if windowed else 0,
                conv_elements=state.conv if stateful else 0,
                state_elements=state.state if stateful else 0,
                feed_forward=_feed_forward(reading, expert),
                expert=expert,
                weights_bytes=weights // count,
            )
        )
    return tuple(layers)


def _heads(reading: Reading, heads: int, windowed: bool) -> tuple[int, int, int]:
    """KV heads of a layer, and elements of a key and of a value."""
    if _latent(reading):
        return 1, _latent(reading), 0
    kv_heads = reading.first("num_key_value_heads", "num_kv_heads", "multi_query_group_num", default=heads)
    width = reading.first("head_dim", "kv_channels", default=0)
    width = width or reading.first("hidden_size", "n_embd", "d_model") // max(1, heads)
    if not windowed and reading.has("global_head_dim"):
        kv_heads = reading.first("num_global_key_value_heads", default=kv_heads)
        width = reading.count("global_head_dim")
    return kv_heads, width, reading.first("v_head_dim", default=width)


def _feed_forward(reading: Reading, expert: bool) -> int:
    if expert:
        return reading.first("moe_intermediate_size", "expert_dim", "intermediate_size", "ffn_hidden_size")
    return reading.first("intermediate_size", "ffn_hidden_size", "n_inner", "intermediate_size_mlp")


def _kinds(reading: Reading, model_type: str, count: int) -> tuple[str, ...]:
    """What each layer keeps: ``full``, ``window``, ``state``, or ``none``."""
    if model_type in STATE_EVERYWHERE:
        return ("state",) * count
    for key in ("layer_types", "layers_block_type"):
        named = reading.texts(key)
        if named and len(named) >= count:
            return tuple(_KINDS.get(name, "none" if name in {"mlp", "moe"} else "full") for name in named[:count])
    pattern = reading.text("hybrid_override_pattern")
    if len(pattern) >= count > 0:
        return tuple(_NEMOTRON.get(letter, "none") for letter in pattern[:count])
    if reading.has("attn_layer_period"):
        period, offset = max(1, reading.count("attn_layer_period")), reading.count("attn_layer_offset")
        return tuple("full" if index % period == offset else "state" for index in range(count))
    if model_type in STATEFUL and reading.count("full_attention_interval", 4):
        period = reading.count("full_attention_interval", 4)
        return tuple("full" if (index + 1) % period == 0 else "state" for index in range(count))
    return _window_kinds(reading, model_type, count)


def _window_kinds(reading: Reading, model_type: str, count: int) -> tuple[str, ...]:
    if model_type not in WINDOWED or not reading.first("sliding_window", "attention_chunk_size"):
        return ("full",) * count
    period = reading.first("sliding_window_pattern", "_sliding_window_pattern", default=WINDOWED[model_type])
    return tuple("full" if period and (index + 1) % period == 0 else "window" for index in range(count))


def _state(reading: Reading) -> _State:
    """What a stateful layer keeps per request, in elements."""
    if reading.has("linear_num_value_heads"):
        keys = reading.count("linear_num_key_heads") * reading.count("linear_key_head_dim")
        heads, width = reading.count("linear_num_value_heads"), reading.count("linear_value_head_dim")
        kernel = max(0, reading.count("linear_conv_kernel_dim", 4) - 1)
        return _State(kernel * (2 * keys + heads * width), heads * width * reading.count("linear_key_head_dim"))
    hidden = reading.first("hidden_size", "d_model")
    if reading.has("conv_L_cache"):
        return _State(hidden * max(0, reading.count("conv_L_cache") - 1), 0)
    state = reading.first("mamba_d_state", "ssm_state_size", "state_size")
    kernel = max(0, reading.first("mamba_d_conv", "conv_kernel", default=4) - 1)
    given = reading.first("mamba_d_ssm", "intermediate_size") if reading.has("mamba_d_ssm") else 0
    heads = reading.first("mamba_n_heads", "mamba_num_heads", "num_heads") * reading.first(
        "mamba_d_head", "mamba_head_dim", "head_dim"
    )
    inner = given or heads or hidden * reading.first("mamba_expand", "expand", default=2)
    groups = reading.first("mamba_n_groups", "n_groups")
    return _State(kernel * (inner + 2 * groups * state), inner * state) if state else _State(0, 0)


def _doubts(shape: ModelShape, config: Mapping[str, object], text: Mapping[str, object]) -> list[str]:
    doubts = []
    if shape.architecture not in KNOWN:
        doubts.append(f"the architecture {shape.architecture or '(none)'} is not known: an upper bound")
    if not shape.weights_bytes:
        doubts.append("the size of its weights is not known")
    if not shape.layers or not shape.hidden:
        doubts.append("the config does not say how large the model is")
    elif not (shape.attention or shape.recurrent):
        doubts.append("the config does not say what its layers keep")
    if shape.draft_bytes:
        doubts.append("a model for drafting takes memory that is not predicted exactly")
    if isinstance(config.get("vision_config"), Mapping) or isinstance(config.get("audio_config"), Mapping):
        doubts.append("encoders of images or sound take memory that is not predicted exactly")
    if text.get("auto_map") or config.get("auto_map"):
        doubts.append("it brings code of its own")
    return doubts

"""config.json of models that exist, made here from their published shapes."""

from orchestrator.fit.config_shape import shape_from_config
from orchestrator.fit.shape import ModelShape


def config(
    model_type: str, layers: int, hidden: int, heads: int, kv: int, width: int, wide: int, vocabulary: int,
    context: int, **more: object,
) -> dict[str, object]:  # fmt: skip
    return {
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": width,
        "intermediate_size": wide,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "torch_dtype": "bfloat16",
        **more,
    }


def shape(norms: int = 2, bias: bool = False, **more: object) -> ModelShape:
    """A dense model in 16 bits, of the size that its shape makes."""
    built = config(**more)  # type: ignore[arg-type]  # the caller names every part
    layers, hidden, heads, kv, width, wide, vocabulary = (
        int(str(built[key]))
        for key in (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "intermediate_size",
            "vocab_size",
        )
    )
    rows = (heads + 2 * kv) * width
    layer = hidden * rows + heads * width * hidden + 3 * hidden * wide + norms * hidden + (rows if bias else 0)
    tables = vocabulary * hidden * (1 if built.get("tie_word_embeddings") else 2)
    parameters = tables + layers * layer + hidden
    return shape_from_config(built, 2 * parameters, parameters=parameters)


def llama31_8b(context: int = 131072) -> ModelShape:
    return shape(
        model_type="llama", layers=32, hidden=4096, heads=32, kv=8, width=128, wide=14336, vocabulary=128256,
        context=context,
    )  # fmt: skip


def qwen25_7b() -> ModelShape:
    return shape(
        bias=True, model_type="qwen2", layers=28, hidden=3584, heads=28, kv=4, width=128, wide=18944,
        vocabulary=152064, context=32768,
    )  # fmt: skip


def qwen3_4b() -> ModelShape:
    return shape(
        model_type="qwen3", layers=36, hidden=2560, heads=32, kv=8, width=128, wide=9728, vocabulary=151936,
        context=40960, tie_word_embeddings=True,
    )  # fmt: skip


def gemma3_12b_text() -> ModelShape:
    return shape(
        norms=4, model_type="gemma3_text", layers=48, hidden=3840, heads=16, kv=8, width=256, wide=15360,
        vocabulary=262208, context=131072, tie_word_embeddings=True, sliding_window=1024, sliding_window_pattern=6,
    )  # fmt: skip


def qwen3_coder_30b() -> ModelShape:
    built = config(
        "qwen3_moe", 48, 2048, 32, 4, 128, 6144, 151936, 262144, num_experts=128, num_experts_per_tok=8,
        moe_intermediate_size=768, quantization_config={"quant_method": "fp8"},
    )  # fmt: skip
    return shape_from_config(built, 31_200_000_000, parameters=30_532_000_000)


def qwen36_35b_a3b() -> ModelShape:
    """10 layers of attention, 30 of gated delta net."""
    text = config(
        "qwen3_5_moe_text", 40, 2048, 16, 2, 256, 0, 248320, 262144, num_experts=256, num_experts_per_tok=8,
        moe_intermediate_size=512, full_attention_interval=4, linear_num_key_heads=16, linear_num_value_heads=32,
        linear_key_head_dim=128, linear_value_head_dim=128, linear_conv_kernel_dim=4,
    )  # fmt: skip
    return shape_from_config({"model_type": "qwen3_5_moe", "text_config": text}, 22_000_000_000)


def deepseek_v3() -> ModelShape:
    built = config(
        "deepseek_v3", 61, 7168, 128, 128, 56, 18432, 129280, 163840, kv_lora_rank=512, qk_rope_head_dim=64,
        n_routed_experts=256, num_experts_per_tok=8, moe_intermediate_size=2048, first_k_dense_replace=3,
    )  # fmt: skip
    return shape_from_config(built, 688_000_000_000)

"""Headers of models that exist, made here from their published shapes: metadata and tensors, as a GGUF has them."""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.fit.gguf_shape import shape_from_gguf
from orchestrator.fit.shape import ModelShape
from orchestrator.models.tensor import GGML_TYPES, Tensor

BLOCKS = {name: (elements, size) for name, elements, size in GGML_TYPES.values()}

Recipe = Callable[[str, int, int], str]
"""The type of a tensor, from its part of the name, its layer and the number of layers."""


def flat(kind: str, output: str = "Q6_K") -> Recipe:
    """Every matrix of one type, but the output."""
    return lambda part, layer, layers: output if part == "output" else kind


def q4_k_m(part: str, layer: int, layers: int) -> str:
    """llama.cpp's recipe of Q4_K_M (llama-quant.cpp): the output is wider, and in half of the layers two matrices."""
    if part == "output":
        return "Q6_K"
    more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    return "Q6_K" if more and part in {"attn_v", "ffn_down"} else "Q4_K"


@dataclass
class Maker:
    """Collects tensors."""

    recipe: Recipe
    layers: int

    def __post_init__(self) -> None:
        self.tensors: list[Tensor] = []

    def add(self, name: str, *shape: int, kind: str | None = None) -> None:
        parts = name.split(".")
        layer = int(parts[1]) if parts[0] == "blk" else 0
        part = parts[2] if parts[0] == "blk" else parts[0]
        chosen = kind or ("F32" if len(shape) == 1 else self.recipe(part, layer, self.layers))
        if shape[0] % 256:  # rows that are no whole blocks: llama-quant.cpp falls back
            chosen = {"Q4_K": "Q5_0", "Q6_K": "Q8_0"}.get(chosen, chosen)
        elements = 1
        for length in shape:
            elements *= length
        block, size = BLOCKS[chosen]
        self.tensors.append(Tensor(name, chosen, shape, elements // block * size))


def attention(make: Maker, index: int, hidden: int, heads: int, kv: int, width: int, *, bias: bool = False) -> None:
    make.add(f"blk.{index}.attn_norm.weight", hidden)
    for part, count in (("attn_q", heads), ("attn_k", kv), ("attn_v", kv)):
        make.add(f"blk.{index}.{part}.weight", hidden, count * width)
        if bias:
            make.add(f"blk.{index}.{part}.bias", count * width)
    make.add(f"blk.{index}.attn_output.weight", heads * width, hidden)


def dense(make: Maker, index: int, hidden: int, wide: int) -> None:
    make.add(f"blk.{index}.ffn_norm.weight", hidden)
    make.add(f"blk.{index}.ffn_gate.weight", hidden, wide)
    make.add(f"blk.{index}.ffn_up.weight", hidden, wide)
    make.add(f"blk.{index}.ffn_down.weight", wide, hidden)


def experts(make: Maker, index: int, hidden: int, wide: int, count: int) -> None:
    make.add(f"blk.{index}.ffn_norm.weight", hidden)
    make.add(f"blk.{index}.ffn_gate_inp.weight", hidden, count, kind="F32")
    make.add(f"blk.{index}.ffn_gate_exps.weight", hidden, wide, count)
    make.add(f"blk.{index}.ffn_up_exps.weight", hidden, wide, count)
    make.add(f"blk.{index}.ffn_down_exps.weight", wide, hidden, count)


def ends(make: Maker, hidden: int, vocabulary: int, *, tied: bool = False) -> None:
    """The embedding (of the output's type where it serves as output too), the output and the last norm."""
    make.add("token_embd.weight", hidden, vocabulary, kind=make.recipe("output", 0, 0) if tied else None)
    if not tied:
        make.add("output.weight", hidden, vocabulary)
    make.add("output_norm.weight", hidden)


def keys(arch: str, **values: object) -> dict[str, object]:
    """Metadata of an architecture; ``__`` in a name stands for a dot."""
    named = {f"{arch}.{key.replace('__', '.')}": value for key, value in values.items()}
    return {"general.architecture": arch, **named}


def plain(
    arch: str,
    recipe: Recipe,
    layers: int,
    hidden: int,
    heads: int,
    kv: int,
    width: int,
    wide: int,
    vocabulary: int,
    *,
    context: int = 131072,
    tied: bool = False,
    bias: bool = False,
    **more: object,
) -> ModelShape:
    """A dense model with grouped queries."""
    make = Maker(recipe, layers)
    ends(make, hidden, vocabulary, tied=tied)
    for index in range(layers):
        attention(make, index, hidden, heads, kv, width, bias=bias)
        dense(make, index, hidden, wide)
    metadata = keys(
        arch,
        block_count=layers,
        embedding_length=hidden,
        feed_forward_length=wide,
        context_length=context,
        attention__head_count=heads,
        attention__head_count_kv=kv,
        attention__key_length=width,
        attention__value_length=width,
        **more,
    )
    return shape_from_gguf(metadata, make.tensors)


def qwen25_14b(recipe: Recipe = q4_k_m) -> ModelShape:
    return plain("qwen2", recipe, 48, 5120, 40, 8, 128, 13824, 152064, context=32768, bias=True)


def qwen25_7b(recipe: Recipe = q4_k_m) -> ModelShape:
    return plain("qwen2", recipe, 28, 3584, 28, 4, 128, 18944, 152064, context=32768, bias=True)


def llama31_8b(recipe: Recipe = q4_k_m) -> ModelShape:
    return plain("llama", recipe, 32, 4096, 32, 8, 128, 14336, 128256)


def qwen3_8b(recipe: Recipe = q4_k_m) -> ModelShape:
    return plain("qwen3", recipe, 36, 4096, 32, 8, 128, 12288, 151936, context=40960)


def gemma3(
    recipe: Recipe, layers: int, hidden: int, heads: int, kv: int, width: int, wide: int, window: int
) -> ModelShape:
    return plain(
        "gemma3", recipe, layers, hidden, heads, kv, width, wide, 262144, tied=True, attention__sliding_window=window
    )


def gemma3_12b(recipe: Recipe = q4_k_m) -> ModelShape:
    return gemma3(recipe, 48, 3840, 16, 8, 256, 15360, 1024)


def gemma3_27b(recipe: Recipe) -> ModelShape:
    return gemma3(recipe, 62, 5376, 32, 16, 128, 21504, 1024)


def gemma3_270m(recipe: Recipe = q4_k_m) -> ModelShape:
    return gemma3(recipe, 18, 640, 4, 1, 256, 2048, 512)


def moe(
    arch: str, recipe: Recipe, layers: int, hidden: int, heads: int, kv: int, width: int, wide: int, vocabulary: int,
    count: int, used: int, **more: object,
) -> ModelShape:  # fmt: skip
    """A model of experts in every layer."""
    make = Maker(recipe, layers)
    ends(make, hidden, vocabulary)
    for index in range(layers):
        attention(make, index, hidden, heads, kv, width)
        experts(make, index, hidden, wide, count)
    metadata = keys(
        arch,
        block_count=layers,
        embedding_length=hidden,
        context_length=131072,
        attention__head_count=heads,
        attention__head_count_kv=kv,
        attention__key_length=width,
        attention__value_length=width,
        expert_count=count,
        expert_used_count=used,
        expert_feed_forward_length=wide,
        **more,
    )
    return shape_from_gguf(metadata, make.tensors)


def qwen3_30b_a3b(recipe: Recipe) -> ModelShape:
    return moe("qwen3moe", recipe, 48, 2048, 32, 4, 128, 768, 151936, 128, 8)


def gpt_oss_20b(recipe: Recipe) -> ModelShape:
    return moe("gpt-oss", recipe, 24, 2880, 64, 8, 64, 2880, 201088, 32, 4, attention__sliding_window=128)


def olmoe(recipe: Recipe) -> ModelShape:
    return moe("olmoe", recipe, 16, 2048, 16, 16, 128, 1024, 50304, 64, 8)


def granite_3b_a800m(recipe: Recipe) -> ModelShape:
    return moe("granitemoe", recipe, 32, 1536, 24, 8, 64, 512, 49155, 40, 8)


def deepseek_v2_lite(recipe: Recipe) -> ModelShape:
    """Latent attention, one dense layer, experts after it."""
    layers, hidden, heads, latent, rope, nope, value = 27, 2048, 16, 512, 64, 128, 128
    make = Maker(recipe, layers)
    ends(make, hidden, 102400)
    for index in range(layers):
        make.add(f"blk.{index}.attn_norm.weight", hidden)
        make.add(f"blk.{index}.attn_q.weight", hidden, heads * (nope + rope))
        make.add(f"blk.{index}.attn_kv_a_mqa.weight", hidden, latent + rope)
        make.add(f"blk.{index}.attn_kv_a_norm.weight", latent)
        make.add(f"blk.{index}.attn_k_b.weight", nope, latent, heads)
        make.add(f"blk.{index}.attn_v_b.weight", latent, value, heads)
        make.add(f"blk.{index}.attn_output.weight", heads * value, hidden)
        if index == 0:
            dense(make, index, hidden, 10944)
            continue
        experts(make, index, hidden, 1408, 64)
        for part, shape in (("gate", (hidden, 2816)), ("up", (hidden, 2816)), ("down", (2816, hidden))):
            make.add(f"blk.{index}.ffn_{part}_shexp.weight", *shape)
    metadata = keys(
        "deepseek2", block_count=layers, embedding_length=hidden, feed_forward_length=10944, context_length=163840,
        leading_dense_block_count=1, expert_count=64, expert_used_count=6, expert_feed_forward_length=1408,
        expert_shared_count=2, attention__head_count=heads, attention__head_count_kv=1,
        attention__key_length=latent + rope, attention__value_length=latent, attention__key_length_mla=nope + rope,
        attention__value_length_mla=value, attention__kv_lora_rank=latent, rope__dimension_count=rope,
    )  # fmt: skip
    return shape_from_gguf(metadata, make.tensors)


def qwen35_27b(recipe: Recipe) -> ModelShape:
    """Three layers of gated delta net for each of attention."""
    layers, hidden, wide = 64, 5120, 17408
    make = Maker(recipe, layers)
    ends(make, hidden, 248320)
    for index in range(layers):
        if (index + 1) % 4 == 0:
            make.add(f"blk.{index}.attn_norm.weight", hidden)
            make.add(f"blk.{index}.attn_q.weight", hidden, 2 * 24 * 256)  # queries and their gates
            make.add(f"blk.{index}.attn_k.weight", hidden, 4 * 256)
            make.add(f"blk.{index}.attn_v.weight", hidden, 4 * 256)
            make.add(f"blk.{index}.attn_output.weight", 24 * 256, hidden)
        else:
            make.add(f"blk.{index}.attn_norm.weight", hidden)
            make.add(f"blk.{index}.attn_qkv.weight", hidden, 10240)
            make.add(f"blk.{index}.attn_gate.weight", hidden, 6144)
            make.add(f"blk.{index}.ssm_alpha.weight", hidden, 48, kind="F32")
            make.add(f"blk.{index}.ssm_beta.weight", hidden, 48, kind="F32")
            make.add(f"blk.{index}.ssm_conv1d.weight", 4, 10240, kind="F32")
            make.add(f"blk.{index}.ssm_out.weight", 6144, hidden)
        dense(make, index, hidden, wide)
    metadata = keys(
        "qwen35", block_count=layers, embedding_length=hidden, feed_forward_length=wide, context_length=262144,
        attention__head_count=24, attention__head_count_kv=4, attention__key_length=256, attention__value_length=256,
        full_attention_interval=4, ssm__conv_kernel=4, ssm__inner_size=6144, ssm__state_size=128, ssm__group_count=16,
        ssm__time_step_rank=48,
    )  # fmt: skip
    return shape_from_gguf(metadata, make.tensors)


def jamba(recipe: Recipe) -> ModelShape:
    """4 layers of attention, 28 of mamba."""
    layers, hidden, wide, inner = 32, 4096, 14336, 8192
    make = Maker(recipe, layers)
    ends(make, hidden, 65536)
    kv = [8 if index % 8 == 4 else 0 for index in range(layers)]
    for index in range(layers):
        if kv[index]:
            attention(make, index, hidden, 32, 8, 128)
        else:
            make.add(f"blk.{index}.attn_norm.weight", hidden)
            make.add(f"blk.{index}.ssm_in.weight", hidden, 2 * inner)
            make.add(f"blk.{index}.ssm_conv1d.weight", 4, inner, kind="F32")
            make.add(f"blk.{index}.ssm_x.weight", inner, 256 + 2 * 16)
            make.add(f"blk.{index}.ssm_dt.weight", 256, inner)
            make.add(f"blk.{index}.ssm_a", 16, inner, kind="F32")
            make.add(f"blk.{index}.ssm_out.weight", inner, hidden)
        dense(make, index, hidden, wide)
    metadata = keys(
        "jamba", block_count=layers, embedding_length=hidden, feed_forward_length=wide, context_length=262144,
        attention__head_count=32, attention__head_count_kv=kv, attention__key_length=128, attention__value_length=128,
        ssm__conv_kernel=4, ssm__inner_size=inner, ssm__state_size=16, ssm__time_step_rank=256,
    )  # fmt: skip
    return shape_from_gguf(metadata, make.tensors)

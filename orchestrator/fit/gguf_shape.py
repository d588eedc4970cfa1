"""A model's shape from the header of its GGUF.

Keys, their defaults, and which layers keep what: llama.cpp b11434, llama-hparams.cpp and the loaders in src/models.
"""

from collections.abc import Mapping, Sequence

from orchestrator.fit.reading import Reading
from orchestrator.fit.shape import Layer, ModelShape
from orchestrator.models.tensor import Tensor

WINDOWED = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "cohere2moe": 4, "llama4": 4, "exaone4": 4,
    "exaone-moe": 4, "olmo2": 4, "smallthinker": 4, "afmoe": 4, "plamo3": 8, "laguna": 4, "mellum": 4,
    "muse-glimmer": 4,
}  # fmt: skip
"""Architectures whose every n-th layer sees the whole context and the others a window, where the file has no list."""

FULL_LAYER_FIRST = {"smallthinker", "cohere2moe", "laguna"}

OWN_WINDOW = {"gemma2": 4096, "llama4": 8192, "smallthinker": 4096, "exaone4": 4096, "exaone-moe": 128}
"""Windows in tokens of architectures whose files need not say."""

WHOLE = {
    "llama", "mistral3", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "gemma",
    "phi2", "phi3", "phimoe", "granite", "granitemoe", "falcon", "starcoder", "starcoder2", "internlm2", "command-r",
    "olmo", "olmoe", "deepseek", "deepseek2", "glm4", "glm4moe", "chatglm", "exaone", "smollm3", "stablelm", "baichuan",
    "nemotron", "minicpm", "minicpm3", "ernie4_5", "ernie4_5-moe", "hunyuan-dense", "hunyuan-moe", "seed_oss", "dots1",
    "bailingmoe", "bailingmoe2", "orion", "xverse", "gptneox", "gpt2", "bloom", "mpt", "dbrx", "arctic", "apertus",
    "minimax-m2", "grok", "arcee", "deci", "openelm", "bitnet", "codeshell", "refact", "maincoder", "pangu-embedded",
}  # fmt: skip
"""Architectures that keep every token in every layer, also where the file mentions a window that is not used."""

STATEFUL = {
    "jamba", "mamba", "mamba2", "falcon-h1", "granitehybrid", "nemotron_h", "nemotron_h_moe", "plamo2", "lfm2",
    "lfm2moe", "qwen3next", "qwen35", "qwen35moe", "kimi-linear", "rwkv6", "rwkv7", "rwkv6qwen2", "arwkv7",
}  # fmt: skip
"""Architectures with layers that keep a state of fixed size per request."""

LISTED = {"gemma4", "mimo2", "step35", "granite_swa", "maple", "spark2_5"}
"""Architectures with windows that the file itself lists."""

KNOWN = WHOLE | STATEFUL | LISTED | set(WINDOWED)

FIXED_WINDOW = {"llama4", "smallthinker"}
"""Architectures of which only that there is a window is read from the file, not how long it is."""

ALL_WINDOWED = {"lfm2", "lfm2moe"}
"""Architectures that attend in a window in every layer that attends, if there is a window at all."""

STATE_EVERYWHERE = {"mamba", "mamba2", "rwkv6", "rwkv7", "rwkv6qwen2", "arwkv7"}
STATE_AND_CACHE = {"falcon-h1"}
FULL_EVERY_FOURTH = {"qwen3next", "qwen35", "qwen35moe"}


def shape_from_gguf(
    metadata: Mapping[str, object], tensors: Sequence[Tensor], *, projector_bytes: int = 0, draft_bytes: int = 0
) -> ModelShape:
    """The shape that a header describes; ``tensors`` are those of all parts of a model in parts.

    ``projector_bytes`` is the size of a vision projector's file that is loaded with it, ``draft_bytes`` that of a
    draft model. Never raises: what makes no sense becomes a doubt.
    """
    architecture = Reading(metadata).text("general.architecture")
    reading = Reading(
        {key.removeprefix(f"{architecture}."): value for key, value in metadata.items() if isinstance(key, str)}
    )
    blocks, draft_layers = reading.layers("block_count"), reading.layers("nextn_predict_layers")
    count = max(0, blocks - draft_layers)
    places = _places(tensors, count)
    layers = _layers(reading, architecture, count, places)
    embedding, output = places.get("embedding", 0), places.get("output", 0)
    shape = ModelShape(
        architecture=architecture,
        source="gguf",
        layers=layers,
        hidden=reading.count("embedding_length"),
        vocabulary=_vocabulary(reading, tensors),
        training_context=reading.count("context_length"),
        embedding_bytes=embedding,
        output_bytes=output,
        other_bytes=places.get("other", 0),
        parameters=sum(tensor.elements for tensor in tensors),
        tied=embedding > 0 and output == 0,
        draft_bytes=places.get("draft", 0) + draft_bytes,
        draft_layers=draft_layers,
        projector_bytes=projector_bytes,
        padding_bytes=_padding(tensors),
        latent_elements=_latent(reading),
        experts=reading.count("expert_count"),
        experts_used=reading.count("expert_used_count"),
        rope_tables=2 if architecture.startswith("gemma") else 1,
        quantized=any(tensor.kind not in {"F32", "F16", "BF16"} for tensor in tensors),
    )
    return shape.doubting(*reading.doubts, *_doubts(shape, reading, tensors, blocks))


def _places(tensors: Sequence[Tensor], layers: int) -> dict[str | int, int]:
    """Bytes of the weights by place: a layer's number, embedding, output, draft or other."""
    found: dict[str | int, int] = {}
    for tensor in tensors:
        place = _place(tensor.name, layers)
        found[place] = found.get(place, 0) + max(0, tensor.size)
    return found


def _place(name: str, layers: int) -> str | int:
    if name in {"token_embd.weight", "per_layer_token_embd.weight"}:
        return "embedding"
    if name == "output.weight":
        return "output"
    number = _block(name)
    if number is None:
        return "other"
    return number if number < layers else "draft"


def _block(name: str) -> int | None:
    """The number of the layer that a tensor belongs to."""
    kind, _, rest = name.partition(".")
    digits = rest.partition(".")[0]
    return int(digits) if kind == "blk" and digits.isdecimal() and digits.isascii() and len(digits) < 6 else None


def _layers(reading: Reading, architecture: str, count: int, places: Mapping[str | int, int]) -> tuple[Layer, ...]:
    heads = reading.of_layers("attention.head_count", count)
    kv_heads = reading.of_layers("attention.head_count_kv", count, default=max(heads, default=0))
    widths = _Widths(reading, architecture, heads)
    windows = _windows(reading, architecture, count)
    states = _stateful(reading, architecture, kv_heads, widths.feed_forward)
    cached = count - reading.count("attention.shared_kv_layers", max(0, count - 20) if architecture == "gemma3n" else 0)
    conv, state = _state(reading, architecture)
    layers = []
    for index in range(count):
        stateful, windowed = states[index], windows[index] > 0
        keeps = index < cached and (not stateful or architecture in STATE_AND_CACHE)
        layers.append(
            Layer(
                kv_heads=kv_heads[index] if keeps and architecture not in STATE_EVERYWHERE else 0,
                heads=heads[index],
                key_length=widths.key(windowed),
                value_length=widths.value(windowed),
                window=windows[index],
                conv_elements=conv if stateful else 0,
                state_elements=state if stateful else 0,
                feed_forward=widths.expert if widths.is_expert(index) else widths.feed_forward[index],
                expert=widths.is_expert(index),
                weights_bytes=places.get(index, 0),
            )
        )
    return tuple(layers)


class _Widths:
    """How wide heads and feed-forward parts are, in elements."""

    def __init__(self, reading: Reading, architecture: str, heads: Sequence[int]) -> None:
        default = reading.count("embedding_length") // max((*heads, 1))
        self._key = reading.count("attention.key_length", default)
        self._value = 0 if _latent_cache(reading) else reading.count("attention.value_length", default)
        self._key_windowed = reading.count("attention.key_length_swa", self._key)
        self._value_windowed = reading.count("attention.value_length_swa", self._value)
        self.feed_forward = reading.of_layers("feed_forward_length", len(heads))
        self.expert = reading.first("expert_feed_forward_length", "feed_forward_length")
        self._experts = reading.count("expert_count")
        self._dense = reading.count("leading_dense_block_count")

    def key(self, windowed: bool) -> int:
        return self._key_windowed if windowed else self._key

    def value(self, windowed: bool) -> int:
        return self._value_windowed if windowed else self._value

    def is_expert(self, index: int) -> bool:
        return self._experts > 0 and index >= self._dense


def _windows(reading: Reading, architecture: str, count: int) -> tuple[int, ...]:
    """The window of each layer in tokens, 0 for the whole context, which is the safe side of an unknown pattern."""
    window = _window(reading, architecture, count)
    whole = (0,) * count
    if not window or architecture in WHOLE or architecture not in KNOWN:
        return whole
    if architecture in ALL_WINDOWED:
        return (window,) * count
    listed = reading.flags("attention.sliding_window_pattern", count)
    if listed is not None:
        return tuple(window if flag else 0 for flag in listed)
    period = reading.first("attention.sliding_window_pattern", default=WINDOWED.get(architecture, 0))
    if period < 1:
        return whole
    full = 0 if architecture in FULL_LAYER_FIRST else period - 1
    return tuple(0 if index % period == full else window for index in range(count))


def _window(reading: Reading, architecture: str, count: int) -> int:
    if architecture == "exaone4" and count != 64:  # the small ones see everything
        return 0
    said = reading.count("attention.sliding_window", OWN_WINDOW.get(architecture, 0))
    if architecture == "smallthinker" and not reading.has("attention.sliding_window"):
        return 0
    return OWN_WINDOW[architecture] if said and architecture in FIXED_WINDOW else said


def _stateful(
    reading: Reading, architecture: str, kv_heads: Sequence[int], feed_forward: Sequence[int]
) -> tuple[bool, ...]:
    """Which layers keep a state."""
    count = len(kv_heads)
    if architecture in STATE_EVERYWHERE or architecture in STATE_AND_CACHE:
        return (True,) * count
    listed = reading.flags("attention.recurrent_layers", count)
    if listed is not None:
        return listed
    period = reading.count("full_attention_interval", 4 if architecture in FULL_EVERY_FOURTH else 0)
    if period:
        return tuple((index + 1) % period != 0 for index in range(count))
    if not any(reading.has(key) for key in ("ssm.conv_kernel", "shortconv.l_cache", "kda.head_dim")):
        return (False,) * count
    if architecture.startswith("nemotron_h"):  # its third kind of layer is nothing but a feed-forward part
        return tuple(kv == 0 and wide == 0 for kv, wide in zip(kv_heads, feed_forward, strict=True))
    return tuple(kv == 0 for kv in kv_heads)


def _state(reading: Reading, architecture: str) -> tuple[int, int]:
    """What a stateful layer keeps per request: elements of its convolution and of its state."""
    hidden = reading.count("embedding_length")
    if "rwkv" in architecture:
        shifted = 1 if "qwen2" in architecture or architecture == "arwkv7" else 2
        return reading.count("token_shift_count", shifted) * hidden, hidden * reading.count("wkv.head_size")
    if reading.has("shortconv.l_cache"):
        return hidden * max(0, reading.count("shortconv.l_cache") - 1), 0
    kernel = max(0, reading.count("ssm.conv_kernel") - 1)
    if reading.has("kda.head_dim"):
        width, heads = reading.count("kda.head_dim"), reading.count("attention.head_count")
        return 3 * kernel * width * heads, width * width * heads
    inner, state = reading.count("ssm.inner_size"), reading.count("ssm.state_size")
    return kernel * (inner + 2 * reading.count("ssm.group_count") * state), state * inner


def _latent_cache(reading: Reading) -> bool:
    """Whether the file is made for a cache of latent rows only; older ones list whole heads."""
    return reading.count("attention.key_length_mla") > 0


def _latent(reading: Reading) -> int:
    if _latent_cache(reading):
        return reading.count("attention.key_length")
    rank = reading.count("attention.kv_lora_rank")
    return rank + reading.count("rope.dimension_count") if rank else 0


def _vocabulary(reading: Reading, tensors: Sequence[Tensor]) -> int:
    for tensor in tensors:
        if tensor.name == "token_embd.weight" and len(tensor.shape) == 2:
            return tensor.shape[1]
    return reading.count("vocab_size")


_STACKED = (("attn_q.weight", "attn_k.weight", "attn_v.weight"), ("ffn_gate.weight", "ffn_up.weight"))


def _padding(tensors: Sequence[Tensor]) -> int:
    """What is added when vLLM stacks matrices, each row then as long as the widest type's."""
    stacks: dict[tuple[int, int], list[Tensor]] = {}
    for tensor in tensors:
        number, part = _block(tensor.name), tensor.name.partition(".")[2].partition(".")[2]
        for kind, parts in enumerate(_STACKED):
            if number is not None and part in parts and tensor.elements > 0:
                stacks.setdefault((number, kind), []).append(tensor)
    return sum(_padded(stack) for stack in stacks.values())


def _padded(stack: Sequence[Tensor]) -> int:
    widest = max(stack, key=lambda tensor: tensor.size / tensor.elements)
    elements = sum(tensor.elements for tensor in stack)
    return max(0, widest.size * elements // widest.elements - sum(tensor.size for tensor in stack))


def _doubts(shape: ModelShape, reading: Reading, tensors: Sequence[Tensor], blocks: int) -> list[str]:
    doubts = []
    if shape.architecture not in KNOWN:
        doubts.append(f"the architecture {shape.architecture or '(none)'} is not known: an upper bound")
    if not tensors:
        doubts.append("the header lists no tensors")
    elif reading.count("split.tensors.count") > len(tensors):
        doubts.append(f"only {len(tensors)} of {reading.count('split.tensors.count')} tensors are listed")
    if not shape.layers or not shape.hidden:
        doubts.append("the header does not say how large the model is")
    elif not (shape.attention or shape.recurrent):
        doubts.append("the header does not say what its layers keep")
    if any(block >= blocks for block in (_block(tensor.name) for tensor in tensors) if block is not None):
        doubts.append("it has more layers than the header says")
    if shape.draft_bytes or shape.draft_layers:
        doubts.append("layers or a model for drafting take memory that is not predicted exactly")
    if shape.projector_bytes:
        doubts.append("a vision projector takes memory for images that is not predicted exactly")
    return doubts

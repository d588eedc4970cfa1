"""What llama.cpp allocates for a model: the engine under Ollama.

The formulas follow llama.cpp b11434 (``llama-kv-cache.cpp``, ``llama-memory-recurrent.cpp``, the graphs of its models)
and reproduce its own allocation plan; `make bench-fit` shows how well. Sizes are bytes.
"""

from dataclasses import dataclass

from orchestrator.fit.shape import Layer, ModelShape

_ROWS = {
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 34), "q5_0": (32, 22), "q5_1": (32, 24),
    "q4_0": (32, 18), "q4_1": (32, 20), "iq4_nl": (32, 18),
}  # fmt: skip
"""Elements and bytes of a block of each type that a cache may have."""

PLAIN = {"f32", "f16", "bf16"}

_HEADS = {(size, size) for size in (40, 64, 72, 80, 96, 112, 128, 256, 512)} | {(192, 128), (320, 256), (576, 512)}
"""Elements of keys and values for which CUDA has a kernel of flash attention (fattn.cu)."""

_PADDING = 256  # cells of a cache come in such numbers


@dataclass(frozen=True)
class Server:
    """How llama-server is started: ``-c``, ``-np``, ``-kvu``, ``-ctk/-ctv``, ``-fa``, ``-ub``.

    ``total_tokens`` are shared by all slots. ``dequantizes`` is true where the GPU's attention needs an f16 copy of a
    cache of another type than f16 (CUDA and HIP).
    """

    total_tokens: int
    parallel: int = 1
    unified: bool = False
    kv_cache_type: str = "f16"
    flash_attention: bool = True
    ubatch_tokens: int = 512
    dequantizes: bool = True


@dataclass(frozen=True)
class Buffers:
    """What lies on the device that computes, and what stays in main memory beside it (``host_bytes``)."""

    weights: int
    kv_cache: int
    state: int
    compute: int
    host: int

    @property
    def total(self) -> int:
        """All of it on the device."""
        return self.weights + self.kv_cache + self.state + self.compute


def padded(tokens: int) -> int:
    """Cells that are allocated for so many tokens."""
    return -(-max(0, tokens) // _PADDING) * _PADDING


def row_bytes(elements: int, kind: str) -> int:
    """A row of a cache, in whole blocks of its type; an unknown type counts as f16."""
    length, size = _ROWS.get(kind, _ROWS["f16"])
    return -(-max(0, elements) // length) * size


def cells(server: Server) -> tuple[int, int]:
    """Cells of a stream of the cache, and how many streams there are."""
    slots = max(1, server.parallel)
    if server.unified:
        return padded(server.total_tokens), 1
    return padded(-(-max(0, server.total_tokens) // slots)), slots


def windowed_cells(window: int, server: Server) -> int:
    """Cells of a stream in a layer that sees ``window`` tokens."""
    whole, _ = cells(server)
    shared = max(1, server.parallel) if server.unified else 1
    return padded(min(whole, window * shared + server.ubatch_tokens))


def kv_layer_bytes(layer: Layer, server: Server) -> int:
    """The cache of one layer, for all slots."""
    if not layer.kv_heads:
        return 0
    whole, streams = cells(server)
    count = windowed_cells(layer.window, server) if layer.window else whole
    key = row_bytes(layer.kv_heads * layer.key_length, server.kv_cache_type)
    value = row_bytes(layer.kv_heads * layer.value_length, server.kv_cache_type)
    return count * streams * (key + value)


def state_layer_bytes(layer: Layer, server: Server) -> int:
    """What a recurrent layer keeps, for all slots, in 32 bits."""
    return 4 * (layer.conv_elements + layer.state_elements) * max(1, server.parallel)


def layer_bytes(layer: Layer, server: Server) -> int:
    """Everything that follows a layer to the device it is on."""
    return layer.weights_bytes + kv_layer_bytes(layer, server) + state_layer_bytes(layer, server)


def flash_attention_exists(shape: ModelShape) -> bool:
    """Whether a GPU has flash attention for the heads of a model; without, all scores of a batch are kept."""
    return all(
        (layer.key_length, layer.value_length or layer.key_length * 8 // 9) in _HEADS for layer in shape.attention
    )


def _feed_forward(shape: ModelShape, layer: Layer) -> int:
    """Numbers per token that are alive at once in the feed-forward part of a layer."""
    if layer.expert:
        return 4 * shape.hidden + max(1, shape.experts_used) * (2 * shape.hidden + layer.feed_forward)
    return 4 * shape.hidden + 3 * layer.feed_forward


def compute_bytes(shape: ModelShape, server: Server) -> int:
    """The buffer of intermediate results: exact for dense models, an upper bound for experts."""
    whole, streams = cells(server)
    batch = max(1, server.ubatch_tokens)
    windows = max((windowed_cells(layer.window, server) for layer in shape.attention if layer.window), default=0)
    if not shape.attention:
        whole = 0
    if not server.flash_attention:
        heads = max((layer.heads for layer in shape.attention), default=0)
        scores = 4 * batch * whole * (heads + 1) + 4 * batch * windows
        return scores + 24 * batch * shape.hidden
    masks = 2 * batch * (whole + windows)
    forward = max((4 * batch * _feed_forward(shape, layer) for layer in shape.layers), default=0)
    attend = max((_attention(shape, layer, server, whole * streams) for layer in shape.attention), default=0)
    return masks + max(forward, attend)


def _attention(shape: ModelShape, layer: Layer, server: Server, cached: int) -> int:
    """Queries and results of a layer's attention, and the plain copy of a quantized cache."""
    count = windowed_cells(layer.window, server) * cells(server)[1] if layer.window else cached
    plain = 2 * count * layer.kv_heads * (layer.key_length + layer.value_length)
    copied = plain if server.dequantizes and server.kv_cache_type != "f16" else 0
    return 4 * max(1, server.ubatch_tokens) * (2 * shape.hidden + 2 * layer.heads * layer.key_length) + copied


def output_bytes(shape: ModelShape) -> int:
    """What lies beside the last layer: the output matrix and the norms. A tied embedding is there a second time."""
    return (shape.embedding_bytes if shape.tied else shape.output_bytes) + shape.other_bytes


def buffers(shape: ModelShape, server: Server) -> Buffers:
    """The plan with all layers on the device. Layers for drafting count as loaded: an upper bound."""
    layers = shape.layers
    return Buffers(
        weights=sum(layer.weights_bytes for layer in layers) + output_bytes(shape) + shape.draft_bytes,
        kv_cache=sum(kv_layer_bytes(layer, server) for layer in layers) + draft_cache_bytes(shape, server),
        state=sum(state_layer_bytes(layer, server) for layer in layers),
        compute=compute_bytes(shape, server),
        host=shape.embedding_bytes,
    )


def draft_cache_bytes(shape: ModelShape, server: Server) -> int:
    """The cache of layers for drafting, each as large as the largest of the model's own."""
    largest = max((kv_layer_bytes(layer, server) for layer in shape.attention), default=0)
    return shape.draft_layers * largest


def partial(shape: ModelShape, server: Server, gpu_layers: int) -> Buffers:
    """The plan with ``gpu_layers`` on the device (``-ngl``): the output counts as the last layer, the first ones stay
    in main memory. Intermediate results then take more: 30 % was seen for dense models, 170 % for experts."""
    count = len(shape.layers)
    if gpu_layers > count:
        return buffers(shape, server)
    kept = shape.layers[count - max(0, gpu_layers - 1) :] if gpu_layers > 1 else ()
    whole = buffers(shape, server)
    weights = sum(layer.weights_bytes for layer in kept) + (output_bytes(shape) if gpu_layers > 0 else 0)
    cache = sum(kv_layer_bytes(layer, server) for layer in kept)
    state = sum(state_layer_bytes(layer, server) for layer in kept)
    compute = whole.compute * (27 if shape.moe else 13) // 10
    moved = whole.weights + whole.kv_cache + whole.state - weights - cache - state
    return Buffers(weights, cache, state, compute, whole.host + moved)

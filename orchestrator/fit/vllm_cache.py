"""How vLLM's KV cache is cut into blocks, and how many tokens that makes.

Follows vLLM's v1/core/kv_cache_utils.py and v1/kv_cache_interface.py. Layers of one kind form groups of equal size,
and a block is a page of every layer of a group; so models of several kinds lose what their groups do not fill.
"""

from dataclasses import dataclass

from orchestrator.fit.memory import VllmSettings
from orchestrator.fit.shape import Layer, ModelShape

BLOCK_TOKENS = 16
CPU_BLOCK_TOKENS = 128
_STATE_BYTES, _CONV_BYTES = 4, 2

_WIDTHS = {
    "auto": 16, "float16": 16, "bfloat16": 16, "fp8": 8, "fp8_e4m3": 8, "fp8_e5m2": 8, "fp8_inc": 8,
    "int8_per_token_head": 9, "fp8_per_token_head": 9, "int4_per_token_head": 5, "nvfp4": 5,
}  # fmt: skip
"""Bits of an element of a cache, the scales of quantized ones rounded up."""

_LATENT_PACKED = {"fp8_ds_mla": 656}  # bytes of a row of latents and its scales


@dataclass(frozen=True)
class Cache:
    """Blocks that one request takes: ``block_bytes`` each, ``block_tokens`` long.

    ``full_groups`` grow with the context, ``window_groups`` up to a window, ``fixed_blocks`` not at all.
    ``spare_blocks`` is what vLLM keeps back.
    """

    block_bytes: int
    block_tokens: int
    full_groups: int
    window_groups: int
    window_tokens: int
    fixed_blocks: int
    spare_blocks: int = 1

    def request_blocks(self, tokens: int) -> int:
        """Blocks that a request of so many tokens takes at most."""
        full = -(-tokens // self.block_tokens) * self.full_groups
        if not self.window_groups:
            return full + self.fixed_blocks
        window = -(-min(self.window_tokens, tokens) // self.block_tokens) + 1
        return full + window * self.window_groups + self.fixed_blocks

    def request_bytes(self, tokens: int) -> int:
        """Memory that a request of so many tokens takes at most."""
        return self.request_blocks(tokens) * self.block_bytes

    def needed_bytes(self, tokens: int, parallel: int) -> int:
        """Room that so many requests of so many tokens need at once, with what vLLM keeps back."""
        return (self.request_blocks(tokens) * max(1, parallel) + self.spare_blocks) * self.block_bytes

    def concurrency(self, room_bytes: int, tokens: int) -> float:
        """How many requests of so many tokens fit at once, as vLLM's log says it."""
        each = self.request_blocks(tokens)
        return max(0, room_bytes) // self.block_bytes / each if self.block_bytes and each else 0.0


def element_bits(shape: ModelShape, dtype: str) -> int:
    """Bits of an element of the cache; an unknown type counts as 16."""
    if dtype == "auto" and shape.kv_cache_dtype:
        dtype = shape.kv_cache_dtype
    return _WIDTHS.get(dtype, 16)


def token_bytes(shape: ModelShape, layer: Layer, settings: VllmSettings) -> int:
    """What a token takes in one layer of one GPU. Latent rows are not divided among GPUs, heads are, down to one."""
    if shape.latent_elements:
        packed = _LATENT_PACKED.get(settings.kv_cache_dtype)
        return packed or -(-shape.latent_elements * element_bits(shape, settings.kv_cache_dtype) // 8)
    heads = max(1, layer.kv_heads // max(1, settings.tensor_parallel))
    return -(-heads * (layer.key_length + layer.value_length) * element_bits(shape, settings.kv_cache_dtype) // 8)


def cache(shape: ModelShape, settings: VllmSettings, *, cpu: bool = False) -> Cache:
    """How the cache of a model is cut."""
    least = CPU_BLOCK_TOKENS if cpu else BLOCK_TOKENS
    full = [token_bytes(shape, layer, settings) for layer in shape.attention if not layer.window]
    window = [token_bytes(shape, layer, settings) for layer in shape.attention if layer.window]
    states = [_state_bytes(layer, settings) for layer in shape.recurrent]
    if not window and not states:
        return Cache(least * sum(full), least, 1 if full else 0, 0, 0, 0)
    wide = max((*full, *window), default=0)
    length = _block_tokens(least, wide, max(states, default=0))
    page = max(length * wide, max(states, default=0))
    size = _group_size([count for count in (len(full), len(window), len(states)) if count])
    newest = max((layer.window for layer in shape.attention), default=0)
    return Cache(
        block_bytes=size * page,
        block_tokens=length,
        full_groups=-(-len(full) // size),
        window_groups=-(-len(window) // size),
        window_tokens=newest - 1 + settings.max_num_batched_tokens * (1 if cpu else _in_flight(settings)),
        fixed_blocks=2 * -(-len(states) // size),  # one in use, one for the shared beginning of requests
    )


def _state_bytes(layer: Layer, settings: VllmSettings) -> int:
    shares = max(1, settings.tensor_parallel)
    return (layer.conv_elements * _CONV_BYTES + layer.state_elements * _STATE_BYTES) // shares


def _block_tokens(step: int, token: int, state: int) -> int:
    """Tokens of a block: enough that a page of attention is no smaller than one of a state."""
    least = -(-state // token) if token else 0
    return max(1, -(-least // step)) * step


def _group_size(counts: list[int]) -> int:
    """Layers of a group: the fewest of a kind, or the most where the kinds are about as many."""
    fewest, most = min(counts), max(counts)
    return most if 2 * most < 3 * fewest else fewest


def _in_flight(settings: VllmSettings) -> int:
    """Batches that are computed at once: two since scheduling is asynchronous."""
    return 2 if version_of(settings.version) >= (0, 29) else 1


def version_of(text: str) -> tuple[int, int]:
    """Major and minor number of a release; an unknown one counts as the newest."""
    parts = text.removeprefix("v").split(".")
    if len(parts) < 2 or not all(part.isdecimal() and len(part) < 9 for part in parts[:2]):
        return (1 << 30, 0)
    return int(parts[0]), int(parts[1])

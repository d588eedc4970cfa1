"""What Ollama makes of a model on a machine: how it starts llama.cpp, and where that puts the layers.

Follows ollama 0.33 (server/sched.go, llm/llama_server.go): llama-server decides the placement by itself, keeps 1 GiB of
every GPU free, and never shortens a context that was asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.fit.llamacpp import (
    PLAIN,
    Buffers,
    Server,
    buffers,
    flash_attention_exists,
    layer_bytes,
    output_bytes,
    padded,
    partial,
)
from orchestrator.fit.memory import MIB, Card, Machine, OllamaSettings
from orchestrator.fit.shape import ModelShape

CONTEXT_LOW_MIB = 240
CONTEXT_HIGH_MIB = 620
"""A process's CUDA context and pools on a GPU: 245 MiB on an RTX 4060 Ti, 456 on an RTX 4090, 613 on an H200."""

CPU_OVERHEAD_LOW_MIB = 40
CPU_OVERHEAD_HIGH_MIB = 250
"""A server's own memory on a CPU beside its buffers; of those some are never touched."""

PROJECTOR_SPARE_MIB = 1024
"""What Ollama adds to the reserve for a vision projector, beside its size."""

ONE_AT_A_TIME = ("mllama", "qwen3vl", "qwen35", "qwen3next", "lfm2", "nemotron_h")
"""Architectures (and what begins with their names) that Ollama serves without parallel requests."""

_MEDIUM, _LARGE = 1024, 2048
_BATCH_SPARE = {_MEDIUM: 768 * MIB, _LARGE: 2048 * MIB}
_HEADROOM_PERCENT = {_MEDIUM: 75, _LARGE: 60}


@dataclass(frozen=True)
class Placement:
    """Where the layers go. ``layers`` counts those on each of ``cards``, the output being one of them.

    ``buffers`` are the sums over the GPUs, ``moved`` the bytes that went to main memory for want of room.
    """

    cards: tuple[Card, ...]
    layers: tuple[int, ...]
    buffers: Buffers
    moved: int
    needs: tuple[int, ...]


def parallel_of(shape: ModelShape, wanted: int) -> int:
    """How many requests Ollama really serves at once."""
    return 1 if shape.architecture.startswith(ONE_AT_A_TIME) else max(1, wanted)


def context_of(shape: ModelShape, wanted: int) -> int:
    """The context per request: no more than the model was trained for."""
    return min(wanted, shape.training_context) if shape.training_context else wanted


def server(shape: ModelShape, settings: OllamaSettings, machine: Machine) -> Server:
    """How Ollama starts llama-server."""
    slots = parallel_of(shape, settings.parallel)
    total = max(1, context_of(shape, settings.context_tokens)) * slots
    attention = _attention(shape, settings, machine)
    plain = "f16" if settings.kv_cache_type not in PLAIN else settings.kv_cache_type
    return Server(
        total_tokens=total,
        parallel=slots,
        kv_cache_type=settings.kv_cache_type if attention else plain,
        flash_attention=attention,
        ubatch_tokens=min(settings.batch_tokens or batch_tokens(shape, total, attention, machine), total),
        dequantizes=bool(machine.cards),
    )


def _attention(shape: ModelShape, settings: OllamaSettings, machine: Machine) -> bool:
    return settings.flash_attention is not False and (not machine.cards or flash_attention_exists(shape))


def problem(shape: ModelShape, settings: OllamaSettings, machine: Machine) -> str:
    """Why llama-server would not start, whatever the memory; empty where it would."""
    if settings.kv_cache_type in PLAIN or _attention(shape, settings, machine):
        return ""
    heads = sorted({layer.key_length for layer in shape.attention})
    why = "is turned off" if settings.flash_attention is False else f"GPUs do not have for heads of {heads[-1]}"
    return f"a {settings.kv_cache_type} cache needs flash attention, which {why}"


def batch_tokens(shape: ModelShape, total_tokens: int, attention: bool, machine: Machine) -> int:
    """The batch that Ollama chooses where num_batch is not set (automaticGenerationBatch)."""
    free = sum(card.free_mib for card in machine.cards) * MIB or machine.ram_free_bytes
    if machine.cards and not attention:
        small = min(min(card.free_mib, card.total_mib) for card in machine.cards) <= 8192
        return 256 if small and total_tokens > 4096 else 512
    batch = _LARGE if total_tokens > 32768 else _MEDIUM if total_tokens > 4096 else 512
    guess = _guess(shape, total_tokens)
    while batch > 512 and not _batch_fits(batch, guess, free):
        batch //= 2
    return batch


def _guess(shape: ModelShape, total_tokens: int) -> int:
    """Ollama's own rough idea of what a model takes (PredictServerVRAM)."""
    heads = max((layer.heads for layer in shape.layers), default=0)
    kv_heads = max(1, min((layer.kv_heads for layer in shape.layers), default=0))
    width = shape.hidden // heads if heads else 0
    return shape.weights_bytes + 4 * len(shape.layers) * kv_heads * width * total_tokens


def _batch_fits(batch: int, guess: int, free: int) -> bool:
    if not guess or not free:
        return True
    most = free * 80 // 100
    return guess <= free * _HEADROOM_PERCENT[batch] // 100 and guess + _BATCH_SPARE[batch] <= most


def reserve_mib(shape: ModelShape, settings: OllamaSettings) -> int:
    """What stays free on every GPU."""
    spare = PROJECTOR_SPARE_MIB if shape.projector_bytes else 0
    return max(0, settings.fit_target_mib) + spare


def room(card: Card, shape: ModelShape, settings: OllamaSettings) -> int:
    """Bytes of a GPU that llama.cpp fills, with the largest CUDA context that was seen; may be negative."""
    return (card.free_mib - CONTEXT_HIGH_MIB - reserve_mib(shape, settings)) * MIB - shape.projector_bytes


def place(shape: ModelShape, settings: OllamaSettings, machine: Machine) -> Placement:
    """Put the layers on the GPUs: on one where they all fit, else over all of them, and what is left in main memory."""
    start = server(shape, settings, machine)
    whole = buffers(shape, start)
    if not machine.cards:
        return Placement((), (), _on_cpu(shape, whole), 0, ())
    best = max(machine.cards, key=lambda card: card.free_mib)
    everything = len(shape.layers) + 1
    if whole.total <= room(best, shape, settings):
        return Placement((best,), (everything,), whole, 0, (whole.total,))
    if len(machine.cards) == 1:
        return _partly(shape, start, best, room(best, shape, settings))
    return _split(shape, start, machine.cards, [room(card, shape, settings) for card in machine.cards])


def _on_cpu(shape: ModelShape, whole: Buffers) -> Buffers:
    """Everything in main memory: a tied embedding is there once."""
    return replace(whole, weights=shape.weights_bytes, host=0)


def _partly(shape: ModelShape, start: Server, card: Card, space: int) -> Placement:
    """As many of the last layers as there is room for."""
    most, least = len(shape.layers), 0
    while least < most:
        middle = (least + most + 1) // 2
        if partial(shape, start, middle).total <= space:
            least = middle
        else:
            most = middle - 1
    kept = partial(shape, start, least)
    if least == 0:
        kept = replace(kept, compute=0)
    return Placement((card,), (least,), kept, kept.host - shape.embedding_bytes, (kept.total,))


def _split(shape: ModelShape, start: Server, cards: tuple[Card, ...], spaces: Sequence[int]) -> Placement:
    """Whole layers over several GPUs, each with a buffer of its own and four copies of the inputs."""
    whole = buffers(shape, start)
    compute = whole.compute + 8 * start.ubatch_tokens * padded(start.total_tokens)
    pieces = [layer_bytes(layer, start) for layer in shape.layers] + [output_bytes(shape)]
    taken, counts, done = [0] * len(cards), [0] * len(cards), 0
    for index, space in enumerate(spaces):
        while done < len(pieces) and taken[index] + pieces[done] + compute <= space:
            taken[index] += pieces[done]
            counts[index] += 1
            done += 1
    needs = tuple(size + compute if count else 0 for size, count in zip(taken, counts, strict=True))
    moved = sum(pieces[done:]) + shape.draft_bytes
    used = sum(1 for count in counts if count)
    kept = _shares(whole, sum(taken), compute * used, moved)
    return Placement(cards, tuple(counts), kept, moved, needs)


def _shares(whole: Buffers, taken: int, compute: int, moved: int) -> Buffers:
    """The sums over the GPUs, of what they took in the proportion of the whole."""
    everything = max(1, whole.weights + whole.kv_cache + whole.state)
    cache, state = whole.kv_cache * taken // everything, whole.state * taken // everything
    return Buffers(taken - cache - state, cache, state, compute, whole.host + moved)

"""What vLLM takes of a GPU before its KV cache, and what is left for that.

vLLM measures while it starts: budget = total x utilization, less the weights, the peak of a dry run, what is outside of
PyTorch, and an estimate of the CUDA graphs (gpu_worker.py, determine_available_memory). All but the weights depend
on kernels and versions, so they are ranges here, which contain what was measured on an H200 with 0.23.0; see
`make bench-fit`. Sizes are bytes.
"""

import math
from dataclasses import dataclass

from orchestrator.fit.memory import GIB, MIB, Card, Machine, VllmSettings
from orchestrator.fit.shape import ModelShape
from orchestrator.fit.vllm_cache import version_of

CONTEXT_MIB = 600
"""Taken by the CUDA context before vLLM measures what is free: 0.51 GiB measured on an idle H200, rounded up."""

SECOND_RUNNER = {"llama", "mistral", "qwen3", "deepseek_v2", "qwen2_moe"}
"""Architectures that 0.23 serves with the newer model runner where the weights are not quantized. Later releases added
to them, and since 0.30 all are."""

CPU_OVERHEAD_LOW_BYTES = GIB
CPU_OVERHEAD_HIGH_BYTES = 5 * GIB // 2
"""The processes of the server on a CPU, beside weights and KV cache."""

_TRITON_ROWS = 132  # of the vocabulary: the scratch of the sampler that takes the place of FlashInfer's


@dataclass(frozen=True)
class Span:
    """Between which bounds a size lies."""

    low: int
    high: int

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class Parts:
    """What one GPU holds beside the KV cache."""

    weights: Span
    activation: Span
    outside: Span
    graphs: Span

    @property
    def total(self) -> Span:
        """The sum."""
        return self.weights + self.activation + self.outside + self.graphs


def utilization(card: Card) -> float:
    """The largest ``--gpu-memory-utilization`` that starts on a card (DESIGN 5.1), to three places."""
    usable = max(0, card.free_mib - CONTEXT_MIB)
    return max(0.01, math.floor(usable / card.total_mib * 1000) / 1000) if card.total_mib > 0 else 0.01


def ranks(settings: VllmSettings) -> int:
    """GPUs that share the model."""
    return max(1, settings.tensor_parallel)


def cards_of(settings: VllmSettings, machine: Machine) -> tuple[Card, ...]:
    """The GPUs that are taken: the emptiest."""
    return tuple(sorted(machine.cards, key=lambda card: -card.free_mib)[: ranks(settings)])


def share_of(settings: VllmSettings, cards: tuple[Card, ...]) -> float:
    """The utilization that is asked for, or the one that starts on the fullest of the GPUs."""
    return settings.utilization or min((utilization(card) for card in cards), default=0.01)


def budget(settings: VllmSettings, cards: tuple[Card, ...]) -> int:
    """Bytes that vLLM may take of each GPU: a share of what programs see as total."""
    share = share_of(settings, cards)
    return min((int(card.usable_mib * MIB * share) for card in cards), default=0)


def refused(settings: VllmSettings, cards: tuple[Card, ...]) -> bool:
    """Whether the budget is more than will be free, which vLLM does not start with."""
    share = share_of(settings, cards)
    return any(card.usable_mib * share > card.free_mib - CONTEXT_MIB / 2 for card in cards)


def parts(shape: ModelShape, settings: VllmSettings) -> Parts:
    """What each GPU holds beside the KV cache."""
    outside = Span(140 * MIB, 270 * MIB) if ranks(settings) == 1 else Span(200 * MIB, 1200 * MIB)
    return Parts(weights(shape, settings), activation(shape, settings), outside, graphs(shape, settings))


def weights(shape: ModelShape, settings: VllmSettings) -> Span:
    """The file's tensors, the padding of a GGUF's stacked ones, and what the allocator rounds up."""
    count = ranks(settings)
    loaded = shape.weights_bytes + (shape.padding_bytes if shape.source == "gguf" else 0)
    rows = loaded // count + _position_tables(shape)
    rounded = _rounding(shape, count) * (1 if shape.source == "gguf" else 2)  # 16-bit weights: twice that was seen
    return Span(rows + 8 * MIB, rows + rounded + 64 * MIB + shape.projector_bytes)


def _position_tables(shape: ModelShape) -> int:
    """Sines and cosines of every position that the model knows."""
    width = max((layer.key_length for layer in shape.attention), default=0)
    return shape.rope_tables * min(shape.training_context, 1 << 24) * width * 2 if not shape.latent_elements else 0


def _rounding(shape: ModelShape, count: int) -> int:
    """What PyTorch's allocator adds to the matrices of the layers: large ones come in steps of 2 MiB, of which a
    remainder of up to 1 MiB is not used for others."""
    width = 2.0 if not shape.bits_per_weight else shape.bits_per_weight / 8
    added = 0
    for layer in shape.layers:
        sides = (
            layer.heads * layer.key_length + layer.kv_heads * (layer.key_length + layer.value_length),
            layer.heads * layer.key_length,
            2 * layer.feed_forward * (shape.experts if layer.expert else 1),
            layer.feed_forward * (shape.experts if layer.expert else 1),
        )
        for side in sides:
            left = -int(side * shape.hidden * width / count) % (2 * MIB)
            added += left if left <= MIB else 0
    return added


def activation(shape: ModelShape, settings: VllmSettings) -> Span:
    """The peak of the dry run: of the forward pass over a full batch, or of sampling for as many requests as may be."""
    tokens, hidden = max(1, settings.max_num_batched_tokens), shape.hidden
    forward = 2 * tokens * (3 * hidden + max((_wide(shape, settings, index) for index in _kinds(shape)), default=0))
    logits = 4 * shape.vocabulary * min(max(1, settings.max_num_seqs), tokens)
    states = 4 * tokens * hidden
    newer = Span(forward, max(forward * 13 // 10, 2 * logits + states))
    older = Span(
        max(forward, logits * 3 + states),
        max(forward * 13 // 10, logits * 7 // 2 + states + 4 * _TRITON_ROWS * shape.vocabulary),
    )
    runner = _newer_runner(shape, settings)
    if runner is None:
        return Span(newer.low, older.high)
    return newer if runner else older


def _newer_runner(shape: ModelShape, settings: VllmSettings) -> bool | None:
    """Whether the newer model runner serves it, which samples without tables of probabilities; None: not known."""
    version = version_of(settings.version)
    if version >= (0, 30):
        return True
    if version > (0, 23):
        return None
    return shape.architecture in SECOND_RUNNER and not shape.quantized and version >= (0, 20)


def _kinds(shape: ModelShape) -> tuple[int, ...]:
    """One layer of every kind that differs in width."""
    found: dict[tuple[int, bool], int] = {}
    for index, layer in enumerate(shape.layers):
        found.setdefault((layer.feed_forward, layer.expert), index)
    return tuple(found.values())


def _wide(shape: ModelShape, settings: VllmSettings, index: int) -> int:
    """Numbers per token that are alive at once in a layer's feed-forward part."""
    layer, count = shape.layers[index], ranks(settings)
    if layer.expert:
        return max(1, shape.experts_used) * (3 * layer.feed_forward // count + shape.hidden)
    return 3 * layer.feed_forward // count


def graphs(shape: ModelShape, settings: VllmSettings) -> Span:
    """What vLLM sets aside for CUDA graphs; the newer runner of early releases set nothing aside."""
    version = version_of(settings.version)
    if settings.enforce_eager or version < (0, 21):
        return Span(0, 0)
    runner = _newer_runner(shape, settings)
    if runner is None or version >= (0, 30):
        return Span(0, 640 * MIB)
    return Span(0, 64 * MIB) if runner else Span(300 * MIB, 640 * MIB)


def cpu_weights(shape: ModelShape) -> int:
    """Weights in main memory: a GGUF is turned into 16 bits first."""
    return shape.parameters * 2 if shape.source == "gguf" and shape.parameters else shape.weights_bytes

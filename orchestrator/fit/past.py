"""What Ollama's own estimator said before November 2025, when it decided how many layers go to the GPU.

It is kept to explain old experience: "4 % on the CPU with 2 GB free". The formulas are of ollama's fs/ggml/ggml.go
(GraphSize) and llm/memory.go before commit f560bd077, for the architecture of the worked example.
"""

from orchestrator.fit.llamacpp import Server, buffers, layer_bytes, output_bytes
from orchestrator.fit.memory import MIB, Machine, OllamaSettings
from orchestrator.fit.shape import ModelShape

_LEAST_MIB = 457  # of every GPU, kept by Ollama
_BATCH = 512


def wanted_bytes(shape: ModelShape, context_tokens: int, parallel: int = 1) -> int:
    """What it took a whole model of qwen2's kind to need on one GPU, and did not put there with less."""
    total = context_tokens * max(1, parallel)
    start = Server(total_tokens=total, parallel=parallel, flash_attention=False)
    hidden, heads = shape.hidden, max((layer.heads for layer in shape.layers), default=0)
    forward = 4 * (_BATCH * (1 + 2 * hidden + total * (1 + heads)))
    graph = max(forward + 4 * hidden * (1 + total), 4 * _BATCH * (hidden + shape.vocabulary))
    spare = layer_bytes(shape.layers[0], start) if shape.layers else 0
    return (
        _LEAST_MIB * MIB
        + spare
        + sum(layer_bytes(layer, start) for layer in shape.layers)
        + graph
        + output_bytes(shape)
    )


def before_the_change(shape: ModelShape, settings: OllamaSettings, machine: Machine) -> str:
    """What changed for a model that spilled then and would not now; empty where nothing did, or is not known."""
    plain = settings.kv_cache_type == "f16" and settings.flash_attention is not False
    if shape.architecture != "qwen2" or len(machine.cards) != 1 or not plain:
        return ""
    free, total = machine.cards[0].free_mib * MIB, settings.context_tokens * settings.parallel
    then = wanted_bytes(shape, settings.context_tokens, settings.parallel)
    now = buffers(shape, Server(total_tokens=total, parallel=settings.parallel)).total + settings.fit_target_mib * MIB
    if not now <= free < then + _DESKTOP_MIB * MIB:
        return ""
    share = 100 * output_bytes(shape) / then
    return (
        f"Ollama before November 2025 counted {then // MIB} MiB for this and left about {share:.0f} % on the CPU where "
        f"less was free; now llama.cpp places the layers by what it allocates, {now // MIB} MiB with the "
        f"{settings.fit_target_mib} that stay free"
    )


_DESKTOP_MIB = 512  # what a screen may take of a card: just above the old figure, small things decided

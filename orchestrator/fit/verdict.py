"""Does it fit: what a model takes on a machine, set against what is free there."""

from collections.abc import Sequence

from orchestrator.fit import ollama, vllm, vllm_cache
from orchestrator.fit.llamacpp import Buffers, buffers, draft_cache_bytes, flash_attention_exists, kv_layer_bytes
from orchestrator.fit.memory import (
    GIB,
    MIB,
    Card,
    Estimate,
    Machine,
    OllamaSettings,
    Part,
    PartName,
    Placed,
    Settings,
    Verdict,
    VllmSettings,
)
from orchestrator.fit.past import before_the_change
from orchestrator.fit.shape import ModelShape

_TRANSLATED = "--gpu-mem 1.0 means all that is free: {share:g} here, since vLLM refuses to start with 1.0 itself"
_CPU_SHORT = "requests of {tokens} tokens need {size:.1f} GiB of KV cache"


def estimate(shape: ModelShape, settings: Settings, machine: Machine) -> Estimate:
    """What the runtime that the settings are of would take, and whether that fits. Never raises."""
    if isinstance(settings, OllamaSettings):
        return _ollama(shape, settings, machine)
    return _vllm_cpu(shape, settings, machine) if not machine.cards else _vllm(shape, settings, machine)


def _firm(verdict: Verdict, doubts: Sequence[str]) -> Verdict:
    """An estimate with doubts is never a firm yes."""
    return "tight" if verdict == "fits" and doubts else verdict


def _part(name: PartName, low: int, high: int | None = None) -> Part:
    return Part(name=name, low_bytes=low, high_bytes=low if high is None else high)


def _sums(parts: Sequence[Part]) -> tuple[int, int]:
    return sum(part.low_bytes for part in parts), sum(part.high_bytes for part in parts)


def _between(need_low: int, need_high: int, room: int) -> Verdict:
    if need_high <= room:
        return "fits"
    return "tight" if need_low <= room else "does not fit"


def _ollama(shape: ModelShape, settings: OllamaSettings, machine: Machine) -> Estimate:
    placement = ollama.place(shape, settings, machine)
    start = ollama.server(shape, settings, machine)
    used = max(1, sum(1 for count in placement.layers if count))
    parts = _ollama_parts(shape, placement, machine, buffers(shape, start))
    need_low, need_high = _sums(parts)
    free = _ollama_free(placement, machine)
    reserve = ollama.reserve_mib(shape, settings) * MIB * used if machine.cards else 0
    verdict = _ollama_verdict(shape, settings, machine, placement, (need_low, need_high), free - reserve)
    spilled = placement.moved if verdict in {"spills", "does not fit"} else 0
    doubts = (*shape.doubts, *_split_doubts(placement))
    cached = next(part.high_bytes for part in parts if part.name == "KV cache")
    request = sum(kv_layer_bytes(layer, start) for layer in shape.layers) + draft_cache_bytes(shape, start)
    return Estimate(
        runtime="ollama",
        verdict=_firm(verdict, doubts),
        certain=not doubts,
        doubts=doubts,
        notes=_ollama_notes(shape, settings, machine),
        context_tokens=ollama.context_of(shape, settings.context_tokens),
        parallel=start.parallel,
        parts=parts,
        need_low_bytes=need_low,
        need_high_bytes=need_high,
        free_bytes=free,
        reserve_bytes=reserve,
        short_bytes=max(0, need_high + reserve - free),
        kv_low_bytes=free - reserve - need_high + cached,
        kv_high_bytes=free - reserve - need_low + cached,
        kv_request_bytes=request // start.parallel,
        batch_tokens=start.ubatch_tokens,
        gpu_layers=sum(placement.layers) if spilled or not machine.cards else len(shape.layers) + 1,
        cpu_percent=_percent(spilled, buffers(shape, start).total) if machine.cards else 100.0,
        placed=_ollama_placed(shape, placement, machine, need_high),
    )


def _ollama_parts(shape: ModelShape, placement: ollama.Placement, machine: Machine, whole: Buffers) -> tuple[Part, ...]:
    """What the whole model would take, of GPUs where there are any: what is short of that spills."""
    low, high = ollama.CPU_OVERHEAD_LOW_MIB * MIB, ollama.CPU_OVERHEAD_HIGH_MIB * MIB
    if machine.cards:
        used = max(1, sum(1 for count in placement.layers if count))
        low, high = ollama.CONTEXT_LOW_MIB * MIB * used, ollama.CONTEXT_HIGH_MIB * MIB * used
    return _without_nothing(
        _part("weights", whole.weights if machine.cards else shape.weights_bytes),
        _part("KV cache", whole.kv_cache),
        _part("state", whole.state),
        _part("compute", whole.compute if placement.moved else placement.buffers.compute),
        _part("projector", shape.projector_bytes),
        _part("overhead", low, high),
    )


def _ollama_free(placement: ollama.Placement, machine: Machine) -> int:
    if not machine.cards:
        return machine.ram_free_bytes
    used = [card for card, count in zip(placement.cards, placement.layers, strict=True) if count]
    return sum(card.free_mib for card in used or placement.cards[:1]) * MIB


def _ollama_verdict(
    shape: ModelShape,
    settings: OllamaSettings,
    machine: Machine,
    placement: ollama.Placement,
    need: tuple[int, int],
    room: int,
) -> Verdict:
    """On GPUs llama.cpp starts nearly always, and what has no room there goes to main memory."""
    if ollama.problem(shape, settings, machine):
        return "does not fit"
    if not machine.cards:
        return _between(*need, room)
    if placement.moved == 0:
        return "fits"
    if len(machine.cards) == 1 and need[0] <= room:
        return "tight"
    needed = placement.moved + shape.embedding_bytes
    return "does not fit" if 0 < machine.ram_free_bytes < needed else "spills"


def _percent(moved: int, total: int) -> float:
    return round(min(100.0, 100 * moved / total), 1) if total > 0 and moved > 0 else 0.0


def _split_doubts(placement: ollama.Placement) -> tuple[str, ...]:
    used = sum(1 for count in placement.layers if count)
    return (f"the layers are split over {used} GPUs",) if used > 1 else ()


def _ollama_notes(shape: ModelShape, settings: OllamaSettings, machine: Machine) -> tuple[str, ...]:
    problem = ollama.problem(shape, settings, machine)
    notes = [problem] if problem else []
    if machine.cards and not flash_attention_exists(shape):
        notes.append("GPUs have no flash attention for the heads of this model: the context costs far more")
    if ollama.parallel_of(shape, settings.parallel) < settings.parallel:
        notes.append(f"Ollama serves {shape.architecture} models one request at a time")
    if ollama.context_of(shape, settings.context_tokens) < settings.context_tokens:
        notes.append(f"Ollama cuts the context to the {shape.training_context} tokens that the model was trained for")
    if settings.parallel > 1:
        notes.append(
            f"Ollama takes memory for context x parallel = {settings.context_tokens * settings.parallel} tokens"
        )
    changed = before_the_change(shape, settings, machine)
    return (*notes, changed) if changed else tuple(notes)


def _ollama_placed(shape: ModelShape, placement: ollama.Placement, machine: Machine, need: int) -> tuple[Placed, ...]:
    everything = len(shape.layers) + 1
    if not machine.cards:
        return (_in_ram(machine, need, everything),)
    placed = [
        _on_card(card, size + ollama.CONTEXT_HIGH_MIB * MIB, count)
        for card, count, size in zip(placement.cards, placement.layers, placement.needs, strict=True)
        if count
    ]
    left = everything - sum(placement.layers)
    if left > 0:
        placed.append(_in_ram(machine, placement.moved + shape.embedding_bytes, left))
    return tuple(placed)


def _without_nothing(*parts: Part) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.high_bytes > 0 or part.name in {"weights", "KV cache"})


def _vllm(shape: ModelShape, settings: VllmSettings, machine: Machine) -> Estimate:
    cards, count = vllm.cards_of(settings, machine), vllm.ranks(settings)
    held, cache = vllm.parts(shape, settings), vllm_cache.cache(shape, settings)
    budget, needed = vllm.budget(settings, cards), cache.needed_bytes(settings.context_tokens, settings.parallel)
    kv_low, kv_high = budget - held.total.high, budget - held.total.low
    problems = _vllm_problems(shape, settings, machine)
    verdict = "does not fit" if problems else _between(budget - kv_high, budget - kv_low, budget - needed)
    parts, share = _vllm_parts(held, needed, count), vllm.share_of(settings, cards)
    need_low, need_high = _sums(parts)
    free = sum(card.free_mib for card in cards) * MIB
    doubts = (*shape.doubts, *(("the model is shared by several GPUs",) if count > 1 else ()))
    return Estimate(
        runtime="vllm",
        verdict=_firm(verdict, doubts),
        certain=not doubts,
        doubts=doubts,
        notes=(*problems, *((_TRANSLATED.format(share=share),) if settings.utilization is None else ())),
        context_tokens=settings.context_tokens,
        parallel=settings.parallel,
        parts=parts,
        need_low_bytes=need_low,
        need_high_bytes=need_high,
        free_bytes=free,
        reserve_bytes=max(0, free - budget * count),
        short_bytes=max(0, needed - kv_low) * count,
        kv_low_bytes=max(0, kv_low) * count,
        kv_high_bytes=max(0, kv_high) * count,
        kv_request_bytes=cache.request_bytes(settings.context_tokens) * count,
        concurrency_low=round(cache.concurrency(kv_low, settings.context_tokens), 2),
        concurrency_high=round(cache.concurrency(kv_high, settings.context_tokens), 2),
        utilization=share,
        batch_tokens=settings.max_num_batched_tokens,
        gpu_layers=len(shape.layers) + 1,
        placed=tuple(_on_card(card, budget + vllm.CONTEXT_MIB * MIB, len(shape.layers) + 1) for card in cards),
    )


def _vllm_parts(held: vllm.Parts, needed: int, count: int) -> tuple[Part, ...]:
    """The parts on all GPUs, with the KV cache that was asked for."""
    rest = held.outside + held.graphs
    return (
        _part("weights", held.weights.low * count, held.weights.high * count),
        _part("KV cache", needed * count),
        _part("compute", held.activation.low * count, held.activation.high * count),
        _part("overhead", rest.low * count, rest.high * count),
    )


def _on_card(card: Card, size: int, layers: int) -> Placed:
    return Placed(gpu=card.index, name=card.name, need_bytes=size, free_bytes=card.free_mib * MIB, layers=layers)


def _in_ram(machine: Machine, size: int, layers: int) -> Placed:
    return Placed(gpu=None, name="main memory", need_bytes=size, free_bytes=machine.ram_free_bytes, layers=layers)


def _vllm_problems(shape: ModelShape, settings: VllmSettings, machine: Machine) -> tuple[str, ...]:
    """Why vLLM would not start at all, whatever the memory."""
    cards, count = vllm.cards_of(settings, machine), vllm.ranks(settings)
    heads = {layer.heads for layer in shape.layers if layer.heads}
    found = []
    if len(cards) < count:
        found.append(f"tensor_parallel {count} needs as many GPUs; there are {len(machine.cards)}")
    if any(number % count for number in heads):
        found.append(f"the {max(heads)} attention heads cannot be divided by tensor_parallel {count}")
    if 0 < shape.training_context < settings.context_tokens:
        found.append(f"the model was trained for {shape.training_context} tokens, and vLLM refuses a longer context")
    if vllm.refused(settings, cards):
        found.append(f"vLLM refuses --gpu-mem {vllm.share_of(settings, cards):g}: that is more than is free")
    return tuple(found)


def _vllm_cpu(shape: ModelShape, settings: VllmSettings, machine: Machine) -> Estimate:
    """On a CPU: eager, 16 bits, and a KV cache of a given size."""
    cache, tokens = vllm_cache.cache(shape, settings, cpu=True), settings.context_tokens
    space, needed = settings.cpu_kv_cache_bytes, cache.needed_bytes(tokens, settings.parallel)
    peak = vllm.activation(shape, settings)
    parts = (
        _part("weights", vllm.cpu_weights(shape)),
        _part("KV cache", space),
        _part("compute", peak.low, peak.high),
        _part("overhead", vllm.CPU_OVERHEAD_LOW_BYTES, vllm.CPU_OVERHEAD_HIGH_BYTES),
    )
    low, high = _sums(parts)
    verdict = "does not fit" if needed > space else _between(low, high, machine.ram_free_bytes)
    return Estimate(
        runtime="vllm",
        verdict=_firm(verdict, shape.doubts),
        certain=shape.certain,
        doubts=shape.doubts,
        notes=(_CPU_SHORT.format(tokens=tokens, size=needed / GIB),) if needed > space else (),
        context_tokens=tokens,
        parallel=settings.parallel,
        parts=parts,
        need_low_bytes=low,
        need_high_bytes=high,
        free_bytes=machine.ram_free_bytes,
        reserve_bytes=0,
        short_bytes=max(0, high - machine.ram_free_bytes, needed - space),
        kv_low_bytes=space,
        kv_high_bytes=space,
        kv_request_bytes=cache.request_bytes(tokens),
        concurrency_low=round(cache.concurrency(space, tokens), 2),
        concurrency_high=round(cache.concurrency(space, tokens), 2),
        batch_tokens=settings.max_num_batched_tokens,
        cpu_percent=100.0,
        placed=(_in_ram(machine, high, len(shape.layers) + 1),),
    )

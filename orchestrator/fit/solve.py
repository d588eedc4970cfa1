"""The other way round: what context fits, and which settings would make room."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from orchestrator.fit.memory import GIB, MIB, Estimate, Largest, Lever, Machine, OllamaSettings, Settings, VllmSettings
from orchestrator.fit.ollama import problem
from orchestrator.fit.shape import ModelShape
from orchestrator.fit.verdict import estimate
from orchestrator.fit.vllm_cache import element_bits

STEP = 256
"""Contexts are looked for in such steps of tokens."""

LONGEST = 1 << 20
"""No longer context is proposed for a model that does not say what it was trained for."""

PARALLELS = (1, 2, 4, 8)

_WORTH_BYTES = 32 * MIB
"""What a lever has to free, to be named."""


def fits(found: Estimate) -> bool:
    """Whether there is room even at the upper bound; doubts about the model itself aside."""
    return found.verdict in {"fits", "tight"} and found.short_bytes == 0


def largest_context(shape: ModelShape, settings: Settings, machine: Machine) -> int:
    """The largest context per request, in whole steps, that fits with these settings otherwise; 0 when none does."""
    low, high = 0, (shape.training_context or LONGEST) // STEP
    if fits(estimate(shape, replace(settings, context_tokens=high * STEP), machine)):
        return high * STEP
    while high - low > 1:
        middle = (low + high) // 2
        if fits(estimate(shape, replace(settings, context_tokens=middle * STEP), machine)):
            low = middle
        else:
            high = middle
    return low * STEP


def largest(
    shape: ModelShape, settings: Settings, machine: Machine, parallels: Sequence[int] = PARALLELS
) -> tuple[Largest, ...]:
    """The largest context for each number of requests at once."""
    return tuple(
        Largest(parallel=count, context_tokens=largest_context(shape, replace(settings, parallel=count), machine))
        for count in parallels
    )


def levers(shape: ModelShape, settings: Settings, machine: Machine) -> tuple[Lever, ...]:
    """Settings that would make room, the most effective first, each with the context that then fits."""
    now = estimate(shape, settings, machine)
    context = largest_context(shape, settings, machine)
    shorter = _shorter(settings, context)
    found = [shorter] if shorter else []
    for setting, value, changed in _changes(shape, settings, machine):
        freed = _slack(estimate(shape, changed, machine)) - _slack(now)
        reached = largest_context(shape, changed, machine)
        if reached > context or freed >= _WORTH_BYTES:
            found.append(_lever(setting, value, reached, freed))
    return tuple(sorted(found, key=lambda lever: (-lever.context_tokens, -lever.freed_bytes)))


def adapted(shape: ModelShape, settings: Settings, machine: Machine, unset: Iterable[str]) -> Settings:
    """The settings, with those that nobody set changed as little as it takes to start for sure.

    ``unset`` holds names of fields. Batches and numbers of requests shrink first, the context last; where nothing
    helps, the settings stay as they are.
    """
    names = frozenset(unset)
    tried = list(_smaller(settings, names))
    for candidate in tried:
        if fits(estimate(shape, candidate, machine)):
            return candidate
    if "context_tokens" not in names:
        return settings
    reached = [(largest_context(shape, candidate, machine), candidate) for candidate in tried]
    context, best = max(reached, key=lambda pair: pair[0])
    return replace(best, context_tokens=min(context, settings.context_tokens)) if context else settings


def automatic(shape: ModelShape, settings: Settings, machine: Machine, unset: Iterable[str]) -> Settings:
    """The settings with the largest context that fits; batches that nobody set shrink where that gains a twentieth.

    Where none fits, with the smallest context that is looked for.
    """
    tried = list(_smaller(settings, frozenset(unset)))
    reached = [(largest_context(shape, candidate, machine), candidate) for candidate in tried]
    most = max(context for context, _ in reached)
    context, best = next(pair for pair in reached if 20 * pair[0] >= 19 * most)
    return replace(best, context_tokens=max(context, STEP))


def _slack(found: Estimate) -> int:
    return found.free_bytes - found.reserve_bytes - found.need_high_bytes


def _shorter(settings: Settings, context: int) -> Lever | None:
    """A shorter context is always a way, where any fits."""
    if not 0 < context < settings.context_tokens:
        return None
    name = "context" if isinstance(settings, OllamaSettings) else "max_model_len"
    return Lever(
        setting=name, value=str(context), context_tokens=context, freed_bytes=0, summary=f"{name} {context}: fits"
    )


def _lever(setting: str, value: str, context: int, freed: int) -> Lever:
    figure = f"{context} tokens" if context else "no context fits yet"
    gained = f", {'+' if freed >= 0 else '-'}{abs(freed) / GIB:.1f} GiB" if abs(freed) >= _WORTH_BYTES else ""
    return Lever(
        setting=setting,
        value=value,
        context_tokens=context,
        freed_bytes=freed,
        summary=f"{setting} {value}: {figure}{gained}",
    )


def _changes(shape: ModelShape, settings: Settings, machine: Machine) -> Iterator[tuple[str, str, Settings]]:
    """Single changes that may help: the spec's key, its value, and the settings with it."""
    if isinstance(settings, OllamaSettings):
        changes = _ollama_changes(settings, machine)
        yield from (change for change in changes if not problem(shape, change[2], machine))
    else:
        yield from _vllm_changes(shape, settings, machine)


def _ollama_changes(settings: OllamaSettings, machine: Machine) -> Iterator[tuple[str, str, OllamaSettings]]:
    if settings.flash_attention is False:
        yield "flash_attention", "true", replace(settings, flash_attention=True)
    else:
        wider = ("f32", "f16", "bf16", "q8_0", "q4_0")
        kinds = [kind for kind in ("q8_0", "q4_0") if _after(wider, kind, settings.kv_cache_type)]
        yield from (("kv_cache_type", kind, replace(settings, kv_cache_type=kind)) for kind in kinds)
    if settings.parallel > 1:
        yield "num_parallel", "1", replace(settings, parallel=1)
    if machine.cards and settings.fit_target_mib > 512:
        yield "env LLAMA_ARG_FIT_TARGET", "512", replace(settings, fit_target_mib=512)
    if settings.batch_tokens is None or settings.batch_tokens > 512:
        yield "num_batch", "512", replace(settings, batch_tokens=512)


def _after(order: Sequence[str], kind: str, than: str) -> bool:
    return than not in order or order.index(kind) > order.index(than)


def _vllm_changes(shape: ModelShape, settings: VllmSettings, machine: Machine) -> Iterator[tuple[str, str, Settings]]:
    if element_bits(shape, settings.kv_cache_dtype) > 8:
        yield "kv_cache_dtype", "fp8", replace(settings, kv_cache_dtype="fp8")
    if machine.cards and settings.max_num_seqs > 64:
        yield "max_num_seqs", "64", replace(settings, max_num_seqs=64)
    if settings.max_num_batched_tokens > 2048:
        yield "max_num_batched_tokens", "2048", replace(settings, max_num_batched_tokens=2048)
    if machine.cards and not settings.enforce_eager:
        yield "enforce_eager", "true", replace(settings, enforce_eager=True)
    if machine.cards and settings.utilization is not None:
        yield "gpu_mem", "1.0", replace(settings, utilization=None)
    more = 2 * settings.tensor_parallel
    if more <= len(machine.cards):
        yield "tensor_parallel", str(more), replace(settings, tensor_parallel=more)
    if not machine.cards:
        space = settings.cpu_kv_cache_bytes + 4 * GIB
        yield "cpu_kv_cache_gib", str(space // GIB), replace(settings, cpu_kv_cache_bytes=space)


def _smaller(settings: Settings, unset: frozenset[str]) -> Iterator[Settings]:
    """The settings themselves, then with ever smaller batches, as far as nobody set those."""
    yield settings
    if isinstance(settings, OllamaSettings):
        counts = [settings.parallel] if "parallel" not in unset else sorted({settings.parallel, 2, 1}, reverse=True)
        yield from (replace(settings, parallel=count) for count in counts if count < settings.parallel)
        return
    batches = [settings.max_num_batched_tokens]
    if "max_num_batched_tokens" in unset:
        batches = [settings.max_num_batched_tokens, 2048]
    counts = [settings.max_num_seqs, 64, 16] if "max_num_seqs" in unset else [settings.max_num_seqs]
    for count in counts:
        for batch in batches:
            if count <= settings.max_num_seqs and count <= batch <= settings.max_num_batched_tokens:
                yield replace(settings, max_num_seqs=count, max_num_batched_tokens=batch)

"""Does it fit, before anything is downloaded: what the spec asks of a host's memory, what is adapted to it, and what is
said of that. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.errors import RefusedError
from orchestrator.facts import Facts
from orchestrator.fit.ledger import Claim, claims, pushed_out
from orchestrator.fit.memory import GIB, Estimate, Lever, Machine, OllamaSettings, Settings, VllmSettings
from orchestrator.fit.shape import ModelShape
from orchestrator.fit.solve import LONGEST, adapted, automatic, levers
from orchestrator.fit.verdict import estimate
from orchestrator.models.resolved import ResolvedModel
from orchestrator.planning.machine import machine_of
from orchestrator.planning.room import Room
from orchestrator.runtimes import gpu as gpus
from orchestrator.runtimes import vllm_command as command
from orchestrator.runtimes.common import docker_bytes
from orchestrator.runtimes.deployment import Deployment, fingerprint
from orchestrator.spec import OllamaSpec, Spec, VllmSpec

_KEYS = {
    "ollama": {"context_tokens": "context", "parallel": "num_parallel"},
    "vllm": {
        "context_tokens": "max_model_len",
        "max_num_seqs": "max_num_seqs",
        "max_num_batched_tokens": "max_num_batched_tokens",
    },
}
"""Settings that may be adapted, and their keys in the runtime's section of the spec."""

_DECIDE = {
    "ollama": ("context", "num_parallel", "kv_cache_type", "flash_attention", "env"),
    "vllm": (
        *("max_model_len", "max_num_seqs", "max_num_batched_tokens", "num_parallel", "kv_cache_dtype", "gpu_mem"),
        *("enforce_eager", "tensor_parallel", "gpus", "cpu_kv_cache_gib", "memory"),
    ),
}
"""Keys of the spec that a decision depends on."""

_FIT_TARGET = "LLAMA_ARG_FIT_TARGET"
_SHOWN = 5  # levers


@dataclass(frozen=True)
class Question:
    """What is asked of a host: an engine with these settings on ``machine``, where ``others`` have their promises.

    ``now`` is the machine with what is free at the moment. ``automatic`` leaves the context to us, ``unset`` are the
    settings that nobody set, ``all_free`` says that vLLM takes whatever is free.
    """

    settings: Settings
    machine: Machine
    now: Machine
    others: tuple[Claim, ...] = ()
    unset: frozenset[str] = frozenset()
    automatic: bool = False
    all_free: bool = False


@dataclass(frozen=True)
class Told:
    """What is said of a decision."""

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def digest(spec: Spec, wanted: Deployment, model: ResolvedModel, facts: Facts) -> str:
    """What a decision is made from, in short; what is free at the moment is left out, so that it stays the same."""
    section, keys = spec.for_runtime(wanted.runtime), _DECIDE[wanted.runtime]
    said = {key: str(getattr(section, key)) for key in keys}
    cards = [(gpu.name, gpu.memory_total_mib) for gpu in facts.gpus]
    engine = [wanted.runtime, wanted.summary.get("version"), wanted.summary.get("device")]
    files = [file.sha256 or file.git_sha1 for file in model.files]
    return fingerprint([engine, said, sorted(section.model_fields_set & set(keys)), files, cards])


def question(spec: Spec, wanted: Deployment, shape: ModelShape, space: Room) -> Question:
    """What the spec asks of a host. ``wanted`` says which engine and device were chosen."""
    section, keys = spec.for_runtime(wanted.runtime), _KEYS[wanted.runtime]
    unset = frozenset(field for field, key in keys.items() if key not in section.model_fields_set)
    if isinstance(section, OllamaSpec):
        return Question(_ollama(section), machine_of(space.facts), machine_of(space.now), space.others, unset)
    cpu, length = wanted.summary["device"] == "cpu", command.max_model_len(spec)
    context = (shape.training_context or LONGEST) if isinstance(length, str) else length
    return Question(
        _vllm(section, wanted.summary, context, space.facts),
        _vllm_machine(section, space.facts, cpu=cpu),
        _vllm_machine(section, space.now, cpu=cpu),
        space.others,
        unset & {"context_tokens"} if cpu else unset,  # there vLLM's own batches are used, and they cost little
        automatic=isinstance(length, str),
        all_free=section.gpu_mem >= 1,
    )


def _ollama(section: OllamaSpec) -> OllamaSettings:
    target = section.env.get(_FIT_TARGET, "")
    return OllamaSettings(
        context_tokens=section.context,
        parallel=section.num_parallel,
        kv_cache_type=section.kv_cache_type or "f16",
        flash_attention=section.flash_attention,
        fit_target_mib=int(target) if target.isdecimal() and len(target) < 8 else OllamaSettings.fit_target_mib,
    )


def _vllm(section: VllmSpec, summary: Mapping[str, str], context: int, facts: Facts) -> VllmSettings:
    given = section.model_fields_set
    cuda = summary["device"] == "cuda"
    plain = VllmSettings()
    seqs = section.max_num_seqs if cuda or "max_num_seqs" in given else plain.max_num_seqs
    batch = section.max_num_batched_tokens
    return VllmSettings(
        context_tokens=context,
        parallel=section.num_parallel,
        max_num_seqs=seqs,
        max_num_batched_tokens=batch if cuda or "max_num_batched_tokens" in given else plain.max_num_batched_tokens,
        kv_cache_dtype=section.kv_cache_dtype,
        utilization=float(summary.get("gpu_utilization", section.gpu_mem)),
        enforce_eager=command.eager(section, summary["device"]),
        tensor_parallel=section.tensor_parallel,
        version=summary["version"],
        cpu_kv_cache_bytes=(section.cpu_kv_cache_gib or command.cpu_kv_cache_gib(facts.memory_total)) * GIB,
    )


def _vllm_machine(section: VllmSpec, facts: Facts, *, cpu: bool) -> Machine:
    """vLLM takes the first of the GPUs that it may use, however full they are."""
    taken = () if cpu else gpus.chosen(facts.gpus, section.gpus, facts.host)[: section.tensor_parallel]
    machine = machine_of(facts.model_copy(update={"gpus": taken}))
    if section.memory and section.runner == "container":
        return replace(machine, ram_free_bytes=min(machine.ram_free_bytes, docker_bytes(section.memory)))
    return machine


def decide(asked: Question, shape: ModelShape) -> Settings:
    """The settings, adapted where nobody set them, to what starts. What is only an estimate is no reason to adapt."""
    if asked.automatic:
        return automatic(shape, asked.settings, asked.machine, asked.unset)
    return adapted(shape, asked.settings, asked.machine, asked.unset) if shape.certain else asked.settings


def chosen(asked: Question, settled: Settings, shape: ModelShape) -> dict[str, int]:
    """The keys of the spec that get another value. A context that needs no bound is left to the engine."""
    if not shape.certain:
        return {}
    keys = _KEYS["ollama" if isinstance(settled, OllamaSettings) else "vllm"]
    pairs = ((key, getattr(asked.settings, field), getattr(settled, field)) for field, key in keys.items())
    return {key: after for key, before, after in pairs if before != after}


def adapt(spec: Spec, runtime: str, values: Mapping[str, int]) -> Spec:
    """The spec with these values in the runtime's section."""
    section = spec.for_runtime(runtime)
    return spec.model_copy(update={runtime: section.model_copy(update=dict(values))}) if values else spec


def told_of_choice(spec: Spec, runtime: str, values: Mapping[str, int], *, fresh: bool) -> tuple[str, ...]:
    """A line for each value that was chosen for the user."""
    length = command.max_model_len(spec) if runtime == "vllm" else ""
    notes = []
    for key, value in values.items():
        option = f"--{key.replace('_', '-')}"
        if not fresh:
            notes.append(f"{option} stays {value}, as it was adapted to this host before")
        elif key == "max_model_len" and length == "auto":
            count = spec.for_runtime("vllm").num_parallel
            notes.append(f"{option} auto is {value} here: the largest context that fits, for {_requests(count)}")
        else:
            before = getattr(spec.for_runtime(runtime), key)
            notes.append(f"{option} {value} instead of {before}: adapted to the memory of this host")
    return tuple(notes)


def judge(name: str, asked: Question, shape: ModelShape, host: str, repo: str = "") -> Told:
    """What to say of settings that are settled. ``repo`` is where other quantizations may be found.

    Raises RefusedError where the engine cannot start, or would push out another deployment: an estimate only never
    refuses.
    """
    found, now = (estimate(shape, asked.settings, machine) for machine in (asked.machine, asked.now))
    everyone = (*asked.others, *claims(name, now))
    pushed = [other for other in pushed_out(asked.machine.cards, everyone) if other != name] if now.starts else []
    if found.starts and not pushed:
        return _started(found, asked, shape)
    names = pushed or [claim.deployment for claim in asked.others]
    what = f"{name} would push {' and '.join(pushed)} out of the GPU" if pushed else f"{name} does not fit"
    why = [_size(found, asked.machine), *found.notes, *_held(asked.others)]
    if not found.certain:
        return Told(warnings=(f"estimate only ({'; '.join(found.doubts)}): {what}: {'; '.join(why)}",))
    down = [f"deployctl down {other}" for other in dict.fromkeys(names)]
    smaller = [f"take a smaller quantization: deployctl fit hf:{repo} compares them"] if repo else []
    ways = [*(_ways(asked, shape) or smaller), *down, "deploy it all the same with --force"]
    raise RefusedError(what, host=host, why="\n".join(why), remedy="\n".join(ways))


def _started(found: Estimate, asked: Question, shape: ModelShape) -> Told:
    """What to say of an engine that starts."""
    needs = f"it {_size(found, asked.machine)}"
    if found.verdict == "fits":
        return Told(notes=(f"it fits: {needs}",))
    only = "" if found.certain else f"estimate only ({'; '.join(found.doubts)}): "
    if found.short_bytes == 0:
        return Told(warnings=(f"{only}{needs}",))
    said = "tight, it may not start"
    if found.verdict == "spills":
        said = f"about {found.cpu_percent:.0f} % of the model will run on the CPU, slowly"
    ways = _ways(asked, shape)[:2]
    better = [f"more room: {', or '.join(ways)}"] if ways else []
    return Told(warnings=("; ".join([f"{only}{said}: {needs}", *_held(asked.others), *better]),))


def _size(found: Estimate, machine: Machine) -> str:
    """What is needed of what there is."""
    where = " and ".join(dict.fromkeys(card.name for card in machine.cards)) or "the host's memory"
    parts = ", ".join(f"{part.name} {_span(part.low_bytes, part.high_bytes)}" for part in found.parts)
    count = f" for {found.context_tokens} tokens x {_requests(found.parallel)}"
    short = f"; {found.short_bytes / GIB:.2f} GiB short" if found.short_bytes else ""
    kept = f", of which the engine leaves {found.reserve_bytes / GIB:.2f}" if found.reserve_bytes else ""
    needs = _span(found.need_low_bytes, found.need_high_bytes)
    return f"needs {needs} GiB of {found.free_bytes / GIB:.2f} GiB free on {where}{kept} ({parts}){count}{short}"


def _span(low: int, high: int) -> str:
    first, last = f"{low / GIB:.2f}", f"{high / GIB:.2f}"
    return last if first == last else f"{first} to {last}"


def _requests(count: int) -> str:
    return f"{count} request{'s' if count > 1 else ''}"


def _held(others: tuple[Claim, ...]) -> tuple[str, ...]:
    return tuple(f"{one.deployment} is promised {one.size_bytes / GIB:.2f} GiB of GPU {one.gpu}" for one in others)


def _ways(asked: Question, shape: ModelShape) -> tuple[str, ...]:
    """The levers, as options to add, each with the figure that it gives."""
    found = [lever for lever in levers(shape, asked.settings, asked.machine) if lever.context_tokens]
    options = ((_option(lever), lever) for lever in found if not (asked.all_free and lever.setting == "gpu_mem"))
    return tuple(f"{option} ({lever.summary.partition(': ')[2]})" for option, lever in options if option)[:_SHOWN]


def _option(lever: Lever) -> str:
    """A lever as it is typed; empty for one that the spec does not have."""
    odd = {
        "num_batch": "",
        f"env {_FIT_TARGET}": f'--set ollama.env=\'{{"{_FIT_TARGET}": "{lever.value}"}}\'',
        "cpu_kv_cache_gib": f"--cpu-kv-cache {lever.value}",
        "enforce_eager": "--enforce-eager",
        "flash_attention": "--flash-attention",
    }
    return odd.get(lever.setting, f"--{lever.setting.replace('_', '-')} {lever.value}")

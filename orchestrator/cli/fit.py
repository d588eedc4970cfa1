"""``deployctl fit``: does a model fit, with what context, and what would change it; before anything is downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.cli.sizes import mib, tokens
from orchestrator.errors import DeployError, ExitStatus, RefusedError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.failure import Runtime
    from orchestrator.cli.fit_documents import FitDocument, FitModel, FitOutlook, FitTarget, Quantization
    from orchestrator.cli.fit_model import Sibling, Subject
    from orchestrator.cli.session import Session
    from orchestrator.fit.memory import Machine, Settings
    from orchestrator.fit.shape import ModelShape
    from orchestrator.spec.catalogue import Device

_OLLAMA_CACHES = ("f16", "q8_0", "q4_0")
_VLLM_CACHES = ("auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2")
_GOOD = ("fits", "tight")
_CONTEXT = 24576  # tokens: that of the worked example

_EPILOG = """\b
Examples:
  deployctl fit hf:lmstudio-community/Qwen2.5-14B-Instruct-GGUF:Q4_K_M --vram 16GiB
  deployctl fit hf:lmstudio-community/Qwen2.5-14B-Instruct-GGUF --gpu "RTX 4060 Ti 16GB"
  deployctl fit hf:Qwen/Qwen2.5-7B-Instruct --host gpu01 --runtime vllm --context 32K --parallel 4
  deployctl fit ./model.gguf --vram 24GiB --free 20.5GiB --kv-cache-dtype q8_0

\b
Exits with 0 when on every machine one of the runtimes that were asked about holds the model (fits or
tight), else with 4; an Ollama model that spills to the CPU is not held.
"""


@dataclass(frozen=True)
class Place:
    """A machine that the model may run on."""

    name: str
    machine: "Machine"


@click.command(epilog=_EPILOG)
@click.argument("model")
@click.option("--vram", metavar="SIZE", help="Assume an idle GPU with so much memory: 16GiB, 16384MiB.")
@click.option("--gpu", metavar="NAME", help='Assume an idle GPU of that name: "RTX 4060 Ti 16GB".')
@click.option(
    "--free", metavar="SIZE", help="So much of the assumed GPU is free [default: all but the driver's share]."
)
@click.option("--gpus", type=click.IntRange(1, 64), help="Number of GPUs [default: 1, or all that the host has].")
@click.option("--ram", metavar="SIZE", help="Main memory free beside the assumed GPU: 30GiB [default: not looked at].")
@click.option("--runtime", type=click.Choice(["ollama", "vllm", "both"]), default="both", show_default=True)
@click.option("--context", type=tokens, help="Tokens per request: 8192, 24k, 24K [default: 24K, or what there can be].")
@click.option("--parallel", type=click.IntRange(1, 1024), default=1, show_default=True, help="Requests at once.")
@click.option(
    "--kv-cache-dtype",
    "kv_cache_dtypes",
    multiple=True,
    type=click.Choice([*_OLLAMA_CACHES, *_VLLM_CACHES]),
    help="Type of the KV cache; f16, q8_0 and q4_0 are Ollama's, the others vLLM's. Repeatable, one for each.",
)
@click.option("--max-num-seqs", type=click.IntRange(1, 65536), default=256, show_default=True, help="[vllm]")
@click.option("--max-num-batched-tokens", type=tokens, default="2048", show_default=True, help="[vllm]")
@click.option("--enforce-eager", is_flag=True, help="Compile nothing: no CUDA graphs. [vllm]")
@click.option("--no-flash-attention", is_flag=True, help="As on GPUs that are too old for it. [ollama]")
@click.option("--quant", metavar="LABEL", help="The quantization of a repository, as after its colon: Q4_K_M.")
@click.option("--revision", metavar="REVISION", help="Branch, tag or commit of the model.")
@host_options
@common_options
def fit(model: str, **options: Any) -> int:
    """Say whether MODEL fits, with what context, and what would change it. Only its header is downloaded.

    MODEL is hf:REPO:QUANT, hf:REPO/FILE, hf:REPO (of a GGUF repository: every quantization) or a local path. The GPUs
    are those of the hosts as they are now (default: this machine), or assumed with --vram or --gpu.
    """
    from orchestrator.cli.fit_model import look_up, reference_of
    from orchestrator.cli.fit_show import show
    from orchestrator.cli.session import Session, error_document, worst

    session = Session(options)
    reference = reference_of(model, options["quant"])
    assumed = _assumed(options)
    _check_caches(options)
    with session.console.progress():
        places, failures = ([assumed], []) if assumed else _observed(session, options["gpus"])
        subject = look_up(reference, options["revision"], session.spec(None).hub, session.console.for_host("here"))
    runtimes = _runtimes(options["runtime"], subject.headers.format)
    targets = [_target(subject, runtimes, place, options) for place in places]
    compared = [_quantization(one, runtimes, places, options) for one in subject.siblings]
    statuses = [error.status for error in failures]
    if places and not (_held(targets) if subject.named else _some_held(compared)):
        statuses.append(ExitStatus.REFUSED)
    document: FitDocument = {
        "schema": "deployctl.fit/1",
        "exit_code": int(worst(statuses)),
        "model": _model(subject),
        "targets": targets,
        "quantizations": compared,
        "errors": [error_document(error) for error in failures],
    }
    show(session, document, named=subject.named)
    session.console.document(document)
    return int(worst(statuses))


def _assumed(options: dict[str, Any]) -> Place | None:
    """The machine that --vram or --gpu describe; None where hosts are to be looked at. Raises UsageError."""
    from dataclasses import replace

    from orchestrator.fit.cards import card_named, idle_card
    from orchestrator.fit.memory import Machine

    vram, gpu, free, ram = (options[name] for name in ("vram", "gpu", "free", "ram"))
    if vram is None and gpu is None:
        if free is not None or ram is not None:
            raise UsageError("--free and --ram belong to an assumed GPU", remedy="add --vram SIZE or --gpu NAME")
        return None
    if options["hosts"] or (vram and gpu):
        raise UsageError("the GPU is named twice", remedy="choose one of --host, --vram and --gpu")
    card = card_named(gpu) if gpu else idle_card("GPU", mib("--vram", vram))
    if free is not None:
        card = replace(card, free_mib=mib("--free", free))
    if not card.total_mib > 0 or card.free_mib > card.total_mib:
        raise UsageError(f"of {card.total_mib} MiB, {card.free_mib} cannot be free")
    cards = tuple(replace(card, index=index) for index in range(options["gpus"] or 1))
    memory = mib("--ram", ram) << 20 if ram else 0
    return Place("assumed", Machine(cards, memory, memory))


def _observed(session: "Session", gpus: int | None) -> tuple[list[Place], list[DeployError]]:
    """The hosts as they are now, and what went wrong on others."""
    from orchestrator.facts import gather
    from orchestrator.fit.memory import Machine
    from orchestrator.hosts.base import Host
    from orchestrator.planning.machine import machine_of

    def look(host: "Host") -> Place:
        machine = machine_of(gather(host, scope=session.scope))
        if gpus and gpus > len(machine.cards):
            raise RefusedError(f"there are {len(machine.cards)} GPUs, not {gpus}", host=host.name)
        cards = sorted(machine.cards, key=lambda card: -card.free_mib)[:gpus]
        return Place(host.name, Machine(tuple(cards), machine.ram_total_bytes, machine.ram_free_bytes))

    hosts = session.open(session.entries())
    try:
        outcomes = session.on_each(hosts, look)
    finally:
        for host in hosts:
            host.close()
    return (
        [outcome.value for outcome in outcomes if outcome.value is not None],
        [outcome.error for outcome in outcomes if outcome.error is not None],
    )


def _check_caches(options: dict[str, Any]) -> None:
    """At most one type for each runtime that is asked about. Raises UsageError."""
    for runtime, kinds in (("ollama", _OLLAMA_CACHES), ("vllm", _VLLM_CACHES)):
        given = [kind for kind in options["kv_cache_dtypes"] if kind in kinds]
        if len(given) > 1:
            raise UsageError(f"--kv-cache-dtype is given twice for {runtime}: {', '.join(given)}")
        if given and options["runtime"] not in (runtime, "both"):
            raise UsageError(f"{given[0]} is a type of the KV cache of {runtime}")


def _runtimes(asked: str, model_format: str) -> tuple["Runtime", ...]:
    if model_format == "gguf":
        found: dict[str, tuple[Runtime, ...]] = {"ollama": ("ollama",), "vllm": ("vllm",), "both": ("ollama", "vllm")}
        return found[asked]
    if asked == "ollama":
        raise UsageError("Ollama serves GGUF files, and this model is safetensors", remedy="add --runtime vllm")
    return ("vllm",)


def _settings(runtime: "Runtime", shape: "ModelShape", place: Place, options: dict[str, Any]) -> "Settings":
    from orchestrator.fit.memory import OllamaSettings, VllmSettings
    from orchestrator.spec.catalogue import default_vllm_version

    context = options["context"] or min(_CONTEXT, shape.training_context or _CONTEXT)
    if runtime == "ollama":
        cache = next((kind for kind in options["kv_cache_dtypes"] if kind in _OLLAMA_CACHES), "f16")
        return OllamaSettings(
            context_tokens=context,
            parallel=options["parallel"],
            kv_cache_type=cache,
            flash_attention=False if options["no_flash_attention"] else None,
        )
    device: Device = "cuda" if place.machine.cards else "cpu"
    return VllmSettings(
        context_tokens=context,
        parallel=options["parallel"],
        max_num_seqs=options["max_num_seqs"],
        max_num_batched_tokens=options["max_num_batched_tokens"],
        kv_cache_dtype=next((kind for kind in options["kv_cache_dtypes"] if kind in _VLLM_CACHES), "auto"),
        enforce_eager=options["enforce_eager"],
        tensor_parallel=_shared_by(shape, len(place.machine.cards)),
        version=default_vllm_version("gguf" if shape.source == "gguf" else "safetensors", device),
    )


def _shared_by(shape: "ModelShape", cards: int) -> int:
    """The most GPUs that the attention heads can be divided among."""
    heads = {layer.heads for layer in shape.layers if layer.heads}
    return next(count for count in range(max(1, cards), 0, -1) if all(number % count == 0 for number in heads))


def _target(subject: "Subject", runtimes: "Sequence[Runtime]", place: Place, options: dict[str, Any]) -> "FitTarget":
    from orchestrator.fit.memory import VllmSettings
    from orchestrator.fit.solve import largest, levers
    from orchestrator.fit.verdict import estimate
    from orchestrator.spec.catalogue import default_ollama_version

    outlooks: list[FitOutlook] = []
    for runtime in runtimes:
        settings = _settings(runtime, subject.shape, place, options)
        asked = (subject.shape, settings, place.machine)
        outlooks.append(
            {
                "version": settings.version if isinstance(settings, VllmSettings) else default_ollama_version(),
                "estimate": estimate(*asked),
                "largest": list(largest(*asked)),
                "levers": list(levers(*asked)),
            }
        )
    machine = place.machine
    return {
        "name": place.name,
        "cards": [
            {"name": card.name, "total_mib": card.total_mib, "free_mib": card.free_mib} for card in machine.cards
        ],
        "ram_total_bytes": machine.ram_total_bytes,
        "ram_free_bytes": machine.ram_free_bytes,
        "outlooks": outlooks,
    }


def _quantization(
    one: "Sibling", runtimes: "Sequence[Runtime]", places: Sequence[Place], options: dict[str, Any]
) -> "Quantization":
    from orchestrator.fit.solve import largest_context
    from orchestrator.fit.verdict import estimate

    asked = [
        (place, runtime, _settings(runtime, one.shape, place, options)) for place in places for runtime in runtimes
    ]
    return {
        "source": one.source,
        "quant": one.quant,
        "size_bytes": one.size,
        "bits_per_weight": round(one.shape.bits_per_weight, 2),
        "exact": one.exact,
        "outlooks": [
            {
                "target": place.name,
                "runtime": runtime,
                "verdict": estimate(one.shape, settings, place.machine).verdict,
                "context_tokens": largest_context(one.shape, settings, place.machine),
            }
            for place, runtime, settings in asked
        ],
    }


def _held(targets: "Sequence[FitTarget]") -> bool:
    """Whether every machine holds the model, with one runtime or another."""
    return all(any(one["estimate"].verdict in _GOOD for one in target["outlooks"]) for target in targets)


def _some_held(compared: "Sequence[Quantization]") -> bool:
    """Whether there is a quantization that some machine holds."""
    return any(outlook["verdict"] in _GOOD for one in compared for outlook in one["outlooks"])


def _model(subject: "Subject") -> "FitModel":
    headers, shape = subject.headers, subject.shape
    return {
        "source": subject.source,
        "commit": subject.commit,
        "format": headers.format,
        "quant": headers.quant,
        "architecture": shape.architecture,
        "layers": len(shape.layers),
        "parameters": shape.parameters,
        "bits_per_weight": round(shape.bits_per_weight, 2),
        "size_bytes": headers.size,
        "weights_bytes": headers.tensor_bytes,
        "training_context_tokens": shape.training_context,
        "read_bytes": headers.read_bytes,
        "certain": shape.certain,
        "doubts": list(shape.doubts),
    }

"""Options that several commands share, and how they become overrides of the spec."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from orchestrator.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def _chain(function: F, decorators: list[Callable[[F], F]]) -> F:
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def seconds(text: str) -> float:
    """A number of seconds: more than none, and at most a week. Raises ValueError, which Click tells as it should be."""
    number = float(text)
    if not 0 < number <= 7 * 86400:  # also for what is no number at all
        raise ValueError(text)
    return number


def patience(text: str) -> float:
    """A number of seconds, or none. Raises ValueError as ``seconds`` does."""
    return 0.0 if float(text) == 0 else seconds(text)


def common_options(function: F) -> F:
    """Options of every command."""
    return _chain(
        function,
        [
            click.option("--json", "json_mode", is_flag=True, help="Print one JSON document on stdout, nothing else."),
            click.option("--verbose", "-v", is_flag=True, help="Say more, with tracebacks of internal errors."),
            click.option("--no-color", is_flag=True, help="No colours and no bars."),
        ],
    )


def host_options(function: F) -> F:
    """Options that say which hosts, and how to get in."""
    return _chain(function, [*_whereabouts(), *_ways_in()])


def _whereabouts() -> list[Callable[[F], F]]:
    path = click.Path(path_type=str)
    return [
        click.option(
            "--host",
            "hosts",
            multiple=True,
            metavar="HOST",
            help="Inventory name, group, `local` or address. Repeatable.",
        ),
        click.option(
            "--inventory", type=path, metavar="PATH", help="Inventory file or folder (default: inventories/)."
        ),
        click.option(
            "--config", type=path, metavar="FILE", help="Spec file (default: deployctl.yaml, if there is one)."
        ),
    ]


def _ways_in() -> list[Callable[[F], F]]:
    path = click.Path(path_type=str)
    return [
        click.option(
            "--sudo/--no-sudo", default=None, help="Become root by sudo, or never (default: where it is allowed)."
        ),
        click.option(
            "--ask-sudo-password", is_flag=True, help="Ask for the sudo password (or DEPLOYCTL_SUDO_PASSWORD)."
        ),
        click.option(
            "--user", "scope", flag_value="user", help="Deploy into the user's own directories, without root."
        ),
        click.option("--system", "scope", flag_value="system", help="Deploy system-wide (needs root)."),
        click.option(
            "--known-hosts",
            type=path,
            metavar="FILE",
            envvar="DEPLOYCTL_KNOWN_HOSTS",
            show_envvar=True,
            help="Further known_hosts file.",
        ),
        click.option(
            "--connect-timeout",
            type=seconds,
            default=10.0,
            show_default=True,
            metavar="SECONDS",
            help="Per host and hop.",
        ),
        click.option(
            "--parallel-hosts",
            type=click.IntRange(1, 64),
            show_default="8, for status all",
            help="Hosts worked on at once.",
        ),
    ]


def change_options(function: F) -> F:
    """Options of commands that change a host."""
    return _chain(
        function,
        [
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            click.option(
                "--wait",
                "lock_wait",
                type=patience,
                default=0.0,
                metavar="SECONDS",
                help="Queue for so long while another run is at work on the same deployment.",
            ),
        ],
    )


def force_option(function: F) -> F:
    """The option of commands that look whether a model fits."""
    return _chain(
        function,
        [click.option("--force", is_flag=True, help="Go on where the model does not fit, or pushes another out.")],
    )


def start_options(function: F) -> F:
    """Options of commands that start an engine."""
    return _chain(
        function,
        [
            click.option(
                "--start-timeout",
                "deadline",
                type=seconds,
                metavar="SECONDS",
                help="How long the engine may take to start [default: 600 Ollama, 1800 vLLM].",
            ),
            click.option(
                "--no-rollback", is_flag=True, help="Stay with what fails, do not return to what was healthy."
            ),
        ],
    )


@dataclass(frozen=True)
class SpecOption:
    """A command-line option that overrides one key of the spec: ``{runtime}`` stands for the chosen runtime."""

    flag: str
    key: str
    help: str
    runtimes: tuple[str, ...] = ("ollama", "vllm")
    kind: Any = str
    many: bool = False

    @property
    def parameter(self) -> str:
        """The name under which Click passes it."""
        return self.flag.split("/")[0].lstrip("-").replace("-", "_")


_OLLAMA, _VLLM = ("ollama",), ("vllm",)

SPEC_OPTIONS = (
    SpecOption("--model", "model.source", "hf:REPO:QUANT, hf:REPO/FILE, hf:REPO or a local path."),
    SpecOption("--base", "model.base", "Repository or folder of tokenizer and config, beside a GGUF (vLLM)."),
    SpecOption("--revision", "model.revision", "Branch, tag or commit of the model."),
    SpecOption("--delivery", "model.delivery", "auto, fetch (by the host) or push (from here)."),
    SpecOption("--name", "{runtime}.name", "Name of the deployment (default: the runtime's)."),
    SpecOption("--bind", "{runtime}.bind", "Address where clients come in (default: 127.0.0.1)."),
    SpecOption("--port", "{runtime}.port", "Port where clients come in (default: 11434 Ollama, 5000 vLLM).", kind=int),
    SpecOption("--expose", "{runtime}.expose", "gateway (asks for a key), or direct: the engine itself listens there."),
    SpecOption("--engine-port", "{runtime}.engine_port", "Port of the engine behind the gateway.", kind=int),
    SpecOption("--tls", "gateway.tls", "none, internal, acme or files."),
    SpecOption("--domain", "gateway.domains", "Name that clients use for the host. Repeatable.", many=True),
    SpecOption("--tls-cert", "gateway.certificate", "Certificate with its chain: a path on the host (--tls files)."),
    SpecOption("--tls-key", "gateway.certificate_key", "The certificate's key: a path on the host (--tls files)."),
    SpecOption("--max-body", "gateway.max_body", "Largest request: 32m."),
    SpecOption("--gateway-archive", "gateway.archive", "Caddy: URL or local file of a wheel, .tar.gz or program."),
    SpecOption("--gateway-archive-sha256", "gateway.archive_sha256", "Digest that it must have."),
    SpecOption("--engine-version", "{runtime}.version", "Version of the engine (default: pinned)."),
    SpecOption("--kv-cache-dtype", "vllm.kv_cache_dtype", "Type of the KV cache, such as fp8.", _VLLM),
    SpecOption("--context", "ollama.context", "Tokens per request (num_ctx): 8192, 24k, 24K.", _OLLAMA),
    SpecOption("--num-parallel", "{runtime}.num_parallel", "Requests of full length at once.", kind=int),
    SpecOption("--keep-alive", "ollama.keep_alive", "How long an idle model stays loaded: 5m, -1.", _OLLAMA),
    SpecOption("--kv-cache-type", "ollama.kv_cache_type", "f16, q8_0 or q4_0.", _OLLAMA),
    SpecOption("--flash-attention/--no-flash-attention", "ollama.flash_attention", "Flash attention.", _OLLAMA, bool),
    SpecOption("--model-name", "ollama.model_name", "Name of the model in Ollama.", _OLLAMA),
    SpecOption("--archive", "ollama.archive", "Ollama's archive: URL of a mirror, or a local file.", _OLLAMA),
    SpecOption("--archive-sha256", "ollama.archive_sha256", "Digest that the archive must have.", _OLLAMA),
    SpecOption("--runner", "vllm.runner", "container (Docker) or venv.", _VLLM),
    SpecOption("--device", "vllm.device", "auto, cuda or cpu.", _VLLM),
    SpecOption("--gpu-mem", "vllm.gpu_mem", "Share of GPU memory; 1.0 = all that is free.", _VLLM, float),
    SpecOption("--gpus", "vllm.gpus", "all, or numbers: 0,1.", _VLLM),
    SpecOption("--max-model-len", "vllm.max_model_len", "Context in tokens: 24576, 24k, auto.", _VLLM),
    SpecOption("--max-num-seqs", "vllm.max_num_seqs", "Requests served at once.", _VLLM, int),
    SpecOption("--max-num-batched-tokens", "vllm.max_num_batched_tokens", "Tokens computed in one step.", _VLLM),
    SpecOption("--served-name", "vllm.served_name", "Model name that clients send.", _VLLM),
    SpecOption("--dtype", "vllm.dtype", "auto, float16, bfloat16, float32.", _VLLM),
    SpecOption("--tensor-parallel", "vllm.tensor_parallel", "GPUs that share the model.", _VLLM, int),
    SpecOption("--enforce-eager/--no-enforce-eager", "vllm.enforce_eager", "Compile nothing.", _VLLM, bool),
    SpecOption("--image", "vllm.image", "Docker image in place of the catalogue's.", _VLLM),
    SpecOption("--image-archive", "vllm.image_archive", "Local tar of `docker save` with the image.", _VLLM),
    SpecOption("--shm-size", "vllm.shm_size", "Shared memory of the container: 1g.", _VLLM),
    SpecOption("--memory", "vllm.memory", "Most main memory of the container: 24g.", _VLLM),
    SpecOption("--cpu-kv-cache", "vllm.cpu_kv_cache_gib", "GiB of KV cache on a CPU.", _VLLM, int),
    SpecOption("--python", "vllm.python", "Python on the host (runner venv).", _VLLM),
    SpecOption("--extra-arg", "vllm.extra_args", "Further argument of `vllm serve`. Repeatable.", _VLLM, many=True),
    SpecOption("--pip-arg", "vllm.pip_args", "Further argument of `pip install`. Repeatable.", _VLLM, many=True),
)


def spec_options(function: F) -> F:
    """Options that override the spec."""
    made = [
        click.option(
            option.flag,
            option.parameter,
            type=None if option.kind is bool else option.kind,
            default=() if option.many else None,
            multiple=option.many,
            help=option.help + (f" [{option.runtimes[0]}]" if len(option.runtimes) == 1 else ""),
        )
        for option in SPEC_OPTIONS
    ]
    extra = [
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="Any key of the spec: sampling.temperature=0.2.",
        ),
        click.option(
            "--templates",
            type=click.Path(path_type=str),
            metavar="DIR",
            help="Templates of your own, used before ours.",
        ),
    ]
    return _chain(function, [*made, *extra])


def overrides(values: Mapping[str, Any], runtime: str | None) -> tuple[dict[str, object], dict[str, str]]:
    """Overrides by dotted key, and the option that each came from. Takes what it knows out of Click's ``values``.

    Raises UsageError for an option of the other runtime, or one that needs a runtime to be named.
    """
    found: dict[str, object] = {}
    names: dict[str, str] = {}
    for option in SPEC_OPTIONS:
        value = values.get(option.parameter)
        if value is None or value == ():
            continue
        flag = option.flag.split("/")[0]
        if runtime is not None and runtime not in option.runtimes:
            raise UsageError(
                f"{flag} is an option of {option.runtimes[0]}", remedy=f"leave it out, or say `{option.runtimes[0]}`"
            )
        if runtime is None and "{runtime}" in option.key:
            raise UsageError(f"{flag} needs a runtime", remedy="say `ollama` or `vllm`, or put it into the spec")
        key = option.key.format(runtime=runtime)
        found[key] = list(value) if option.many else value
        names[key] = flag
    for setting in values.get("settings", ()):
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, got {key}", remedy="for example --set sampling.temperature=0.2")
        found[key] = _value(text)
        names[key] = "--set"
    return found, names


def _value(text: str) -> object:
    """A value as JSON where it is JSON, else the text as it stands."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, or none that can be meant: too deep, too many digits
        return text

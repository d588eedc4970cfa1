"""One script, one answer: everything deployctl wants to know of a host before it decides anything."""

import base64
import re
from collections.abc import Callable
from importlib.resources import files
from typing import get_args

from orchestrator.errors import DeployError, RefusedError
from orchestrator.facts import nvml, smi
from orchestrator.facts.answers import Answers
from orchestrator.facts.layout import Layout, Scope
from orchestrator.facts.model import Arch, Facts, Gpu, Listener, Python, VendorOllama
from orchestrator.hosts.base import Host, Result, quote

_TOOLS = (
    *("curl", "tar", "zstd", "gzip", "sha256sum", "base64", "flock", "timeout", "docker", "systemctl", "ss"),
    *("nvidia-smi", "cc", "gcc"),
)

_PROC_LISTENER = re.compile("([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})")


Known = tuple[tuple[Gpu, ...], str] | None
"""GPUs and what is wrong with others, where the driver's own library told."""


Ask = Callable[[str], Result]
"""Has a script run on the host, perhaps together with something else."""


def gather(host: Host, *, scope: Scope | None = None, ask: Ask | None = None) -> Facts:
    """Observe a host in one round trip, or in one that ``ask`` makes anyway.

    ``scope`` forces system-wide or per-user directories; None takes what the login allows.
    Raises UnreachableError, RefusedError (not Linux on a supported processor; system scope without root).
    """
    answers, known = observe(host, scope, ask=ask)
    return facts_of(host.name, answers, scope, known)


def observe(
    host: Host,
    scope: Scope | None,
    *,
    before: str = "",
    after: str = "",
    timeout: float = 60,
    ask: Ask | None = None,
) -> tuple[Answers, Known]:
    """What the script says, and what NVML says of this very machine's GPUs.

    ``before`` and ``after`` are more shell, around the script. Raises UnreachableError, DeployError.
    """
    known = nvml.read() if host.is_local else None
    settings = f"tools={quote(' '.join(_TOOLS))} scope={quote(scope or 'auto')} smi_wanted={'no' if known else 'yes'}\n"
    script = files(__package__).joinpath("gather.sh").read_text(encoding="utf-8")
    whole = before + settings + script + after
    result = ask(whole) if ask else host.run(whole, timeout=timeout)
    answers = Answers(result.stdout)
    if answers.one("end") != "yes":
        raise DeployError(
            "the host could not be observed",
            host=host.name,
            why=result.tail(),
            remedy="is its login shell a POSIX shell?",
        )
    return answers, known


def facts_of(host: str, answers: Answers, scope: Scope | None, known: Known) -> Facts:
    """The facts that were told. Raises RefusedError."""
    gpus, gpu_problem = _gpus(answers, known)
    layout = _layout(host, answers, scope)
    return Facts(
        host=host,
        layout=layout,
        uid=answers.number("uid"),
        gid=answers.number("gid"),
        user=answers.one("user"),
        group=answers.one("group"),
        home=answers.one("home"),
        os=answers.one("os"),
        hostname=answers.one("hostname"),
        address=answers.one("address"),
        arch=_arch(host, answers.one("arch")),
        cpus=max(1, answers.number("cpus")),
        memory_total=answers.number("mem_total") * 1024,
        memory_available=answers.number("mem_available") * 1024,
        systemd=layout.scope == "system" and answers.one("systemd") == "yes",
        docker=answers.one("docker"),
        docker_problem=answers.one("docker_problem"),
        gpus=gpus,
        gpu_problem=gpu_problem,
        pythons=tuple(python for line in answers.all("python") if (python := _python(line))),
        tools=frozenset(answers.all("tool")),
        lacks=frozenset(answers.all("lacks")),
        accounts=frozenset(answers.all("account")),
        gpu_groups=tuple(sorted({int(gid) for gid in answers.all("gpu_group") if gid.isdecimal() and int(gid)})),
        listeners=tuple(_listeners(answers)),
        vendor_ollama=_vendor(answers),
        manifests=tuple(_decode(text) for text in answers.all("manifest")),
    )


def _layout(host: str, answers: Answers, scope: Scope | None) -> Layout:
    """System-wide for root, the user's own otherwise, unless told. Raises RefusedError."""
    root = answers.number("uid") == 0
    if scope == "system" and not root:
        raise RefusedError(
            "a system-wide deployment needs root",
            host=host,
            remedy="log in as root, allow sudo (`--sudo`), or use `--user`",
        )
    if scope == "system" or (scope is None and root):
        return Layout.system()
    xdg = {name: answers.one(name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    return Layout.user(answers.one("home"), xdg)


def _arch(host: str, machine: str) -> Arch:
    names: dict[str, Arch] = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in names:
        raise RefusedError(
            f"no engine is published for the processor type {machine or 'unknown'}",
            host=host,
            remedy=f"use a host with one of: {', '.join(get_args(Arch))}",
        )
    return names[machine]


def _gpus(answers: Answers, known: Known) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs and what is wrong with others: as ``known`` from NVML, or as nvidia-smi says.

    One without memory of its own has the host's.
    """
    gpus, problem = known or smi.read(answers.all("gpu"), answers.all("gpu_able"), answers.all("gpu_listed"))
    total, free = answers.number("mem_total") >> 10, answers.number("mem_available") >> 10
    shared = {"memory_total_mib": total, "memory_free_mib": free, "memory_used_mib": total - free}
    gpus = tuple(gpu.model_copy(update=shared) if gpu.unified else gpu for gpu in gpus)
    return gpus, "; ".join(filter(None, (problem, answers.one("gpu_problem").strip())))


def _python(line: str) -> Python | None:
    cells = line.split()
    if len(cells) != 4 or not (cells[1].isdecimal() and cells[2].isdecimal()):
        return None
    return Python(path=cells[0], version=(int(cells[1]), int(cells[2])), venv=cells[3] == "yes")


def _listeners(answers: Answers) -> list[Listener]:
    found = []
    for text in answers.all("listen"):
        address, _, port = text.rpartition(":")
        if port.isdecimal():
            plain = address.strip("[]").split("%")[0].removeprefix("::ffff:")  # so ss shows IPv4 on an IPv6 socket
            found.append(Listener(address=plain, port=int(port)))
    for text in answers.all("listenhex"):
        if match := _PROC_LISTENER.fullmatch(text):
            found.append(Listener(address=_from_proc(match[1]), port=int(match[2], 16)))
    return found


def _from_proc(text: str) -> str:
    """An address of /proc/net/tcp{,6}: host-order words in hexadecimal. IPv6 addresses are taken for wildcards."""
    if len(text) != 8:
        return "::"
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(text)))


def _vendor(answers: Answers) -> VendorOllama | None:
    binary = answers.one("ollama_bin")
    if not binary:
        return None
    return VendorOllama(
        binary=binary,
        unit=answers.one("ollama_unit"),
        active=answers.one("ollama_active") == "active",
        enabled=answers.one("ollama_enabled") == "enabled",
        user=answers.one("ollama_user"),
        models=answers.one("ollama_models") or f"{answers.one('ollama_home')}/.ollama/models",
    )


def _decode(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError:  # damaged; binascii.Error is one too
        return ""

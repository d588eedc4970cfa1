"""One script, one answer: everything deployctl wants to know of a host before it decides anything."""

import base64
import re
from importlib.resources import files
from typing import get_args

from orchestrator.errors import DeployError, RefusedError
from orchestrator.facts.layout import Layout, Scope
from orchestrator.facts.model import Arch, Facts, Gpu, Listener, Python, VendorOllama
from orchestrator.hosts.base import Host, quote

_TOOLS = ("curl", "tar", "zstd", "gzip", "sha256sum", "docker", "systemctl", "base64", "ss", "nvidia-smi", "cc", "gcc")

_PROC_LISTENER = re.compile("([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})")


def gather(host: Host, *, scope: Scope | None = None) -> Facts:
    """Observe a host in one round trip.

    ``scope`` forces system-wide or per-user directories; None takes what the login allows.
    Raises UnreachableError, RefusedError (not Linux on a supported processor; system scope without root).
    """
    settings = f"tools={quote(' '.join(_TOOLS))} scope={quote(scope or 'auto')}\n"
    script = settings + files(__package__).joinpath("gather.sh").read_text(encoding="utf-8")
    result = host.run(script, timeout=60)
    pairs = [tuple(line.split("\t", 1)) for line in result.stdout.splitlines() if "\t" in line]
    answers = [(key, value) for key, value in pairs]
    if ("end", "yes") not in answers:
        raise DeployError(
            "the host could not be observed",
            host=host.name,
            why=result.tail(),
            remedy="is its login shell a POSIX shell?",
        )
    return _facts(host.name, _Answers(answers), scope)


class _Answers:
    """The KEY/VALUE lines of the script."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def one(self, key: str, default: str = "") -> str:
        return next((value for name, value in self.pairs if name == key), default)

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.pairs if name == key]

    def number(self, key: str) -> int:
        value = self.one(key)
        return int(value) if value.isdecimal() else 0


def _facts(host: str, answers: _Answers, scope: Scope | None) -> Facts:
    uid = answers.number("uid")
    xdg = {name: answers.one(name) for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    if scope == "system" and uid != 0:
        raise RefusedError(
            "a system-wide deployment needs root",
            host=host,
            remedy="log in as root, allow sudo (`--sudo`), or use `--user`",
        )
    system = scope == "system" or (scope is None and uid == 0)
    return Facts(
        host=host,
        layout=Layout.system() if system else Layout.user(answers.one("home"), xdg),
        uid=uid,
        gid=answers.number("gid"),
        user=answers.one("user"),
        group=answers.one("group"),
        home=answers.one("home"),
        os=answers.one("os"),
        address=answers.one("address"),
        arch=_arch(host, answers.one("arch")),
        cpus=max(1, answers.number("cpus")),
        memory_total=answers.number("mem_total") * 1024,
        memory_available=answers.number("mem_available") * 1024,
        systemd=system and answers.one("systemd") == "yes",
        docker=answers.one("docker"),
        docker_problem=answers.one("docker_problem"),
        gpus=tuple(gpu for line in answers.all("gpu") if (gpu := parse_gpu(line))),
        gpu_problem=answers.one("gpu_problem"),
        pythons=tuple(python for line in answers.all("python") if (python := _python(line))),
        tools=frozenset(answers.all("tool")),
        lacks=frozenset(answers.all("lacks")),
        accounts=frozenset(answers.all("account")),
        listeners=tuple(_listeners(answers)),
        vendor_ollama=_vendor(answers),
        manifests=tuple(_decode(text) for text in answers.all("manifest")),
    )


def _arch(host: str, machine: str) -> Arch:
    names: dict[str, Arch] = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    if machine not in names:
        raise RefusedError(
            f"no engine is published for the processor type {machine or 'unknown'}",
            host=host,
            remedy=f"use a host with one of: {', '.join(get_args(Arch))}",
        )
    return names[machine]


def parse_gpu(line: str) -> Gpu | None:
    """Read one CSV line of nvidia-smi: index, uuid, name, memory.total, memory.free (MiB), driver_version, compute_cap.

    None for anything else.
    """
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 7 or not all(cells[column].isdecimal() for column in (0, 3, 4)):
        return None
    major, _, minor = cells[6].partition(".")
    capability = (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None
    return Gpu(
        index=int(cells[0]),
        uuid=cells[1],
        name=cells[2],
        memory_total_mib=int(cells[3]),
        memory_free_mib=int(cells[4]),
        driver=cells[5],
        compute_capability=capability,
    )


def _python(line: str) -> Python | None:
    cells = line.split()
    if len(cells) != 4 or not (cells[1].isdecimal() and cells[2].isdecimal()):
        return None
    return Python(path=cells[0], version=(int(cells[1]), int(cells[2])), venv=cells[3] == "yes")


def _listeners(answers: _Answers) -> list[Listener]:
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


def _vendor(answers: _Answers) -> VendorOllama | None:
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

"""A host on which nothing is missing, as an Examination; tests take something away."""

from __future__ import annotations

from orchestrator.doctor.checks import check
from orchestrator.doctor.finding import Finding
from orchestrator.doctor.wanted import Wanted
from orchestrator.facts import Facts, Gpu, Layout, Listener, Python
from orchestrator.facts.examine import Disk, Examination, Holder, Source
from orchestrator.spec import OllamaSpec, Spec
from orchestrator.spec.vllm import VllmSpec

GIB = 1 << 30
CARD = Gpu(
    index=0,
    uuid="GPU-1",
    name="NVIDIA GeForce RTX 4060 Ti",
    memory_total_mib=16380,
    memory_free_mib=16010,
    memory_used_mib=10,
    driver="580.95.05",
    cuda=(13, 0),
    compute_capability=(8, 9),
)
TOOLS = frozenset(("curl", "tar", "zstd", "gzip", "sha256sum", "base64", "flock", "timeout", "docker", "ss"))


def facts(**changes: object) -> Facts:
    values: dict[str, object] = {
        "host": "gpu01",
        "layout": Layout.system(),
        "uid": 0,
        "gid": 0,
        "user": "root",
        "group": "root",
        "home": "/root",
        "os": "Ubuntu 24.04.3 LTS",
        "arch": "amd64",
        "cpus": 16,
        "memory_total": 64 * GIB,
        "memory_available": 60 * GIB,
        "systemd": True,
        "docker": "28.3.2",
        "gpus": (CARD,),
        "pythons": (Python(path="/usr/bin/python3", version=(3, 12), venv=True),),
        "tools": TOOLS,
        "listeners": (Listener(address="0.0.0.0", port=22),),
    }
    return Facts.model_validate({**values, **changes})


def seen(known: Facts | None = None, **changes: object) -> Examination:
    values: dict[str, object] = {
        "facts": known or facts(),
        "skew": 0.0,
        "ntp": True,
        "kernel": "6.8.0-51-generic",
        "sudo_from": "",
        "systemd_version": "255",
        "cgroup_driver": "systemd",
        "cgroup_version": "2",
        "docker_host": "",
        "toolkit": "1.17.8",
        "toolkit_hook": "nvidia-container-runtime-hook",
        "cdi": (),
        "device_links": True,
        "nvidia_cards": 1,
        "nvidia_module": True,
        "nouveau": False,
        "disks": tuple(
            Disk(purpose=purpose, path=path, free=200 * GIB, total=500 * GIB, writable=True)
            for purpose, path in (("models", "/var/lib"), ("engines", "/opt"), ("images", "/var/lib/docker"))
        ),
        "holders": (),
        "sources": (source("hub", 200), source("ollama", 302)),
        "proxies": (),
        "nofile_soft": 1024,
        "nofile_hard": 1048576,
        "memlock_kib": None,
        "overcommit": 0,
        "max_map_count": 1048576,
    }
    return Examination.model_validate({**values, **changes})


def source(name: str, status: int, exited: int = 0, error: str = "") -> Source:
    return Source(name=name, status=status, exited=exited, error=error)


def holder(port: int, name: str) -> Holder:
    return Holder(port=port, pid=4711, name=name)


def wanted(
    *, firm: bool = True, ollama: OllamaSpec | None = None, vllm: VllmSpec | None = None, **changes: object
) -> Wanted:
    """Both runtimes, unless one is given."""
    both = ollama is None and vllm is None
    spec = Spec(ollama=OllamaSpec() if both else ollama, vllm=VllmSpec() if both else vllm)
    return Wanted.model_validate({"spec": spec, "firm": firm, "reached_from_here": True, **changes})


def told(examined: Examination, want: Wanted | None = None) -> list[Finding]:
    """What is not well."""
    return [finding for finding in check(examined, want or wanted()) if finding.level != "ok"]


def one(examined: Examination, want: Wanted | None = None) -> Finding:
    """The one thing that is not well."""
    (finding,) = told(examined, want)
    return finding

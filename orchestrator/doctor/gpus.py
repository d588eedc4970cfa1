"""GPUs, their driver, and how containers get at them."""

import re

from orchestrator.doctor.finding import Finding, as_root, fail, install, ok, warn
from orchestrator.doctor.wanted import Wanted
from orchestrator.errors import RefusedError
from orchestrator.facts import Facts, Gpu
from orchestrator.facts.examine import Examination
from orchestrator.spec.catalogue import choose_vllm

OLLAMA_DRIVER, OLLAMA_CAPABILITY = 531, (5, 0)
"""What Ollama needs to use a GPU, as its documentation says."""

_CDI_BY_ITSELF = (28, 3)
"""The first Docker Engine that takes `--gpus` to CDI where there is no hook."""

_IN_USE_MIB = 1024  # less than that is a desktop

_PROBLEMS = (
    (r"version mismatch|NVML/RM", "reboot the host: the driver was updated, and the kernel still runs the old one"),
    (r"couldn't communicate|Driver Not Loaded", "modprobe nvidia; if that fails, build the module: `dkms status`"),
    (r"does not answer", "`dmesg | grep -i xid` says why the card hangs; a reboot frees it"),
    (r"No devices were found", "`dmesg | grep -iE 'nvrm|xid'` says why the driver takes no card"),
    (r"Insufficient Permissions", "add the user to the groups video and render, or log in as root"),
    (r"Unknown Error|lost|requires reset", "nvidia-smi --gpu-reset, or reboot the host; `dmesg | grep -i xid`"),
)


def gpu_findings(seen: Examination, wanted: Wanted) -> list[Finding]:
    """Every card, what holds its memory, and what is wrong with cards or driver."""
    facts = seen.facts
    found = [finding for gpu in facts.gpus for finding in _card(gpu, alone=not facts.manifests)]
    if facts.gpu_problem:
        remedy = next((text for pattern, text in _PROBLEMS if re.search(pattern, facts.gpu_problem)), "reboot the host")
        found.append(fail("gpu", facts.gpu_problem, remedy))
    if found:
        return [*found, *_driver(facts, wanted)]
    if seen.nvidia_cards:
        return [_without_driver(seen, wanted)]
    if wanted.spec.vllm is not None and wanted.spec.vllm.device == "cuda":
        return [fail("gpu", "no NVIDIA GPU, and vLLM is to run on one", "choose --device cpu, or another host")]
    return [ok("gpu", "no NVIDIA GPU: engines serve on the CPU")]


def _card(gpu: Gpu, *, alone: bool) -> list[Finding]:
    """``alone``: nothing of ours is deployed there, so whoever holds memory is somebody else."""
    subject = f"gpu {gpu.index}"
    told = [f"{gpu.name}: {gpu.memory_free_mib} of {gpu.memory_total_mib} MiB free"]
    told += ["memory shared with the host"] if gpu.unified else []
    told += [f"compute capability {_dotted(gpu.compute_capability)}"] if gpu.compute_capability else []
    told += [f"ECC {'on' if gpu.ecc else 'off'}"] if gpu.ecc is not None else []
    found = [ok(subject, ", ".join(told)), *_shared_out(gpu, subject)]
    if gpu.processes:
        text = ", ".join(f"{item.name} (pid {item.pid}) {_held(item.memory_mib)}" for item in gpu.processes)
        much = alone and sum(item.memory_mib or 0 for item in gpu.processes) > _IN_USE_MIB
        remedy = "end what you can do without: `--gpu-mem 1.0` takes only what is free"
        found.append(warn(subject, f"in use: {text}", remedy) if much else ok(subject, f"in use: {text}"))
    return found


def _held(mib: int | None) -> str:
    return "of unknown size" if mib is None else f"{mib} MiB"


def _shared_out(gpu: Gpu, subject: str) -> list[Finding]:
    """MIG: whole cards are what we deploy on."""
    if not gpu.mig:
        return []
    off = f"nvidia-smi -i {gpu.index} -mig 0 gives the whole card back"
    if not gpu.mig_instances:
        return [fail(subject, "MIG is on without an instance, so no program can use this card", off)]
    parts = ", ".join(f"{item.profile or 'instance'} {item.memory_total_mib} MiB" for item in gpu.mig_instances)
    return [warn(subject, f"shared out by MIG ({parts}): an engine gets one instance, not the card", off)]


def _without_driver(seen: Examination, wanted: Wanted) -> Finding:
    facts = seen.facts
    what = f"{seen.nvidia_cards} NVIDIA card(s) on the bus, but no driver of NVIDIA's: engines would serve on the CPU"
    if seen.nouveau:
        what += " (the kernel runs nouveau, which cannot compute)"
    if seen.nvidia_module:
        what = "the NVIDIA driver runs, but nvidia-smi is not installed, so its cards cannot be seen"
    if "Ubuntu" in facts.os:
        remedy = f"{as_root(facts, 'ubuntu-drivers install')}, then reboot"
    else:
        remedy = f"{install(facts, ['nvidia-driver'])} (or NVIDIA's own packages), then reboot"
    return Finding(level=wanted.lack, subject="gpu", what=what, remedy=remedy)


def _driver(facts: Facts, wanted: Wanted) -> list[Finding]:
    """Whether the driver runs what would be installed."""
    if not facts.gpus:
        return []
    gpu = facts.gpus[0]
    numbers = tuple(int(part) for part in gpu.driver.split(".") if part.isdecimal())
    known = f"{gpu.driver}" + (f", up to CUDA {_dotted(gpu.cuda)}" if gpu.cuda else "")
    weakest = min((item.compute_capability for item in facts.gpus if item.compute_capability), default=None)
    found = [ok("driver", known)]
    section = wanted.spec.vllm
    if section is not None and section.device != "cpu":
        try:
            build = choose_vllm(
                model_format=wanted.model_format,
                device="cuda",
                driver=numbers or None,
                compute_capability=weakest,
                arch=facts.arch,
                version=section.version,
                image=section.image if section.runner == "container" else None,
                runner=section.runner,
            )
            found.append(ok("driver", f"fit for {build.reason}"))
        except RefusedError as error:
            what = f"{error.what}: {error.why}" if error.why else error.what
            found.append(Finding(level=wanted.lack, subject="driver", what=what, remedy=error.remedy))
    if wanted.spec.ollama is not None:
        found += _ollama_driver(numbers, weakest, wanted)
    return found


def _ollama_driver(driver: tuple[int, ...], capability: tuple[int, int] | None, wanted: Wanted) -> list[Finding]:
    old = driver and driver[0] < OLLAMA_DRIVER
    weak = capability is not None and capability < OLLAMA_CAPABILITY
    if not (old or weak):
        return []
    what = f"Ollama uses GPUs from driver {OLLAMA_DRIVER} and compute capability {_dotted(OLLAMA_CAPABILITY)} on"
    return [warn("driver", f"{what}: here it serves on the CPU", "update the driver" if old else "use another card")]


def container_findings(seen: Examination, wanted: Wanted) -> list[Finding]:
    """Whether Docker can hand the cards to a container, and keeps them there."""
    facts = seen.facts
    section = wanted.containers
    if section is None or section.device == "cpu" or not facts.gpus or not facts.docker:
        return []
    engine = tuple(int(part) for part in re.findall(r"\d+", facts.docker)[:2])
    if seen.toolkit_hook:
        found = [ok("containers", f"NVIDIA container toolkit {seen.toolkit}".rstrip())]
        return [*found, *_reload_trap(seen)]
    if seen.cdi and engine >= _CDI_BY_ITSELF:
        return [ok("containers", f"GPUs are described to containers by CDI ({', '.join(seen.cdi)})")]
    what = "Docker cannot give a GPU to a container: NVIDIA's container toolkit is not installed"
    restart = as_root(facts, "systemctl restart docker" if seen.systemd_version else "service docker restart")
    configure = as_root(facts, "nvidia-ctk runtime configure --runtime=docker")
    remedy = f"{install(facts, ['nvidia-container-toolkit'])} (from NVIDIA's repository)\n{configure}\n{restart}"
    return [Finding(level=wanted.lack, subject="containers", what=what, remedy=remedy)]


def _reload_trap(seen: Examination) -> list[Finding]:
    """`systemctl daemon-reload` takes GPUs away from containers that the hook gave them to (nvidia-container-toolkit
    issues 48 and 1227), unless systemd can find the device files by their numbers."""
    if not seen.systemd_version or seen.cgroup_driver != "systemd":
        return [ok("containers", f"keep their GPUs: cgroup driver {seen.cgroup_driver}")] if seen.cgroup_driver else []
    if seen.device_links:
        return [ok("containers", "keep their GPUs over `systemctl daemon-reload`: /dev/char leads to them")]
    return [
        warn(
            "containers",
            "`systemctl daemon-reload` would take the GPUs away from running containers (cgroup driver systemd)",
            as_root(seen.facts, "nvidia-ctk system create-dev-char-symlinks --create-all"),
        )
    ]


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in numbers)

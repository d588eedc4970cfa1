"""GPUs, driver and containers: what each fault is called, how bad it is, and what to type."""

from __future__ import annotations

import pytest

from orchestrator.doctor.checks import check
from orchestrator.facts import GpuProcess, MigInstance
from orchestrator.spec import OllamaSpec
from orchestrator.spec.vllm import VllmSpec
from tests.doctor.scene import CARD, facts, one, seen, told, wanted


def test_a_host_on_which_nothing_is_missing_has_nothing_to_complain_of() -> None:
    assert told(seen()) == []
    lines = [f"{finding.subject}: {finding.what}" for finding in check(seen(), wanted())]
    assert "gpu 0: NVIDIA GeForce RTX 4060 Ti: 16010 of 16380 MiB free, compute capability 8.9" in lines
    assert any(line.startswith("driver: fit for vLLM") and "CUDA 13.0" in line for line in lines)


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch NVML library version: 580.95", "reboot"),
        ("Failed to initialize NVML: RM has detected an NVML/RM version mismatch.", "reboot"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "modprobe nvidia"),
        ("nvidia-smi does not answer within 15 s", "xid"),
        ("No devices were found", "nvrm"),
        ("GPU 0 (NVIDIA B200) says of its memory: Unknown Error", "--gpu-reset"),
        ("something new", "reboot"),
    ],
)
def test_a_driver_that_fails(problem: str, remedy: str) -> None:
    finding = one(seen(facts(gpus=(), gpu_problem=problem)), wanted(firm=False))
    assert (finding.level, finding.subject, finding.what) == ("fail", "gpu", problem)
    assert remedy in finding.remedy


def test_a_card_without_a_driver_is_seen_on_the_bus() -> None:
    bare = seen(facts(gpus=()), nvidia_module=False, nvidia_cards=2, nouveau=True)
    finding = one(bare)
    assert (finding.level, finding.remedy) == ("fail", "ubuntu-drivers install, then reboot")
    assert "2 NVIDIA card(s)" in finding.what and "nouveau" in finding.what
    assert one(bare, wanted(firm=False)).level == "warn"


def test_no_card_is_fine_unless_one_was_asked_for() -> None:
    none = seen(facts(gpus=()), nvidia_module=False, nvidia_cards=0)
    assert told(none) == []
    assert one(none, wanted(vllm=VllmSpec(device="cuda"))).level == "fail"


def test_a_driver_that_is_too_old_for_vllm_names_the_version_it_takes() -> None:
    old = seen(facts(gpus=(CARD.model_copy(update={"driver": "550.54.15", "cuda": (12, 4)}),)))
    finding = one(old)
    assert (finding.level, finding.subject) == ("fail", "driver")
    assert "550.54.15" in finding.what and "575" in finding.what and "580" in finding.remedy
    assert one(old, wanted(firm=False)).level == "warn"
    assert told(old, wanted(ollama=OllamaSpec())) == []
    assert told(old, wanted(vllm=VllmSpec(device="cpu"))) == []


def test_a_driver_between_gets_the_older_cuda() -> None:
    between = seen(facts(gpus=(CARD.model_copy(update={"driver": "575.57.08", "cuda": (12, 9)}),)))
    assert told(between) == []
    assert any("CUDA 12.9" in finding.what for finding in check(between, wanted()) if "fit for" in finding.what)


def test_a_card_that_is_too_old_for_both() -> None:
    kepler = CARD.model_copy(update={"name": "Tesla K80", "driver": "470.256.02", "compute_capability": (3, 7)})
    vllm, ollama = told(seen(facts(gpus=(kepler,))))
    assert (vllm.level, ollama.level) == ("fail", "warn")
    assert "7.5" in vllm.what and "531" in ollama.what


def test_somebody_else_on_the_card() -> None:
    used = CARD.model_copy(update={"processes": (GpuProcess(pid=426, name="python3", memory_mib=9000),)})
    finding = one(seen(facts(gpus=(used,))))
    assert (finding.level, finding.what) == ("warn", "in use: python3 (pid 426) 9000 MiB")
    assert told(seen(facts(gpus=(used,), manifests=("{}",)))) == []  # it may well be our own engine
    desktop = CARD.model_copy(update={"processes": (GpuProcess(pid=1, name="Xorg", memory_mib=None),)})
    assert told(seen(facts(gpus=(desktop,)))) == []


def test_a_card_that_is_shared_out() -> None:
    part = MigInstance(index=0, profile="3g.20gb", memory_total_mib=19968, memory_used_mib=0, memory_free_mib=19968)
    shared = one(seen(facts(gpus=(CARD.model_copy(update={"mig": True, "mig_instances": (part,)}),))))
    assert shared.level == "warn" and "3g.20gb 19968 MiB" in shared.what and "-mig 0" in shared.remedy
    assert one(seen(facts(gpus=(CARD.model_copy(update={"mig": True}),)))).level == "fail"


def test_without_the_toolkit_docker_has_no_gpus() -> None:
    finding = one(seen(toolkit="", toolkit_hook=""))
    assert (finding.level, finding.subject) == ("fail", "containers")
    assert "nvidia-ctk runtime configure --runtime=docker" in finding.remedy
    assert "systemctl restart docker" in finding.remedy
    assert told(seen(toolkit="", toolkit_hook="", cdi=("/etc/cdi/nvidia.yaml",))) == []
    old = facts(docker="27.1.0")
    assert one(seen(old, toolkit="", toolkit_hook="", cdi=("/etc/cdi/nvidia.yaml",))).subject == "containers"
    assert told(seen(toolkit="", toolkit_hook=""), wanted(ollama=OllamaSpec())) == []
    assert told(seen(toolkit="", toolkit_hook=""), wanted(vllm=VllmSpec(runner="venv"))) == []


def test_a_reload_of_systemd_takes_gpus_away_where_it_cannot_find_them() -> None:
    finding = one(seen(device_links=False))
    assert finding.level == "warn" and "daemon-reload" in finding.what
    assert finding.remedy == "nvidia-ctk system create-dev-char-symlinks --create-all"
    assert told(seen(device_links=False, cgroup_driver="cgroupfs")) == []
    assert told(seen(facts(systemd=False), device_links=False, systemd_version="", ntp=None))[0].subject == "systemd"

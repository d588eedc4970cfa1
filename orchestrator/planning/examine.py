"""What is wrong with a deployment: the ladder climbed once, and the evidence that lies on the host."""

from dataclasses import dataclass
from typing import Literal

from orchestrator.health.clock import Clock
from orchestrator.health.diagnosis import Diagnosis, better, explain, remarks
from orchestrator.health.ladder import check
from orchestrator.health.mask import mask
from orchestrator.health.report import PORT_OPEN, HealthReport
from orchestrator.hosts.base import Host
from orchestrator.planning.manifest import Manifest
from orchestrator.progress import Progress

Verdict = Literal["healthy", "starting", "failing"]

_LINES = 2000
"""How much of a log is read: more than the ladder does, since a crash may lie some restarts back."""


@dataclass(frozen=True)
class Examination:
    """What was found. ``detail`` is what the first rung that does not hold says."""

    manifest: Manifest
    verdict: Verdict
    detail: str
    report: HealthReport | None
    diagnosis: Diagnosis | None
    remarks: tuple[Diagnosis, ...] = ()


def examine(host: Host, manifest: Manifest, *, expects_gpu: bool, progress: Progress, clock: Clock) -> Examination:
    """Look at one deployment now, without waiting for it. Raises UnreachableError.

    ``expects_gpu`` says that the host has a GPU, so that computing on the CPU is worth a remark.
    """
    service = manifest.running_service
    if service is None:
        return Examination(manifest, "failing", "it was never applied to its end: deployctl up goes on", None, None)
    runtime, version = manifest.runtime, manifest.endpoint.expected_version or ""
    report = check(host, manifest.endpoint, service, deadline_s=0, progress=progress, clock=clock)
    log = mask(service.log_tail(host, _LINES))
    if report.healthy:
        found = remarks(log, runtime, version)
        kept = tuple(remark for remark in found if expects_gpu or remark.id not in _ABOUT_GPUS)
        return Examination(manifest, "healthy", "", report, None, kept)
    detail = next((rung.detail for rung in report.rungs if rung.name == report.failed), "")
    diagnosis = report.diagnosis
    if report.failed == "running" or report.log:
        evidence = mask(service.evidence(host))
        diagnosis = better(diagnosis, explain(f"{detail}\n{evidence}\n{log}", runtime, version))
    starting = report.failed == PORT_OPEN and diagnosis is None
    return Examination(manifest, "starting" if starting else "failing", detail, report, diagnosis)


_ABOUT_GPUS = frozenset({"ollama-on-cpu", "ollama-no-gpu-found", "ollama-gpu-discovery-failed"})

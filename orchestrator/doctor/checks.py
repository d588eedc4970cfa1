"""All findings about one host."""

from orchestrator.doctor.finding import Finding
from orchestrator.doctor.gpus import container_findings, gpu_findings
from orchestrator.doctor.machine import (
    clock_findings,
    docker_findings,
    limit_findings,
    room_findings,
    system_findings,
)
from orchestrator.doctor.network import port_findings, source_findings
from orchestrator.doctor.wanted import Wanted
from orchestrator.facts.examine import Examination


def check(seen: Examination, wanted: Wanted) -> tuple[Finding, ...]:
    """What was found, in the order in which one would look."""
    return (
        *system_findings(seen, wanted),
        *gpu_findings(seen, wanted),
        *docker_findings(seen, wanted),
        *container_findings(seen, wanted),
        *room_findings(seen, wanted),
        *port_findings(seen, wanted),
        *source_findings(seen, wanted),
        *clock_findings(seen),
        *limit_findings(seen),
    )

"""The JSON documents of ``doctor``, as types; see ``documents``."""

from typing_extensions import TypedDict

from orchestrator.cli.failure import Failure, Runtime
from orchestrator.doctor.audit import Audited
from orchestrator.doctor.finding import Finding
from orchestrator.facts import Gpu


class ExaminedHost(TypedDict):
    """What was found of a host."""

    host: str
    gpus: list[Gpu]
    findings: list[Finding]


class DoctorDocument(TypedDict):
    """Of ``doctor``."""

    schema: str
    exit_code: int
    hosts: list[ExaminedHost]
    errors: list[Failure]


class AuditedDeployment(TypedDict):
    """What a deployment is made of."""

    host: str
    name: str
    runtime: Runtime
    generation: int
    applied_at: str
    applied_by: str
    tool: str
    summary: dict[str, str]
    resources: list[Audited]


class AuditDocument(TypedDict):
    """Of ``doctor --audit``."""

    schema: str
    exit_code: int
    deployments: list[AuditedDeployment]
    errors: list[Failure]

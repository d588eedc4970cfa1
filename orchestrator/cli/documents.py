"""The JSON documents that ``--json`` prints, as types. docs/generate.py publishes them as JSON Schemas.

Every document has ``schema``, its name and version. Fields may be added under the same version, never changed or taken
away. What they mean is told in docs/documents.toml.
"""

from typing import Literal

from typing_extensions import TypedDict

from orchestrator.bench.parity import Answered, Differs
from orchestrator.bench.result import Measurement
from orchestrator.cli.doctor_documents import AuditDocument, DoctorDocument
from orchestrator.cli.failure import Failure, Runtime
from orchestrator.cli.fit_documents import FitDocument
from orchestrator.fit.decided import Decided
from orchestrator.health.diagnosis import Diagnosis
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.engine import Load
from orchestrator.health.phases import Phase
from orchestrator.health.report import HealthReport
from orchestrator.health.service import ServiceState
from orchestrator.health.taken import Taken
from orchestrator.metrics.targets import Target
from orchestrator.planning.devices import Devices
from orchestrator.planning.saved import SavedPlan
from orchestrator.planning.standing import Drift, Remark, State


class ErrorDocument(TypedDict):
    """Of any command that fails before it reaches a host."""

    schema: str
    error: Failure


class VersionDocument(TypedDict):
    """Of ``version``."""

    schema: str
    deployctl: str
    ollama: list[str]
    vllm: list[str]


class Machine(TypedDict):
    """A host of the inventory."""

    name: str
    address: str
    user: str | None
    port: int | None
    jump: list[str]
    groups: list[str]
    key: Literal["known", "unknown", "local"]


class HostsDocument(TypedDict):
    """Of ``hosts list``."""

    schema: str
    exit_code: int
    hosts: list[Machine]


class HostKey(TypedDict):
    """A key that was added to known_hosts."""

    name: str
    type: str
    fingerprint: str


class TrustDocument(TypedDict):
    """Of ``hosts trust``."""

    schema: str
    exit_code: int
    keys: list[HostKey]
    file: str


class RenderDocument(TypedDict):
    """Of ``render``."""

    schema: str
    exit_code: int
    runtime: Runtime
    files: dict[str, str]
    commands: list[str]
    endpoint: Endpoint
    notes: list[str]
    warnings: list[str]


class AppliedChange(TypedDict):
    """What was done to one resource."""

    action: Literal["create", "update", "remove", "none"]
    kind: str
    identity: str
    fields: list[str]


class Applied(TypedDict):
    """A deployment that a plan was carried out for; ``returned`` is what it was returned to when it failed."""

    host: str
    name: str
    runtime: Runtime
    generation: int
    endpoint: Endpoint
    exposed: bool
    changes: list[AppliedChange]
    notes: list[str]
    warnings: list[str]
    health: HealthReport
    fit: Decided | None
    taken: Taken | None
    returned: "Applied | None"


class AppliedDocument(TypedDict):
    """Of ``up``, ``apply`` and ``rollback``."""

    schema: str
    exit_code: int
    deployments: list[Applied]
    errors: list[Failure]


class Running(TypedDict):
    """A deployment as it is now."""

    host: str
    name: str
    runtime: Runtime
    state: State
    phase: Phase | None
    remarks: list[Remark]
    generation: int
    endpoint: Endpoint
    exposed: bool
    exposure: Literal["direct", "gateway", "tls", "loopback"]
    summary: dict[str, str]
    fit: Decided | None
    taken: Taken | None
    loaded: bool | None
    devices: Devices
    load: Load | None
    uptime_s: int | None
    applied_at: str
    applied_by: str
    service: ServiceState
    drift: list[Drift]


class StatusDocument(TypedDict):
    """Of ``status``."""

    schema: str
    exit_code: int
    deployments: list[Running]
    errors: list[Failure]


class Log(TypedDict):
    """The last lines of the log of a deployment, or of the ``gateway``, on one host."""

    host: str
    name: str
    lines: list[str]


class LogsDocument(TypedDict):
    """Of ``logs``."""

    schema: str
    exit_code: int
    logs: list[Log]
    errors: list[Failure]


class Finding(TypedDict):
    """What is wrong with a deployment, or what a log tells; ``host`` is empty for a log."""

    host: str
    name: str
    runtime: Runtime | None
    version: str
    verdict: Literal["healthy", "no failure", "starting", "failing"]
    detail: str
    diagnosis: Diagnosis | None
    remarks: list[Diagnosis]


class DiagnoseDocument(TypedDict):
    """Of ``diagnose``."""

    schema: str
    exit_code: int
    findings: list[Finding]
    errors: list[Failure]


class MetricsDocument(TypedDict):
    """Of ``metrics``."""

    schema: str
    exit_code: int
    files: dict[str, str]
    targets: list[Target]
    warnings: list[str]
    errors: list[Failure]


class TakenDown(TypedDict):
    """A deployment that was taken down; ``kept`` is what stays."""

    host: str
    name: str
    runtime: Runtime
    kept: list[str]


class DownDocument(TypedDict):
    """Of ``down``."""

    schema: str
    exit_code: int
    deployments: list[TakenDown]
    errors: list[Failure]


class Past(TypedDict):
    """A generation that is kept on a host."""

    host: str
    generation: int
    current: bool
    applied_at: str
    applied_by: str
    cause: str
    healthy: bool | None
    seconds: float
    summary: dict[str, str]
    evidence: str


class HistoryDocument(TypedDict):
    """Of ``history``."""

    schema: str
    exit_code: int
    name: str
    generations: list[Past]
    errors: list[Failure]


class KnownKey(TypedDict):
    """A key, without its secret."""

    host: str
    deployment: str
    name: str
    role: Literal["user", "admin", "metrics"]
    created: int
    expires: int | None


class KeysDocument(TypedDict):
    """Of ``keys``."""

    schema: str
    exit_code: int
    keys: list[KnownKey]
    errors: list[Failure]


class Changed(TypedDict):
    """A number before and now; ``worse`` is a share, null where none can be told."""

    concurrency: int
    what: str
    before: float
    now: float
    worse: float | None


class Compared(TypedDict):
    """A generation against the one before it that was measured."""

    host: str
    name: str
    generation: int
    before: int
    changes: list[Changed]


class BenchDocument(TypedDict):
    """Of ``bench run`` and ``bench compare``."""

    schema: str
    exit_code: int
    measurements: list[Measurement]
    compared: list[Compared]
    files: list[str]
    errors: list[Failure]


class SideOfParity(TypedDict):
    """One of the two deployments that are compared."""

    host: str
    name: str
    runtime: str
    model: str
    sampling: dict[str, float]
    said: dict[str, float]
    stop: list[str]
    eos: list[int]
    system: str
    template: str
    rendered: str


class ParityDocument(TypedDict):
    """Of ``parity``."""

    schema: str
    exit_code: int
    sides: list[SideOfParity]
    differences: list[Differs]
    answers: list[Answered]


DOCUMENTS: dict[str, type] = {
    "deployctl.version/1": VersionDocument,
    "deployctl.hosts/1": HostsDocument,
    "deployctl.hosts.trust/1": TrustDocument,
    "deployctl.render/1": RenderDocument,
    "deployctl.plan/1": SavedPlan,
    "deployctl.up/1": AppliedDocument,
    "deployctl.apply/1": AppliedDocument,
    "deployctl.rollback/1": AppliedDocument,
    "deployctl.status/1": StatusDocument,
    "deployctl.history/1": HistoryDocument,
    "deployctl.keys/1": KeysDocument,
    "deployctl.logs/1": LogsDocument,
    "deployctl.diagnose/1": DiagnoseDocument,
    "deployctl.metrics/1": MetricsDocument,
    "deployctl.down/1": DownDocument,
    "deployctl.bench/1": BenchDocument,
    "deployctl.bench.compare/1": BenchDocument,
    "deployctl.parity/1": ParityDocument,
    "deployctl.fit/1": FitDocument,
    "deployctl.doctor/1": DoctorDocument,
    "deployctl.doctor.audit/1": AuditDocument,
    "deployctl.error/1": ErrorDocument,
}
"""What each document is made of, by its name."""

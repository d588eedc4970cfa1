"""``deployctl diagnose``: why a deployment does not serve, or what a log says went wrong."""

import sys
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError, ExitStatus, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.documents import DiagnoseDocument, Finding
    from orchestrator.cli.failure import Runtime
    from orchestrator.cli.session import Session
    from orchestrator.health.diagnosis import Diagnosis
    from orchestrator.hosts.base import Host
    from orchestrator.planning.examine import Examination

_MOST = 4 << 20
"""Bytes of a log that are read: its end, since that is the run that matters."""

_EPILOG = """\b
Examples:
  deployctl diagnose                                   everything on this machine
  deployctl diagnose vllm --host gpu01
  deployctl diagnose --log engine.log
  docker logs my-vllm 2>&1 | deployctl diagnose vllm --log -

\b
Exit codes: 0 nothing is wrong, or it is still starting; 5 something is, and the cause is known; 1 something is, and
only its first error can be shown.
"""


@click.command(epilog=_EPILOG)
@click.argument("name", required=False, metavar="[ollama|vllm|NAME]")
@click.option("--log", metavar="FILE", help="Explain this log (- for standard input) instead of a deployment.")
@click.option("--engine-version", metavar="VERSION", default="", help="Of the log's engine, where the log hides it.")
@host_options
@common_options
def diagnose(name: str | None, log: str | None, engine_version: str, **options: Any) -> int:
    """Say why a deployment does not serve: cause, remedy, and the line that tells.

    It asks the engine, and reads its log, its exit codes and the kernel's messages on the host. With --log it explains
    a log that you have: of vLLM, Ollama, Docker, systemd or ssh.
    """
    from orchestrator.cli.session import Session, worst

    session = Session(options)
    if log is not None:
        findings: list[Finding] = [_of_log(log, name, engine_version)]
        failures: list[DeployError] = []
    else:
        findings, failures = _of_deployments(session, name)
    status = worst([*(error.status for error in failures), *(_status(finding) for finding in findings)])
    for finding in findings:
        _tell(session, finding)
    session.console.document(_document(findings, failures, status))
    return int(status)


def _of_log(log: str, name: str | None, version: str) -> "Finding":
    from orchestrator.health.diagnosis import explain, remarks
    from orchestrator.health.mask import mask
    from orchestrator.health.table import engine_in, version_in

    text = mask(_read(log))
    runtime = _runtime(name) if name else engine_in(text)
    version = version or version_in(text, runtime)
    diagnosis = explain(text, runtime, version)
    if diagnosis is not None and diagnosis.id == "unknown":
        diagnosis = diagnosis.model_copy(update={"remedy": f"Read the log around line {diagnosis.number}."})
    return {
        "host": "",
        "name": log,
        "runtime": runtime,
        "version": version,
        "verdict": "no failure" if diagnosis is None else "failing",
        "detail": "",
        "diagnosis": diagnosis,
        "remarks": list(remarks(text, runtime, version)),
    }


def _runtime(name: str) -> "Runtime":
    runtimes: dict[str, Runtime] = {"ollama": "ollama", "vllm": "vllm"}
    if name in runtimes:
        return runtimes[name]
    raise UsageError(f"{name} is no runtime", remedy="with --log, say `ollama`, `vllm`, or nothing")


def _read(log: str) -> str:
    from pathlib import Path

    try:
        if log == "-":
            data: bytes = sys.stdin.buffer.read()
        else:
            with Path(log).open("rb") as file:
                file.seek(max(0, Path(log).stat().st_size - _MOST))
                data = file.read()
    except OSError as error:
        raise UsageError(
            f"cannot read {log}", why=error.strerror or str(error), remedy="name a readable file"
        ) from error
    return data[-_MOST:].decode("utf-8", "replace")


def _of_deployments(session: "Session", name: str | None) -> "tuple[list[Finding], list[DeployError]]":
    from orchestrator.cli.deployed import deployed
    from orchestrator.health.clock import SystemClock
    from orchestrator.planning.deploy import glance
    from orchestrator.planning.examine import examine
    from orchestrator.progress import Quiet

    hosts = session.open(session.entries())

    def look(host: "Host") -> "list[Examination]":
        seen, clock = glance(host, session.scope), SystemClock()
        gpus = bool(seen.facts.gpus or seen.facts.gpu_problem)
        mine = deployed(host, seen, name)
        return [examine(host, manifest, expects_gpu=gpus, progress=Quiet(), clock=clock) for manifest in mine]

    try:
        outcomes = session.on_each(hosts, look)
    finally:
        for host in hosts:
            host.close()
    for outcome in outcomes:
        if outcome.value == []:
            session.console.say(f"{outcome.host.name}: nothing is deployed")
    found = [_finding(outcome.host.name, item) for outcome in outcomes for item in outcome.value or ()]
    return found, [outcome.error for outcome in outcomes if outcome.error is not None]


def _finding(host: str, item: "Examination") -> "Finding":
    manifest = item.manifest
    return {
        "host": host,
        "name": manifest.name,
        "runtime": manifest.runtime,
        "version": manifest.endpoint.expected_version or "",
        "verdict": item.verdict,
        "detail": item.detail,
        "diagnosis": item.diagnosis,
        "remarks": list(item.remarks),
    }


def _status(finding: "Finding") -> ExitStatus:
    if finding["verdict"] != "failing":
        return ExitStatus.DONE
    known = finding["diagnosis"] is not None and finding["diagnosis"].id != "unknown"
    return ExitStatus.UNHEALTHY if known else ExitStatus.FAILED


def _tell(session: "Session", finding: "Finding") -> None:
    say = session.console.say
    color = {"failing": "red", "starting": "yellow"}.get(finding["verdict"], "green")
    where = f" on {finding['host']}" if finding["host"] else ""
    detail = f": {finding['detail']}" if finding["detail"] else ""
    say(f"{finding['name']}{where}: {finding['verdict']}{detail}", fg=color, bold=True)
    if finding["diagnosis"] is not None:
        for line in _lines(finding["diagnosis"]):
            say(f"  {line}")
    elif finding["verdict"] == "failing":
        say("  Nothing in its log or on the host says why.")
        say(f"  next    deployctl logs {finding['name']} --host {finding['host']}")
    for remark in finding["remarks"]:
        say(f"  but: {remark.cause}", fg="yellow")
        say(f"    → {remark.remedy}")


def _lines(diagnosis: "Diagnosis") -> list[str]:
    """Cause, remedy and the telling line; what is not known comes with the lines around it."""
    if diagnosis.id == "unknown":
        around = [f"  | {line}" for line in diagnosis.context]
        return [diagnosis.cause, f"error   {diagnosis.line}", *around, f"remedy  {diagnosis.remedy}"]
    return [f"cause   {diagnosis.cause}", f"remedy  {diagnosis.remedy}", f"said    {diagnosis.line}"]


def _document(findings: "list[Finding]", failures: list[DeployError], status: ExitStatus) -> "DiagnoseDocument":
    from orchestrator.cli.session import error_document

    return {
        "schema": "deployctl.diagnose/1",
        "exit_code": int(status),
        "findings": findings,
        "errors": [error_document(error) for error in failures],
    }

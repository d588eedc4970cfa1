"""``deployctl doctor``: what hosts lack, before anything is deployed; with ``--audit``, what runs there and whence."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError, ExitStatus, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cli.doctor_documents import AuditDocument, AuditedDeployment, DoctorDocument
    from orchestrator.cli.session import Session
    from orchestrator.doctor.audit import Audited
    from orchestrator.doctor.finding import Finding
    from orchestrator.doctor.wanted import Wanted
    from orchestrator.facts.examine import Examination
    from orchestrator.hosts.base import Host
    from orchestrator.hosts.connect import Outcome
    from orchestrator.planning.manifest import Manifest
    from orchestrator.spec import HostEntry

    Examined = tuple[Examination, tuple[Finding, ...]]
    Audit = tuple[list[tuple[Manifest, tuple[Audited, ...]]], tuple[str, ...]]

_SIGNS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}

_EPILOG = """\b
Examples:
  deployctl doctor
  deployctl doctor vllm --host gpu01 --host gpu02
  deployctl doctor --host gpu01 --audit
"""


@click.command(epilog=_EPILOG)
@click.argument("runtime", required=False, metavar="[ollama|vllm]")
@click.option("--audit", is_flag=True, help="List what runs of every deployment, from where, with which hash.")
@click.option(
    "--rehash", is_flag=True, help="With --audit: read model files again and compare (minutes for large ones)."
)
@host_options
@common_options
def doctor(runtime: str | None, audit: bool, rehash: bool, **options: Any) -> int:
    """Check every prerequisite of hosts, with a remedy for each that is missing. Changes nothing.

    What the named runtime needs, or the runtimes of the spec, counts as a failure (exit code 4) where it is missing;
    without either, what only one runtime needs is a warning.
    """
    from orchestrator.cli.session import Session, runtime_argument

    named = runtime_argument(runtime)
    if rehash and not audit:
        raise UsageError("--rehash belongs to --audit", remedy="deployctl doctor --audit --rehash")
    session = Session(options)
    entries = session.entries(session.spec(named).hosts)
    hosts = session.open(entries)
    try:
        return int(_audit(session, hosts, again=rehash) if audit else _examine(session, named, entries, hosts))
    finally:
        for host in hosts:
            host.close()


def _examine(session: "Session", runtime: str | None, entries: "tuple[HostEntry, ...]", hosts: "list[Host]") -> int:
    from orchestrator.cli.session import error_document, worst

    with ThreadPoolExecutor(1, thread_name_prefix="hub") as pool, session.console.progress():
        wanted = {entry.name: _wanted(session, runtime, entry) for entry in entries}
        remote = [wanted[entry.name] for entry in entries if not entry.is_local]
        here = {hub: pool.submit(_reached, hub) for hub in {want.hub for want in remote if want.asks_hub}}

        def look(host: "Host") -> "Examined":
            from orchestrator.doctor.checks import check
            from orchestrator.facts.examine import examine

            want = wanted[host.name]
            ports = [port for _, port in want.ports().values()]
            with session.console.for_host(host.name).task("examine"):
                seen = examine(host, scope=session.scope, ports=ports, sources=want.sources())
            if want.asks_hub:
                from_host = any(source.name == "hub" and source.status for source in seen.sources)
                reached = from_host if host.is_local else here[want.hub].result()
                want = want.model_copy(update={"reached_from_here": reached})
            return seen, (*check(seen, want), *_entrances(session, host, seen))

        outcomes = session.on_each(hosts, look)
    examined = [(outcome.host.name, *outcome.value) for outcome in outcomes if outcome.value is not None]
    for host, _, findings in examined:
        _show(session, host, findings)
    failed = any(finding.level == "fail" for _, _, findings in examined for finding in findings)
    status = worst([*_statuses(outcomes), *([ExitStatus.REFUSED] if failed else [])])
    document: DoctorDocument = {
        "schema": "deployctl.doctor/1",
        "exit_code": int(status),
        "hosts": [
            {"host": host, "gpus": list(seen.facts.gpus), "findings": list(findings)}
            for host, seen, findings in examined
        ],
        "errors": [error_document(outcome.error) for outcome in outcomes if outcome.error is not None],
    }
    session.console.document(document)
    return status


def _entrances(session: "Session", host: "Host", seen: "Examination") -> "Iterator[Finding]":
    """Who gets in at what is deployed there already."""
    from orchestrator.doctor.entrance import entrance_findings
    from orchestrator.health.entrance import look
    from orchestrator.planning.manifest import read_manifests

    for manifest in read_manifests(seen.facts)[0]:
        if manifest.status == "applied":
            endpoint, known = manifest.endpoint, session.addresses.get(host.name, ())
            yield from entrance_findings(
                manifest.name, endpoint, None if endpoint.exposed else look(host, endpoint, known)
            )


def _statuses(outcomes: "list[Outcome[Any]]") -> list[ExitStatus]:
    return [outcome.error.status for outcome in outcomes if outcome.error is not None]


def _wanted(session: "Session", runtime: str | None, entry: "HostEntry") -> "Wanted":
    """What a host is examined for: what is named, else whatever one may come to want."""
    from orchestrator.doctor.wanted import Wanted
    from orchestrator.models.hub import DEFAULT_ENDPOINT
    from orchestrator.spec import OllamaSpec
    from orchestrator.spec.vllm import VllmSpec

    spec = session.spec(runtime, entry)
    firm = bool(spec.runtimes())
    if not firm:
        spec = spec.model_copy(update={"ollama": OllamaSpec(), "vllm": VllmSpec()})
    hub = spec.hub.endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    return Wanted(spec=spec, firm=firm, user_scope=session.scope == "user", local=entry.is_local, hub=hub)


def _reached(hub: str) -> bool:
    """Whether this machine, which pushes what a host cannot download, reaches the Hub."""
    from orchestrator.hosts.base import HttpRequest
    from orchestrator.hosts.local import LocalHost

    return LocalHost().http(HttpRequest(f"{hub.rstrip('/')}/", "HEAD", timeout=10)).status != 0


def _show(session: "Session", host: str, findings: "tuple[Finding, ...]") -> None:
    """The findings of a host as lines."""
    say = session.console.say
    counts = {level: sum(finding.level == level for finding in findings) for level in _SIGNS}
    told = [_counted(counts["fail"], "problem"), _counted(counts["warn"], "warning")]
    say(f"{host}: {', '.join(filter(None, told)) or 'nothing is missing'}", bold=True)
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        sign, color = _SIGNS[finding.level]
        say(f"  {click.style(sign, fg=color)} {finding.subject.ljust(width)}  {finding.what}")
        if finding.level != "ok":
            for line in finding.remedy.splitlines():
                say(f"    {' ' * width}  → {line}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}" if count else ""


def _audit(session: "Session", hosts: "list[Host]", *, again: bool) -> int:
    """``again``: hash what lies there."""
    from orchestrator.cli.session import error_document, worst

    with session.console.progress():
        outcomes = session.on_each(hosts, lambda host: _looked(session, host, again=again))
    audited = [(outcome.host.name, *outcome.value) for outcome in outcomes if outcome.value is not None]
    unknown = [DeployError(problem, host=host) for host, _, problems in audited for problem in problems]
    for host, found, _ in audited:
        _show_audit(session, host, found)
    for error in unknown:
        session.console.error(error)
    rows = [(host, manifest, items) for host, found, _ in audited for manifest, items in found]
    differs = any(item.replaced for _, _, items in rows for item in items)
    failures = [*(outcome.error for outcome in outcomes if outcome.error is not None), *unknown]
    status = worst([*(error.status for error in failures), *([ExitStatus.REFUSED] if differs else [])])
    document: AuditDocument = {
        "schema": "deployctl.doctor.audit/1",
        "exit_code": int(status),
        "deployments": [_row(host, manifest, items) for host, manifest, items in rows],
        "errors": [error_document(error) for error in failures],
    }
    session.console.document(document)
    return status


def _looked(session: "Session", host: "Host", *, again: bool) -> "Audit":
    from orchestrator.doctor.audit import audit, hashed
    from orchestrator.planning.deploy import glance
    from orchestrator.resources.observe import observe
    from orchestrator.resources.rehash import rehash

    seen = glance(host, session.scope)
    alive = [manifest for manifest in seen.manifests if manifest.status != "down"]
    resources = {entry.resource.address: entry.resource for manifest in alive for entry in manifest.entries}
    observed = observe(host, list(resources.values()))
    found = [(manifest, audit(manifest, observed)) for manifest in alive]
    if again:
        origins = [origin for _, items in found for item in items for origin in item.origins]
        digests = rehash(host, origins, session.console.for_host(host.name))
        found = [(manifest, hashed(items, digests)) for manifest, items in found]
    return found, seen.problems


def _row(host: str, manifest: "Manifest", items: "tuple[Audited, ...]") -> "AuditedDeployment":
    return {
        "host": host,
        "name": manifest.name,
        "runtime": manifest.runtime,
        "generation": manifest.generation,
        "applied_at": manifest.applied_at,
        "applied_by": manifest.applied_by,
        "tool": manifest.tool,
        "summary": manifest.summary,
        "resources": list(items),
    }


def _show_audit(session: "Session", host: str, found: "list[tuple[Manifest, tuple[Audited, ...]]]") -> None:
    say = session.console.say
    if not found:
        say(f"{host}: nothing is deployed")
    for manifest, items in found:
        loose, other = sum(item.unpinned for item in items), sum(item.replaced for item in items)
        told = [f"{loose} unpinned" if loose else "", f"{other} changed since" if other else ""]
        made = f"generation {manifest.generation}, by {manifest.applied_by} with deployctl {manifest.tool}"
        say(
            f"{manifest.name} on {host}: {', '.join(filter(None, told)) or 'all pinned, as it was applied'} ({made})",
            bold=True,
        )
        for item in items:
            _show_item(session, item)


def _show_item(session: "Session", item: "Audited") -> None:
    say = session.console.say
    sign, color = _SIGNS["fail" if item.replaced else "warn" if item.unpinned else "ok"]
    say(f"  {click.style(sign, fg=color)} {item.title} {item.identity}")
    for origin in item.origins:
        say(f"      {f'{origin.part}: ' if origin.part else ''}from {origin.source}")
        if origin.pin:
            say(f"      {origin.pin}")
        if origin.differs:
            say(f"      but here it is {origin.here}", fg="red")
        if origin.unpinned:
            say(f"      {origin.unpinned}" + (f"; here it is {origin.here}" if origin.here else ""), fg="yellow")
    if item.drift:
        fields = ", ".join(difference.field for difference in item.drift.differences) or "gone"
        say(f"      differs from what was applied, {item.drift.cause}: {fields}", fg="red")

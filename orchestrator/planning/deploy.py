"""One deployment on one host, from facts to a plan: the seam between what is pure and what acts."""

import getpass
import socket
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RefusedError
from orchestrator.facts import Facts, Scope, gather
from orchestrator.facts.gather import Ask
from orchestrator.hosts.base import Host
from orchestrator.planning.manifest import Manifest, read_manifests
from orchestrator.planning.plan import Plan, foreign, make_plan
from orchestrator.planning.resolve import Resolver
from orchestrator.resources.observe import observe
from orchestrator.resources.unit import Unit
from orchestrator.runtimes import ollama, vllm
from orchestrator.runtimes.deployment import Deployment, Inputs
from orchestrator.spec import Spec
from orchestrator.templating.engine import Renderer


@dataclass(frozen=True)
class Survey:
    """What is known of a host before anything is decided: one round trip."""

    facts: Facts
    manifests: tuple[Manifest, ...]
    problems: tuple[str, ...]

    def manifest(self, name: str) -> Manifest | None:
        """The manifest of a deployment."""
        return next((manifest for manifest in self.manifests if manifest.name == name), None)

    def deployed(self, name: str) -> Manifest:
        """What is deployed under that name, or of that runtime. Raises RefusedError."""
        mine = [item for item in self.manifests if name in (item.name, item.runtime)]
        found = next((item for item in mine if item.status != "down"), None)
        if found is None:
            why = "it was taken down, and its history went with it; its models are kept" if mine else ""
            raise RefusedError(f"{name} is not deployed", host=self.facts.host, why=why, remedy="deployctl status")
        return found


def glance(host: Host, scope: Scope | None, ask: Ask | None = None) -> Survey:
    """Observe a host, whatever can be read of it. Raises UnreachableError, RefusedError."""
    facts = gather(host, scope=scope, ask=ask)
    manifests, problems = read_manifests(facts)
    return Survey(facts, manifests, problems)


def survey(host: Host, scope: Scope | None, ask: Ask | None = None) -> Survey:
    """Observe a host before it is changed.

    Raises UnreachableError, and RefusedError where a manifest cannot be read: whoever does not know what is deployed
    must not touch what it may share.
    """
    seen = glance(host, scope, ask)
    if seen.problems:
        raise RefusedError(
            "a deployment there is not known to this deployctl",
            host=host.name,
            why="\n".join(seen.problems),
            remedy=f"use the deployctl that made it; its manifest is under {seen.facts.layout.state}/deployments",
        )
    return seen


def want(
    spec: Spec, runtime: str, seen: Survey, resolver: Resolver, templates: Path | None, *, other_copy: bool = False
) -> Deployment:
    """What a runtime needs on a host that looks like this. Raises RefusedError, UsageError, DeployError.

    ``other_copy`` asks for an engine that can run beside the one that is there, under another name and port.
    """
    section = spec.for_runtime(runtime)
    mine = seen.manifest(section.name)
    if mine is not None and mine.runtime != runtime:
        raise RefusedError(
            f"the name {section.name} is taken by a deployment of {mine.runtime}",
            host=seen.facts.host,
            remedy="choose another with --name",
        )
    _check_archive(spec, runtime, seen.facts.host)
    running = mine if mine and mine.status != "down" else None
    base, generation = resolver.base(runtime) if runtime == "vllm" else (None, {})
    needs_release = spec.ollama is not None and runtime == "ollama"
    if needs_release and ollama.usable_vendor(spec.for_runtime("ollama"), seen.facts.vendor_ollama):
        needs_release = False
    inputs = Inputs(
        spec=spec,
        facts=seen.facts,
        model=resolver.model(runtime),
        base=base,
        generation_config=generation,
        release=resolver.release(spec.for_runtime("ollama"), seen.facts) if needs_release else None,
        gateway_archive=resolver.gateway_archive() if section.expose == "gateway" else None,
        vendor_before=_vendor_before(mine, seen.facts),
        previous=running.summary if running else {},
        copy_number=int(running.summary.get("copy", "0") if running else "0") ^ int(other_copy),
        renderer=Renderer(templates),
    )
    wanted = {"ollama": ollama.wanted, "vllm": vllm.wanted}[runtime]
    return wanted(inputs, running.endpoint.ports if running else ())


def _check_archive(spec: Spec, runtime: str, host: str) -> None:
    archive = spec.vllm.image_archive if runtime == "vllm" and spec.vllm else None
    if archive and not Path(archive).expanduser().is_file():
        raise RefusedError(
            f"there is no archive {archive}", host=host, remedy="give --image-archive an existing file of `docker save`"
        )


def plan(host: Host, deployment: Deployment, seen: Survey) -> Plan:
    """Compare with what is on the host: one round trip. Raises RefusedError rather than change what others made."""
    mine = seen.manifest(deployment.name)
    old = [entry.resource for entry in mine.all_entries] if mine else []
    known = {resource.address: resource for resource in (*old, *deployment.resources)}
    made = make_plan(host.name, deployment, observe(host, list(known.values())), seen.manifests)
    theirs = foreign(made)
    if theirs:
        raise RefusedError(
            f"the {theirs[0].title} {theirs[0].identity} exists and was not made by deployctl",
            host=host.name,
            remedy="move it away, or choose another --name",
        )
    return made


def operator() -> str:
    """Who runs this, from where: ``user@machine``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no name for this uid
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _vendor_before(mine: Manifest | None, facts: Facts) -> tuple[bool, bool] | None:
    """Whether the vendor's unit was active and enabled before deployctl came: its manifest remembers."""
    for entry in mine.entries if mine else ():
        if isinstance(entry.resource, Unit) and entry.resource.vendor:
            return entry.resource.was_active, entry.resource.was_enabled
    vendor = facts.vendor_ollama
    return (vendor.active, vendor.enabled) if vendor and vendor.unit else None

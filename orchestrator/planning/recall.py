"""The way back to a kept generation."""

from orchestrator.errors import RefusedError
from orchestrator.hosts.base import Host
from orchestrator.planning.deploy import Survey, plan
from orchestrator.planning.generation import read_generations
from orchestrator.planning.manifest import Manifest
from orchestrator.planning.plan import Plan


def return_to(host: Host, seen: Survey, manifest: Manifest, number: int) -> Plan:
    """The plan that leads from the host as it was ``seen`` to a kept generation.

    Raises RefusedError when it is not kept, or when one of its parts is gone from the host.
    """
    state = seen.facts.layout.deployment_state(manifest.name)
    found = next((item for item in read_generations(host, state) if item.number == number), None)
    if found is None:
        kept = ", ".join(str(item.number) for item in manifest.kept) or "none"
        raise RefusedError(
            f"generation {number} of {manifest.name} is not kept",
            host=host.name,
            why=f"kept: {kept}",
            remedy=f"deployctl history {manifest.name}",
        )
    back = plan(host, found.deployment(), seen)
    gone = [change.resource for change in back.work if change.resource.part and change.action == "create"]
    if gone:
        raise RefusedError(
            f"generation {number} of {manifest.name} cannot be returned to",
            host=host.name,
            why="\n".join(f"the {resource.title} {resource.identity} is gone" for resource in gone),
            remedy=f"deploy what you want with `deployctl up {manifest.runtime}`",
        )
    return back

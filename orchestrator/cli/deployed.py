"""Which deployments of a host a command line means: those of a name or a runtime, or all."""

from typing import TYPE_CHECKING

from orchestrator.errors import RefusedError

if TYPE_CHECKING:
    from orchestrator.hosts.base import Host
    from orchestrator.planning.deploy import Survey
    from orchestrator.planning.manifest import Manifest


def deployed(host: "Host", seen: "Survey", name: str | None) -> "list[Manifest]":
    """The deployments named so; all without a name. Raises RefusedError where a name is given and none has it."""
    alive = [manifest for manifest in seen.manifests if manifest.status != "down"]
    if name is None:
        return alive
    found = [manifest for manifest in alive if manifest.name == name]
    found = found or [manifest for manifest in alive if manifest.runtime == name]
    if not found:
        raise RefusedError(f"{name} is not deployed", host=host.name, remedy="deployctl status")
    return found

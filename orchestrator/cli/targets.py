"""The deployments that a command names, as endpoints to be measured or asked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.bench.target import Target
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host
    from orchestrator.planning.manifest import Manifest


@dataclass(frozen=True)
class Deployed:
    """One deployment; ``state`` is where what is known of it lies on its host."""

    host: "Host"
    manifest: "Manifest"
    state: str
    target: "Target"


def deployed(
    session: "Session", hosts: "Sequence[Host]", names: "Sequence[str]", *, one_each: bool = False
) -> list[Deployed]:
    """What is deployed under these names (or runtimes) on the hosts, in the order of the names; all, without a name.

    Raises RefusedError for a name that is not deployed, UsageError for one that several hosts have where only
    ``one_each`` will do, and what looking at a host raises.
    """
    from orchestrator.bench.target import of_deployment
    from orchestrator.planning.deploy import glance

    outcomes = session.on_each(hosts, lambda host: glance(host, session.scope))
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    seen = [(outcome.host, outcome.value) for outcome in outcomes if outcome.value is not None]
    applied = [
        (host, survey, manifest)
        for host, survey in seen
        for manifest in survey.manifests
        if manifest.status == "applied"
    ]
    found = []
    for name in names or dict.fromkeys(manifest.name for _, _, manifest in applied):
        mine = [item for item in applied if name == item[2].name]
        mine = mine or [item for item in applied if name == item[2].runtime]
        if not mine:
            where = ", ".join(host.name for host in hosts)
            raise RefusedError(f"{name} is not deployed", host=where, remedy="deployctl status")
        if one_each and len(mine) > 1:
            where = ", ".join(f"{manifest.name} on {host.name}" for host, _, manifest in mine)
            raise UsageError(f"{name} is several deployments", why=where, remedy="name one of them, and one --host")
        for host, survey, manifest in mine:
            state = survey.facts.layout.deployment_state(manifest.name)
            summary, number = manifest.summary, manifest.generation
            found.append(
                Deployed(host, manifest, state, of_deployment(host, manifest.name, manifest.endpoint, number, summary))
            )
    return found

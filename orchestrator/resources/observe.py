"""Observe any number of resources of one host in one round trip."""

import secrets
from collections.abc import Sequence

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host
from orchestrator.resources.base import Observed, Resource
from orchestrator.resources.scripts import script


def observe(host: Host, resources: Sequence[Resource]) -> dict[str, Observed]:
    """Run every probe in one script and return what was seen, by address.

    Raises UnreachableError; DeployError when the answer is cut short.
    """
    if not resources:
        return {}
    mark = f"@@{secrets.token_hex(8)}"  # unguessable, so no file's content can pass for a boundary
    result = host.run(_script(resources, mark), timeout=300)
    parts = result.stdout.split(f"\n{mark}\n")
    if len(parts) != len(resources) + 1:
        raise DeployError(
            "the host's state could not be read", host=host.name, why=result.tail(), remedy="run the command again"
        )
    return {resource.address: resource.parse(part) for resource, part in zip(resources, parts, strict=False)}


def _script(resources: Sequence[Resource], mark: str) -> str:
    probes = [f"( {resource.probe()}\n) 2>/dev/null\nprintf '\\n%s\\n' {mark}\n" for resource in resources]
    return script("probe") + "".join(probes)


def fields(output: str) -> dict[str, str]:
    """The NAME<TAB>VALUE lines of a probe (the first of each name wins)."""
    found: dict[str, str] = {}
    for line in output.splitlines():
        name, tab, value = line.partition("\t")
        if tab:
            found.setdefault(name, value)
    return found

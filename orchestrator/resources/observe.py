"""Observe any number of resources of one host in one round trip."""

import secrets
from collections.abc import Sequence

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host, Result
from orchestrator.resources.base import Observed, Resource
from orchestrator.resources.scripts import script


def observe(host: Host, resources: Sequence[Resource]) -> dict[str, Observed]:
    """Run every probe in one script and return what was seen, by address.

    Raises UnreachableError; DeployError when the answer is cut short.
    """
    if not resources:
        return {}
    asked = Question(resources)
    return asked.read(host.name, host.run(asked.script, timeout=300))


class Question:
    """The probes of resources as one script, for whoever asks more in the same round trip."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = resources
        self._mark = f"@@{secrets.token_hex(8)}"  # unguessable, so no file's content can pass for a boundary

    @property
    def script(self) -> str:
        """What the host is asked."""
        end = f"printf '\\n%s\\n' {self._mark}\n"
        probes = [f"( {resource.probe()}\n) 2>/dev/null\n{end}" for resource in self._resources]
        return script("probe") + "".join(probes)

    def read(self, host: str, result: Result) -> dict[str, Observed]:
        """What was seen, by address. Raises DeployError when the answer is cut short."""
        parts = result.stdout.split(f"\n{self._mark}\n")
        if len(parts) != len(self._resources) + 1:
            raise DeployError(
                "the host's state could not be read", host=host, why=result.tail(), remedy="run the command again"
            )
        return {item.address: item.parse(part) for item, part in zip(self._resources, parts, strict=False)}


def fields(output: str) -> dict[str, str]:
    """The NAME<TAB>VALUE lines of a probe (the first of each name wins)."""
    found: dict[str, str] = {}
    for line in output.splitlines():
        name, tab, value = line.partition("\t")
        if tab:
            found.setdefault(name, value)
    return found

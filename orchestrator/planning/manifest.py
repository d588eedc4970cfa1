"""The manifest: what deployctl applied to a host, kept on that host (DESIGN 5.18).

``down``, ``status`` and ``logs`` need nothing else: every resource is in it as a value that can observe and remove
itself. It is written before the first change, so that a run that dies leaves no thing without an owner.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.facts import Facts
from orchestrator.fit.decided import Decided
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.taken import Taken
from orchestrator.hosts.base import Host, quote
from orchestrator.resources.files import Directory, run_or_fail
from orchestrator.resources.registry import AnyResource, AnyService

SCHEMA: Literal["deployctl.manifest/1"] = "deployctl.manifest/1"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Value):
    """One resource. ``existed`` says that it was there before deployctl."""

    resource: AnyResource
    existed: bool = False

    @property
    def removable(self) -> bool:
        """Whether it is ours to take away: what existed before is not, unless removing it means giving it back."""
        return not self.existed or self.resource.gives_back


class Kept(_Value):
    """A generation that can be returned to, in short; ``parts`` are the addresses of what it needs beside its files.

    ``healthy`` is None while nobody has seen its endpoint answer or fail.
    """

    number: int
    healthy: bool | None = None
    parts: tuple[str, ...] = ()


class Manifest(_Value):
    """What is applied under one name. ``entries`` are in the order of their creation.

    ``status``: ``applying`` (a run began and has not ended), ``applied``, or ``down`` (only kept data is left).
    ``service`` is the address of the resource that serves. ``generation`` is the number of what is applied; ``kept``
    are those that can be returned to, and ``retained`` what only they still need. ``fit`` is what was foreseen of its
    memory and ``taken`` what its engine really took. Times are ISO 8601, UTC.
    """

    format: Literal["deployctl.manifest/1"] = SCHEMA
    name: str
    runtime: Literal["ollama", "vllm"]
    status: Literal["applying", "applied", "down"]
    applied_at: str
    applied_by: str
    tool: str
    summary: dict[str, str]
    endpoint: Endpoint
    service: str
    entries: tuple[Entry, ...]
    generation: int = 0
    kept: tuple[Kept, ...] = ()
    retained: tuple[Entry, ...] = ()
    fit: Decided | None = None
    taken: Taken | None = None

    @property
    def all_entries(self) -> tuple[Entry, ...]:
        """What is applied, and what is retained for a return."""
        return (*self.retained, *self.entries)

    @property
    def running_service(self) -> AnyService | None:
        """The resource that serves; None once it is down."""
        return next((service for service in self._services() if service.address == self.service), None)

    @property
    def gateway_service(self) -> AnyService | None:
        """The resource that runs the gateway in front of it; None where there is none."""
        return next((service for service in self._services() if service.address != self.service), None)

    def _services(self) -> Iterator[AnyService]:
        """All that is kept running: the engine, and the gateway."""
        return (entry.resource for entry in self.entries if isinstance(entry.resource, AnyService))

    def find(self, address: str) -> Entry | None:
        """The entry of a resource."""
        return next((entry for entry in self.all_entries if entry.resource.address == address), None)


def last_made_first(entries: Sequence[Entry]) -> list[Entry]:
    """The order in which things go. A directory goes after all that is in it, whichever run made that."""
    left, order = list(reversed(entries)), []

    def full(entry: Entry) -> bool:
        if not isinstance(entry.resource, Directory):
            return False
        return any(other.resource.identity.startswith(f"{entry.resource.path}/") for other in left)

    while left:
        order.append(next(entry for entry in left if not full(entry)))
        left.remove(order[-1])
    return order


def read_manifests(facts: Facts) -> tuple[tuple[Manifest, ...], tuple[str, ...]]:
    """The manifests of a host, and a line for each that cannot be read (made by a newer deployctl, or damaged)."""
    found, problems = [], []
    for text in facts.manifests:
        try:
            found.append(Manifest.model_validate_json(text))
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            problems.append(
                f"the manifest of {_name(text)} on {facts.host} cannot be read (at {where or 'its start'}): "
                "it was made by another version, or damaged"
            )
    return tuple(sorted(found, key=lambda item: item.name)), tuple(problems)


def _name(text: str) -> str:
    """The deployment that an unreadable manifest speaks of, where it says so."""
    found = re.search(r'"name": *"([a-z0-9-]{1,40})"', text)
    return found[1] if found else "a deployment"


def write_manifest(host: Host, state: str, manifest: Manifest) -> None:
    """Put it on the host, whole or not at all. ``state`` is the deployment's state directory."""
    data = base64.encodebytes(manifest.model_dump_json(indent=1).encode()).decode()
    target = quote(f"{state}/manifest.json")
    script = (
        f"set -e; umask 022; mkdir -p -- {quote(state)}\n"
        f"base64 -d > {target}.part <<'DEPLOYCTL_END'\n{data}DEPLOYCTL_END\n"
        f"sync {target}.part 2>/dev/null || true; mv -fT {target}.part {target}\n"
    )
    run_or_fail(host, "cannot write the manifest", script)


def forget_history(host: Host, state: str) -> None:
    """Remove the generations and the journal, and leave the manifest."""
    script = f"rm -rf -- {quote(f'{state}/generations')} {quote(f'{state}/journal.jsonl')}"
    run_or_fail(host, "cannot remove the history", script)


def delete_manifest(host: Host, state: str, root: str) -> None:
    """Remove it; with the last one the audit trail goes, and the state directories up to ``root`` that are empty."""
    deployments, audit = quote(f"{root}/deployments"), quote(f"{root}/audit.jsonl")
    script = (
        f"rm -rf -- {quote(state)}\n"
        f"rmdir -- {deployments} 2>/dev/null || exit 0\nrm -f -- {audit}; rmdir -- {quote(root)} 2>/dev/null; exit 0\n"
    )
    run_or_fail(host, "cannot remove the manifest", script)


def owned_elsewhere(manifests: Sequence[Manifest], name: str) -> dict[str, bool]:
    """Addresses that other deployments of the host use, and whether each existed before any of them."""
    return {
        entry.resource.address: entry.existed
        for manifest in manifests
        if manifest.name != name
        for entry in manifest.all_entries
    }

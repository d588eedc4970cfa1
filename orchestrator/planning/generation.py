"""Generations: every applied plan, numbered and kept on the host, so that it can be returned to (DESIGN 5.13, 5.18)."""

import base64
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.hosts.base import Host, quote
from orchestrator.planning.manifest import Kept, Manifest
from orchestrator.resources.base import Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.runtimes.deployment import Deployment

KEEP = 3
"""Generations that are kept: the newest ones, and always the last that was healthy."""


class Generation(BaseModel):
    """One applied plan. ``cause`` is the command that made it; ``seconds`` from its start until it answered.

    ``healthy`` is None while nobody has looked, or when the run ended before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    cause: str
    manifest: Manifest
    healthy: bool | None = None
    seconds: float = 0.0
    evidence: str = ""

    def deployment(self) -> Deployment:
        """What was wanted then, ready to be wanted again."""
        manifest = self.manifest
        return Deployment(
            name=manifest.name,
            runtime=manifest.runtime,
            resources=tuple(entry.resource for entry in manifest.entries),
            service=manifest.service,
            endpoint=manifest.endpoint,
            summary=manifest.summary,
            fit=manifest.fit,
        )


def read_generations(host: Host, state: str) -> tuple[Generation, ...]:
    """The kept generations of a deployment, oldest first: one round trip."""
    folder = quote(f"{state}/generations")
    script = f'for g in {folder}/*.json; do [ -f "$g" ] && base64 < "$g" | tr -d \'\\n\' && echo; done; exit 0'
    found = []
    for line in run_or_fail(host, "cannot read the generations", script).splitlines():
        try:
            found.append(Generation.model_validate_json(base64.b64decode(line)))
        except (ValidationError, ValueError):
            continue  # of another version: it can neither be shown nor returned to
    return tuple(sorted(found, key=lambda item: item.number))


def write_generation(host: Host, state: str, generation: Generation, keep: Sequence[int]) -> None:
    """Keep a generation, whole or not at all, and forget those that are not in ``keep``."""
    data = base64.encodebytes(generation.model_dump_json(indent=1).encode()).decode()
    folder = f"{state}/generations"
    target = quote(f"{folder}/{generation.number:06}.json")
    names = "|".join(f"{number:06}.json" for number in keep)
    script = (
        f"set -e; umask 022; mkdir -p -- {quote(folder)}\n"
        f"base64 -d > {target}.part <<'DEPLOYCTL_END'\n{data}DEPLOYCTL_END\n"
        f"sync {target}.part 2>/dev/null || true; mv -fT {target}.part {target}\n"
        f'for g in {quote(folder)}/*.json; do case "${{g##*/}}" in {names}) ;; *) rm -f -- "$g";; esac; done\n'
    )
    run_or_fail(host, "cannot keep the generation", script)


def still_kept(kept: Sequence[Kept]) -> tuple[Kept, ...]:
    """Which are kept on: the newest KEEP and the last healthy one. So the target of a rollback never goes."""
    healthy = last_healthy(kept)
    return tuple(item for item in kept if item in kept[-KEEP:] or item == healthy)


def last_healthy(kept: Iterable[Kept], before: int | None = None) -> Kept | None:
    """The newest generation that was seen healthy (and is older than ``before``)."""
    fit = [item for item in kept if item.healthy and (before is None or item.number < before)]
    return max(fit, key=lambda item: item.number, default=None)


def part_addresses(resources: Iterable[Resource]) -> tuple[str, ...]:
    """What a generation needs to be returned to and cannot be rendered anew: engines, images, models."""
    return tuple(resource.address for resource in resources if resource.part)

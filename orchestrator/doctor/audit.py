"""What runs of every deployment, where it came from, and what it was held against: ``doctor --audit``. Pure."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.condition import Drift, drift_of
from orchestrator.planning.manifest import Entry, Manifest
from orchestrator.resources.base import Observed
from orchestrator.resources.origin import Origin


class Audited(BaseModel):
    """One resource of a deployment. ``drift`` is how it differs from what was applied; None where it does not."""

    model_config = ConfigDict(frozen=True)

    kind: str
    title: str
    identity: str
    origins: tuple[Origin, ...]
    drift: Drift | None

    @property
    def unpinned(self) -> bool:
        """Whether something of it may be another thing next time."""
        return any(origin.unpinned for origin in self.origins)


def audit(manifest: Manifest, observed: Mapping[str, Observed]) -> tuple[Audited, ...]:
    """What of a deployment came from elsewhere, and what else of it differs from what was applied.

    ``observed`` are all its resources as they are now, by address. What deployctl wrote itself and is as it was is
    left out: the manifest holds it word for word.
    """
    found = (_audited(entry, observed[entry.resource.address]) for entry in manifest.entries)
    return tuple(item for item in found if item.origins or item.drift)


def _audited(entry: Entry, observed: Observed) -> Audited:
    resource = entry.resource
    return Audited(
        kind=resource.kind,
        title=resource.title,
        identity=resource.identity,
        origins=resource.origins(observed),
        drift=drift_of(resource, observed),
    )

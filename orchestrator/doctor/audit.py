"""What runs of every deployment, where it came from, and what it was held against: ``doctor --audit``. Pure."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from orchestrator.planning.condition import drift_of
from orchestrator.planning.manifest import Entry, Manifest
from orchestrator.planning.standing import Drift
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
    def replaced(self) -> bool:
        """Whether something of it is known to be another thing than what was asked for."""
        return self.drift is not None or any(origin.differs for origin in self.origins)

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


def hashed(items: Sequence[Audited], digests: Mapping[str, str]) -> tuple[Audited, ...]:
    """The same, with what files were found to be when they were hashed again: a digest by path."""
    return tuple(
        item.model_copy(
            update={
                "origins": tuple(
                    origin.model_copy(update={"here": digests[origin.path]}) if origin.path in digests else origin
                    for origin in item.origins
                )
            }
        )
        for item in items
    )


def _audited(entry: Entry, observed: Observed) -> Audited:
    resource = entry.resource
    return Audited(
        kind=resource.kind,
        title=resource.title,
        identity=resource.identity,
        origins=resource.origins(observed),
        drift=drift_of(resource, observed),
    )

"""Plans on paper: saved by ``plan --out``, applied by ``apply`` exactly as they are, or not at all."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.errors import RefusedError, UsageError
from orchestrator.facts import Scope
from orchestrator.planning.plan import Plan
from orchestrator.resources.base import Difference
from orchestrator.resources.image import Image
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.release import Release
from orchestrator.spec import HostEntry

_LARGEST = 64 << 20  # bytes


class HostPlans(BaseModel):
    """The plans of one host. ``entry`` says how to reach it; ``impact`` what each plan means for clients, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entry: HostEntry
    plans: tuple[Plan, ...]
    impact: dict[str, str] = {}

    @model_validator(mode="after")
    def _of_one_host(self) -> Self:
        if any(plan.host != self.entry.name for plan in self.plans):
            raise ValueError("a plan of another host")
        return self


class Trouble(BaseModel):
    """Why there is no plan for a host."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    host: str
    why: str
    remedy: str
    exit_code: int


class SavedPlan(BaseModel):
    """The document ``deployctl.plan/1``. It holds no secret: none is ever part of a resource.

    ``errors`` are of the hosts that could not be planned for: with one of them the plan is not whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["deployctl.plan/1"] = Field(default="deployctl.plan/1", alias="schema")
    exit_code: int
    made_at: str
    made_by: str
    scope: Scope | None
    hosts: tuple[HostPlans, ...]
    errors: tuple[Trouble, ...] = ()

    @model_validator(mode="after")
    def _each_host_once(self) -> Self:
        names = [host.entry.name for host in self.hosts]
        if len(set(names)) < len(names):
            raise ValueError("a host stands in it twice")
        return self

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return self.model_dump(mode="json", by_alias=True)


def saved_plan(
    hosts: Iterable[HostPlans], errors: Iterable[Trouble], *, by: str, scope: Scope | None, exit_code: int
) -> SavedPlan:
    """Plans, as they are made now. The hosts' own spec variables have done their work and stay out."""
    return SavedPlan(
        schema="deployctl.plan/1",
        exit_code=exit_code,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=by,
        scope=scope,
        hosts=tuple(host.model_copy(update={"entry": host.entry.model_copy(update={"vars": {}})}) for host in hosts),
        errors=tuple(errors),
    )


def read_plan(path: Path) -> SavedPlan:
    """Read a saved plan. Raises UsageError for anything else."""
    import json

    remedy = "make one with `deployctl plan … --out FILE`"
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is too large for a plan", remedy=remedy)
        saved = SavedPlan.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=str(error.strerror), remedy=remedy) from error
    except (ValueError, RecursionError) as error:  # no JSON, or of another shape
        why = _where(error) if isinstance(error, ValidationError) else ""
        raise UsageError(f"{path} is not a saved plan of this deployctl", why=why, remedy=remedy) from error
    if saved.errors:
        raise UsageError(f"{path} is not whole", why=f"there is none for {saved.errors[0].host}", remedy=remedy)
    return saved


def check_unchanged(saved: Plan, now: Plan) -> None:
    """Raises RefusedError, which names the differences, when the host is no longer as the plan was made for."""
    before, after = _essence(saved), _essence(now)
    addresses = dict.fromkeys([*before, *after])
    pairs = [(before.get(address), after.get(address)) for address in addresses]
    changed = [_told(one, other) for one, other in pairs if one != other]
    changed += [f"{path} on this machine is not the file that was planned with" for path in _lost_inputs(saved)]
    if changed:
        raise RefusedError(
            f"{saved.deployment.name} is no longer as the plan was made for",
            host=saved.host,
            why="\n".join(changed),
            remedy="make a new plan, and look at it",
        )


class _Essence(NamedTuple):
    """What of a planned change must still hold."""

    action: str
    what: str
    differences: tuple[Difference, ...]


def _essence(plan: Plan) -> dict[str, _Essence]:
    return {
        change.resource.address: _Essence(
            change.action, f"{change.resource.title} {change.resource.identity}", change.differences
        )
        for change in plan.changes
    }


def _told(before: _Essence | None, after: _Essence | None) -> str:
    """How a change differs from what was planned, in words."""
    if before is None or after is None:
        return f"{after.what}: new since" if after else f"{before.what if before else ''}: gone since"
    if before.action != after.action:
        return f"{after.what}: planned to {before.action}, now it would be {after.action}"
    fields = sorted({item.field for item in (*before.differences, *after.differences)})
    return f"{after.what}: changed on the host since ({', '.join(fields)})"


def _lost_inputs(plan: Plan) -> list[str]:
    """Local files that the plan sends to the host and that are gone, or have another content."""
    sources: list[tuple[str, str | None]] = []
    for change in plan.work:
        resource = change.resource
        if change.action == "remove":
            continue
        if isinstance(resource, Release) and "://" not in resource.source:
            sources.append((resource.source, resource.sha256))
        if isinstance(resource, Image) and resource.archive:
            sources.append((resource.archive, None))
        if isinstance(resource, ModelFiles):
            sources += [(file.local, file.sha256) for file in resource.files if file.local]
    return [path for path, digest in sources if not _is(Path(path).expanduser(), digest)]


def _is(path: Path, digest: str | None) -> bool:
    """Whether there is a file that can be read, with this sha256."""
    try:
        with path.open("rb") as file:
            return digest is None or hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (OSError, ValueError):  # ValueError: no path at all, such as one with a zero in it
        return False


def _where(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"

"""Plans on paper: saved by ``plan --out``, applied by ``apply`` exactly as they are, or not at all."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.errors import RefusedError, UsageError
from orchestrator.facts import Scope
from orchestrator.planning.plan import Change, Plan
from orchestrator.resources.base import Difference
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.release import Release
from orchestrator.spec import HostEntry

_LARGEST = 64 << 20  # bytes


class HostPlans(BaseModel):
    """The plans of one host. ``entry`` says how to reach it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entry: HostEntry
    plans: tuple[Plan, ...]


class SavedPlan(BaseModel):
    """The document ``deployctl.plan/1``. It holds no secret: none is ever part of a resource."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["deployctl.plan/1"] = "deployctl.plan/1"
    made_at: str
    made_by: str
    scope: Scope | None
    hosts: tuple[HostPlans, ...]

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {"schema": self.format, **self.model_dump(mode="json", exclude={"format"})}


def saved_plan(hosts: Iterable[tuple[HostEntry, Iterable[Plan]]], by: str, scope: Scope | None) -> SavedPlan:
    """Plans, as they are made now. The hosts' own spec variables have done their work and stay out."""
    return SavedPlan(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        made_by=by,
        scope=scope,
        hosts=tuple(
            HostPlans(entry=entry.model_copy(update={"vars": {}}), plans=tuple(plans)) for entry, plans in hosts
        ),
    )


def read_plan(path: Path) -> SavedPlan:
    """Read a saved plan. Raises UsageError for anything else."""
    import json

    remedy = "make one with `deployctl plan … --out FILE`"
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"{path} is too large for a plan", remedy=remedy)
        found = json.loads(path.read_text(encoding="utf-8"))
        return SavedPlan.model_validate(
            {**{k: v for k, v in found.items() if k != "schema"}, "format": found["schema"]}
        )
    except OSError as error:
        raise UsageError(f"cannot read {path}", why=str(error.strerror), remedy=remedy) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = _where(error) if isinstance(error, ValidationError) else ""
        raise UsageError(f"{path} is not a saved plan of this deployctl", why=why, remedy=remedy) from error


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
    """Local files that the plan sends to the host and that are gone, or of another size."""
    sources: list[tuple[str, int]] = []
    for change in plan.work:
        resource = _sent(change)
        if isinstance(resource, Release) and "://" not in resource.source:
            sources.append((resource.source, resource.size))
        if isinstance(resource, ModelFiles):
            sources += [(file.local, file.size) for file in resource.files if file.local]
    return [path for path, size in sources if not Path(path).is_file() or Path(path).stat().st_size != size]


def _sent(change: Change) -> object:
    return change.resource if change.action in ("create", "update") else None


def _where(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"

"""A deployment fitted to the memory of its host: wanted, decided, and wanted again with what was decided."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import DeployError, RefusedError
from orchestrator.fit.decided import Decided
from orchestrator.fit.headers import shape_of
from orchestrator.fit.ledger import Claim, claims
from orchestrator.fit.shape import ModelShape
from orchestrator.fit.verdict import estimate
from orchestrator.planning.deploy import Survey, want
from orchestrator.planning.plan import Plan
from orchestrator.planning.preflight import Told, adapt, chosen, decide, digest, judge, question, told_of_choice
from orchestrator.planning.resolve import Resolver
from orchestrator.planning.room import room
from orchestrator.resources.ollama_model import OllamaModel
from orchestrator.spec import Spec


class Fitting:
    """One runtime on one host. ``beside`` are claims of what is planned there in the same run.

    ``spec`` is the user's, with values that nobody set adapted, and ``wanted`` the deployment from it. What was decided
    for the deployment as it is applied holds on for the same question: a run that changes nothing reads no header.
    Raises RefusedError, UsageError, DeployError.
    """

    def __init__(
        self,
        spec: Spec,
        runtime: str,
        seen: Survey,
        resolver: Resolver,
        templates: Path | None,
        beside: Sequence[Claim] = (),
    ) -> None:
        self.runtime, self.asked, self._resolver = runtime, spec, resolver
        self.name = spec.for_runtime(runtime).name
        self.room = room(seen.facts, seen.manifests, self.name, beside)
        seen = replace(seen, facts=self.room.facts)
        self._plain = want(spec, runtime, seen, resolver, templates)
        self._unread: str = ""
        mine = seen.manifest(self.name)
        known = mine.fit if mine and mine.status == "applied" else None
        key = digest(spec, self._plain, resolver.model(runtime), seen.facts)
        self._fresh = known is None or known.asked != key
        self.decided = self._decide(key) if known is None or self._fresh else known
        self.spec = adapt(spec, runtime, self.decided.chosen)
        self.wanted = want(self.spec, runtime, seen, resolver, templates) if self.decided.chosen else self._plain

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What it will hold of the GPUs."""
        return claims(self.name, self.decided.estimate) if self.decided.estimate else ()

    def judged(self, made: Plan, *, force: bool) -> Plan:
        """The plan with what is to be said of it. What starts nothing is not judged again.

        Raises RefusedError where it does not fit, unless ``force``.
        """
        told = Told(told_of_choice(self.asked, self.runtime, self.decided.chosen, fresh=self._fresh))
        verdict = self._verdict(force) if _loads(made) else Told()
        deployment = made.deployment
        fitted = deployment.model_copy(
            update={
                "notes": (*deployment.notes, *told.notes, *verdict.notes),
                "warnings": (*deployment.warnings, *verdict.warnings),
                "fit": self.decided,
            }
        )
        return made.model_copy(update={"deployment": fitted})

    def _decide(self, key: str) -> Decided:
        shape = self._shape()
        if shape is None:
            return Decided(asked=key)
        asked = question(self.asked, self._plain, shape, self.room)
        settled = decide(asked, shape)
        found = estimate(shape, settled, asked.machine)
        return Decided(asked=key, chosen=chosen(asked, settled, shape), estimate=found)

    def _verdict(self, force: bool) -> Told:
        shape = self._shape()
        if shape is None:
            return Told(notes=(f"whether it fits is not known: {self._unread}",))
        asked = question(self.spec, self.wanted, shape, self.room)
        if asked.automatic:
            asked = replace(asked, settings=decide(asked, shape))
        try:
            repo = self._resolver.model(self.runtime).repo
            return judge(self.name, asked, shape, self.room.facts.host, repo)
        except RefusedError as error:
            if not force:
                raise
            return Told(warnings=(f"{error.what}, and is deployed all the same: {'; '.join(error.why.splitlines())}",))

    def _shape(self) -> ModelShape | None:
        """The shape of the model, from its headers; None, and why, where they cannot be read."""
        try:
            return shape_of(self._resolver.headers(self.runtime))
        except DeployError as error:
            self._unread = f"{error.what} {error.why}".strip().replace("\n", " ")
            return None


def _loads(made: Plan) -> bool:
    """Whether the plan loads the model anew."""
    return any(
        change.action in ("create", "update")
        and (change.resource.address == made.deployment.service or isinstance(change.resource, OllamaModel))
        for change in made.changes
    )

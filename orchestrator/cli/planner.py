"""From the spec to plans on several hosts: what ``up`` and ``plan`` share."""

import importlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from orchestrator.cli.execute import Work
from orchestrator.errors import DeployError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host
    from orchestrator.planning.deploy import Survey
    from orchestrator.planning.resolve import Resolver
    from orchestrator.spec import HostEntry, Spec


class Planner:
    """Plans a runtime, or all that the spec names, on every host."""

    def __init__(self, session: "Session", runtime: str | None) -> None:
        self.session, self.runtime = session, runtime
        self.spec = self._checked_spec()
        self.entries: tuple[HostEntry, ...] = session.entries(self.spec.hosts)
        self._specs = {entry.name: session.spec(runtime, entry) for entry in self.entries}

    def _checked_spec(self) -> "Spec":
        spec = self.session.spec(self.runtime)
        if not spec.runtimes():
            raise UsageError(
                "no runtime is named",
                remedy="say `ollama` or `vllm`, or name them in a deployctl.yaml",
            )
        return spec

    def _prepare(self) -> "dict[str, Resolver]":
        """The resolvers, once all that plans are made and carried out with is loaded."""
        resolvers = self._shared_resolvers()
        importlib.import_module("jinja2")
        importlib.import_module("orchestrator.planning.carry_out")
        return resolvers

    def _shared_resolvers(self) -> "dict[str, Resolver]":
        """One for all hosts of the same spec, so that nothing is looked up or hashed twice."""
        from orchestrator.planning.resolve import Resolver

        made: dict[str, Resolver] = {}
        keys = {host: spec.model_dump_json() for host, spec in self._specs.items()}
        for host, key in keys.items():
            made.setdefault(key, Resolver(self._specs[host], self.session.console.for_host("here")))
        return {host: made[key] for host, key in keys.items()}

    def plans(
        self, hosts: "list[Host]", look: "Callable[[Host, tuple[str, ...]], Survey]"
    ) -> tuple[list[Work], list[DeployError]]:
        """The plans of all hosts, and what went wrong on the others. ``look`` observes one, given its deployments."""

        def one(host: "Host") -> Work:
            spec = self._specs[host.name]
            runtimes = (self.runtime,) if self.runtime else spec.runtimes()
            host.connect()
            seen = look(host, tuple(spec.for_runtime(runtime).name for runtime in runtimes))
            return self._plan(host, seen, spec, runtimes, prepared)

        if not all(host.is_local for host in hosts):
            importlib.import_module("fabric")  # first, so that the rest is loaded while connections are waited for
        with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool, self.session.console.progress():
            prepared = pool.submit(self._prepare)
            outcomes = self.session.on_each(hosts, one)
        return (
            [outcome.value for outcome in outcomes if outcome.value is not None],
            [outcome.error for outcome in outcomes if outcome.error is not None],
        )

    def _plan(
        self,
        host: "Host",
        seen: "Survey",
        spec: "Spec",
        runtimes: tuple[str, ...],
        prepared: "Future[dict[str, Resolver]]",
    ) -> Work:
        from orchestrator.planning.beside import planned
        from orchestrator.planning.fitting import Fitting

        progress = self.session.console.for_host(host.name)
        resolver, templates = prepared.result()[host.name], self.session.templates
        fittings: list[Fitting] = []
        for runtime in runtimes:
            beside = [claim for fitting in fittings for claim in fitting.claims]
            fittings.append(Fitting(spec, runtime, seen, resolver, templates, beside))
        plans = []
        for fitting in fittings:
            made = planned(host, fitting.spec, fitting.runtime, seen, resolver, templates, fitting.wanted)
            plans.append(fitting.judged(made, force=bool(self.session.options.get("force"))))
        for made in plans:
            for note in made.deployment.notes:
                progress.note(note)
            for warning in made.deployment.warnings:
                progress.warn(warning)
        return Work(host, seen, plans, spec.hooks, (spec.hub.token_env,))

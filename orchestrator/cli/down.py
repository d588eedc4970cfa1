"""``deployctl down``: take away exactly what was applied."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.execute import Locks, command_line
from orchestrator.cli.options import change_options, common_options, host_options
from orchestrator.errors import ExitStatus, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.documents import DownDocument, TakenDown
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host
    from orchestrator.planning.deploy import Survey
    from orchestrator.planning.manifest import Manifest
    from orchestrator.planning.stop import Stop

_EPILOG = """\b
Examples:
  deployctl down vllm --host gpu01       stop and remove vLLM; its model stays
  deployctl down --purge                 everything, models and data too
"""


@click.command(epilog=_EPILOG)
@click.argument("name", required=False, metavar="[ollama|vllm|NAME]")
@click.option("--purge", is_flag=True, help="Delete models, data and images too.")
@change_options
@host_options
@common_options
def down(name: str | None, purge: bool, **options: Any) -> int:
    """Stop and remove a deployment, or all of them. Only what deployctl made goes; twice is fine."""
    from orchestrator.cli.session import Session

    return int(_Down(Session(options), name, purge).run())


class _Down:
    def __init__(self, session: "Session", name: str | None, purge: bool) -> None:
        self.session, self.name, self.purge = session, name, purge
        self.console = session.console
        self.command = command_line(["down", *([name] if name else []), *(["--purge"] if purge else [])])

    def run(self) -> ExitStatus:
        from orchestrator.cli.interrupt import stoppable
        from orchestrator.cli.session import error_document, worst
        from orchestrator.planning.deploy import survey

        hosts = self.session.open(self.session.entries())
        try:
            surveyed = self.session.on_each(hosts, lambda host: survey(host, self.session.scope))
            found = {outcome.host.name: outcome.value for outcome in surveyed if outcome.value is not None}
            chosen = {host: self._chosen(seen) for host, seen in found.items()}
            self._confirm(chosen)
            ready = [outcome.host for outcome in surveyed if outcome.value is not None]
            locked = Locks(self.session, self.command, self.session.options["lock_wait"])
            with locked as locks, self.console.progress(), stoppable(self.console) as stop:
                done = self.session.on_each(ready, lambda host: self._take_down(host, chosen[host.name], locks, stop))
        finally:
            for host in hosts:
                host.close()
        failures = [error for outcomes in (surveyed, done) for item in outcomes if (error := item.error)]
        status = worst([error.status for error in failures])
        document: DownDocument = {
            "schema": "deployctl.down/1",
            "exit_code": int(status),
            "deployments": [item for outcome in done for item in outcome.value or ()],
            "errors": [error_document(error) for error in failures],
        }
        self.console.document(document)
        return status

    def _chosen(self, seen: "Survey") -> "list[Manifest]":
        wanted = [item for item in seen.manifests if self.name in (None, item.name, item.runtime)]
        return [item for item in wanted if item.status != "down" or self.purge]

    def _confirm(self, chosen: "dict[str, list[Manifest]]") -> None:
        import sys

        if self.session.options["yes"] or not any(chosen.values()):
            return
        for host, manifests in chosen.items():
            for manifest in manifests:
                self.console.tell(f"{manifest.name} on {host}{': with its models and data' if self.purge else ''}")
        if self.console.json_mode or not sys.stdin.isatty():
            raise UsageError("nobody is there to confirm", remedy="add --yes")
        click.confirm("Take this down?", abort=True, err=True)

    def _take_down(self, host: "Host", chosen: "list[Manifest]", locks: Locks, stop: "Stop") -> "list[TakenDown]":
        from orchestrator.planning.apply import take_down
        from orchestrator.planning.audit import record
        from orchestrator.planning.deploy import operator

        if not chosen:
            self.console.say(f"{self.name or 'deployments'} on {host.name}: nothing to take down")
            return []
        names = tuple(manifest.name for manifest in chosen)
        seen = locks.take(host, names)  # anew: another run may just have ended
        results: list[TakenDown] = []
        left = list(seen.manifests)
        for manifest in [item for item in self._chosen(seen) if item.name in names]:
            left.remove(manifest)
            progress = self.console.for_host(host.name)
            layout = seen.facts.layout
            kept = take_down(host, manifest, left, layout, progress, stop, purge=self.purge)
            if left or kept:  # a purge of the last leaves nothing, the audit trail neither
                record(host, layout, by=operator(), command=self.command, name=manifest.name, result="down")
            self.console.say(f"{manifest.name} on {host.name}: down")
            for thing in kept:
                self.console.say(f"  kept: {thing} (--purge deletes it)")
            results.append({"host": host.name, "name": manifest.name, "runtime": manifest.runtime, "kept": list(kept)})
        return results

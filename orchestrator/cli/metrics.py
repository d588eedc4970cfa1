"""``deployctl metrics``: what Prometheus and Grafana need to watch every deployment."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError

if TYPE_CHECKING:
    from orchestrator.cli.documents import MetricsDocument
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host
    from orchestrator.metrics.targets import Target

_EPILOG = """\b
Examples:
  deployctl metrics --out monitoring                     for a Prometheus on this machine
  deployctl metrics --out monitoring --on gpu01          for one on gpu01, which sees gpu01's loopback
  deployctl metrics --host gpus --blackbox 10.0.0.5:9115
"""


@click.command(epilog=_EPILOG)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write the files there, do not print them.")
@click.option("--on", default="local", metavar="HOST", help="The host that Prometheus runs on [default: this machine].")
@click.option(
    "--blackbox", default="127.0.0.1:9115", show_default=True, metavar="ADDRESS", help="Where blackbox_exporter is."
)
@click.option("--templates", type=click.Path(path_type=str), metavar="DIR", help="Templates of your own, used first.")
@host_options
@common_options
def metrics(out: Path | None, on: str, blackbox: str, **options: Any) -> int:
    """Write a Prometheus configuration, alert rules and a Grafana dashboard for all deployments of the inventory.

    vLLM is scraped; Ollama has no metrics, so blackbox_exporter asks whether it answers and whether it uses the GPU.
    Nothing is written while a host does not answer: nobody should be left unwatched unnoticed.
    """
    from orchestrator.cli.session import Session, error_document, worst
    from orchestrator.metrics.render import files
    from orchestrator.templating.engine import Renderer

    session = Session(options)
    entries = session.entries(tuple(session.inventory().hosts) or ("local",))
    hosts = session.open(entries)
    try:
        outcomes = session.on_each(hosts, lambda host: _targets(session, host, beside=host.name == on))
    finally:
        for host in hosts:
            host.close()
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    targets = [target for outcome in outcomes for target in (outcome.value or ((), ()))[0]]
    unseen = [text for outcome in outcomes for text in (outcome.value or ((), ()))[1]]
    for text in unseen:
        session.console.tell(f"warning: {text}", fg="yellow")
    made = {} if failures else files(targets, Renderer(session.templates), blackbox)
    _show(session, made, out)
    status = worst([error.status for error in failures])
    document: MetricsDocument = {
        "schema": "deployctl.metrics/1",
        "exit_code": int(status),
        "files": made,
        "targets": targets,
        "warnings": unseen,
        "errors": [error_document(error) for error in failures],
    }
    session.console.document(document)
    return int(status)


def _targets(session: "Session", host: "Host", *, beside: bool) -> "tuple[list[Target], list[str]]":
    """What is to be watched on a host, and a line for each deployment that Prometheus cannot reach."""
    from orchestrator.cli.deployed import deployed
    from orchestrator.metrics.targets import Target, reached_at
    from orchestrator.planning.deploy import glance

    seen = glance(host, session.scope)
    found: list[Target] = []
    unseen = [f"{problem}: it is not watched" for problem in seen.problems]
    for manifest in deployed(host, seen, None):
        url = reached_at(manifest.endpoint, beside=beside)
        if url is None:
            unseen.append(
                f"{manifest.name} on {host.name} lets nobody in from elsewhere without a key, and is left out: "
                f"run Prometheus there (--on {host.name}), or give it a job with a key of the role metrics "
                f"(deployctl keys create {manifest.name} prometheus --role metrics)"
            )
            continue
        gpu = bool(seen.facts.gpus or seen.facts.gpu_problem)
        what = {"host": host.name, "deployment": manifest.name, "runtime": manifest.runtime}
        found.append(Target.model_validate({**what, "model": manifest.endpoint.model, "url": url, "gpu": gpu}))
    return found, unseen


def _show(session: "Session", made: dict[str, str], out: Path | None) -> None:
    if out is None:
        for name, content in made.items():
            session.console.say(f"# --- {name}", bold=True)
            session.console.say(content)
        return
    try:
        if made:
            out.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (out / name).write_text(content, encoding="utf-8")
            session.console.say(str(out / name))
    except OSError as error:
        raise DeployError(f"cannot write to {out}", why=str(error), remedy="name another folder with --out") from error

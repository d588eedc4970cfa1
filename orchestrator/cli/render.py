"""``deployctl render``: every file and command that ``up`` would install, without touching a host."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, spec_options
from orchestrator.cli.sizes import mib
from orchestrator.errors import DeployError, ExitStatus

if TYPE_CHECKING:
    from orchestrator.cli.documents import RenderDocument
    from orchestrator.cli.session import Session
    from orchestrator.runtimes.deployment import Deployment

_EPILOG = """\b
Examples:
  deployctl render ollama --out rendered
  deployctl render vllm --gpu-mem 1.0 --max-model-len 24576 --out rendered
"""


@click.command(epilog=_EPILOG)
@click.argument("runtime", metavar="ollama|vllm")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to (default: print everything).")
@click.option(
    "--vram", default="16GiB", show_default=True, metavar="SIZE", help="Memory of the assumed GPU, in GiB or MiB."
)
@click.option("--without-systemd", is_flag=True, help="Assume a host without systemd: the embedded supervisor.")
@click.option(
    "--config",
    type=click.Path(path_type=str),
    metavar="FILE",
    help="Spec file (default: deployctl.yaml, if there is one).",
)
@spec_options
@common_options
def render(runtime: str, out: Path | None, vram: str, without_systemd: bool, **options: Any) -> int:
    """Write every file and command that `up` would install. Touches no host and asks no Hub.

    The host is assumed (the worked example's card, or --vram); sizes and digests of models are looked up by `up` only.
    """
    from orchestrator.cli.session import Session, runtime_argument
    from orchestrator.resources.files import Content

    session = Session(options)
    deployment = _deployment(
        session, runtime_argument(runtime) or runtime, mib("--vram", vram), systemd=not without_systemd
    )
    files = {item.path: item.content for item in deployment.resources if isinstance(item, Content)}
    commands = "".join(f"{text}\n" for resource in deployment.resources if (text := resource.command()))
    for note in deployment.notes:
        session.console.tell(f"note: {note}")
    for warning in deployment.warnings:
        session.console.tell(f"warning: {warning}", fg="yellow")
    if out is not None:
        _write(session, out, files, commands)
    else:
        for path, content in files.items():
            session.console.say(f"# --- {path}", bold=True)
            session.console.say(content)
        session.console.say("# --- commands", bold=True)
        session.console.say(commands)
    session.console.document(_document(deployment, files, commands))
    return int(ExitStatus.DONE)


def _document(deployment: "Deployment", files: dict[str, str], commands: str) -> "RenderDocument":
    return {
        "schema": "deployctl.render/1",
        "exit_code": 0,
        "runtime": deployment.runtime,
        "files": files,
        "commands": commands.splitlines(),
        "endpoint": deployment.endpoint,
        "notes": list(deployment.notes),
        "warnings": list(deployment.warnings),
    }


def _deployment(session: "Session", runtime: str, vram_mib: int, *, systemd: bool) -> "Deployment":
    from orchestrator.planning import nominal
    from orchestrator.runtimes import ollama, vllm
    from orchestrator.runtimes.deployment import Inputs
    from orchestrator.templating.engine import Renderer

    spec = session.spec(runtime)
    gpu = not (runtime == "vllm" and spec.for_runtime("vllm").device == "cpu")
    inputs = Inputs(
        spec=spec,
        facts=nominal.nominal_facts(vram_mib, gpu=gpu, systemd=systemd),
        model=nominal.nominal_model(spec, runtime),
        base=nominal.nominal_base(spec, runtime) if runtime == "vllm" else None,
        release=nominal.nominal_release(spec) if runtime == "ollama" else None,
        renderer=Renderer(session.templates),
    )
    return {"ollama": ollama.wanted, "vllm": vllm.wanted}[runtime](inputs)


def _write(session: "Session", out: Path, files: dict[str, str], commands: str) -> None:
    try:
        for path, content in files.items():
            target = out / "files" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
            session.console.say(str(target))
        (out / "commands.sh").write_text(
            f"#!/bin/sh\n# What `deployctl up` does on the host, in order, as commands.\n{commands}"
        )
    except OSError as error:
        raise DeployError(f"cannot write to {out}", why=str(error)) from error
    session.console.say(str(out / "commands.sh"))

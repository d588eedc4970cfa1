"""``deployctl version``: the tool's version, and those of the engines that it installs."""

import json

import click

from orchestrator import __version__
from orchestrator.cli.options import common_options


@click.command()
@common_options
def version(json_mode: bool, verbose: bool, no_color: bool) -> None:
    """Print the version of deployctl and the engine versions that it pins."""
    from orchestrator.spec.catalogue import OLLAMA_VERSION, VLLM_VERSIONS

    if json_mode:
        document = {
            "schema": "deployctl.version/1",
            "deployctl": __version__,
            "ollama": OLLAMA_VERSION,
            "vllm": list(VLLM_VERSIONS),
        }
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"deployctl {__version__}")
    click.echo(f"ollama    {OLLAMA_VERSION}")
    click.echo(f"vllm      {', '.join(VLLM_VERSIONS)}")

"""``deployctl version``: the tool's version, and those of the engines that it installs."""

import json
from typing import TYPE_CHECKING

import click

from orchestrator import __version__
from orchestrator.cli.options import common_options

if TYPE_CHECKING:
    from orchestrator.cli.documents import VersionDocument


@click.command()
@common_options
def version(json_mode: bool, verbose: bool, no_color: bool) -> None:
    """Print the version of deployctl and the engine versions that it pins.

    \b
    Example:
      deployctl version --json
    """
    from orchestrator.spec.catalogue import catalogue

    document: VersionDocument = {
        "schema": "deployctl.version/1",
        "deployctl": __version__,
        "ollama": [entry.version for entry in catalogue().ollama],
        "vllm": [entry.version for entry in catalogue().vllm],
    }
    if json_mode:
        click.echo(json.dumps(document, indent=2))
        return
    click.echo(f"deployctl {__version__}")
    for engine, versions in (("ollama", document["ollama"]), ("vllm", document["vllm"])):
        click.echo(f"{engine:<9} {versions[0]}" + (f" (also {', '.join(versions[1:])})" if versions[1:] else ""))

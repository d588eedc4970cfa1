"""``deployctl schema``: JSON Schema of what users write, for editors."""

import json

import click


@click.command()
@click.argument("what", type=click.Choice(["spec", "inventory"]), default="spec")
def schema(what: str) -> None:
    """Print the JSON Schema of the spec (default) or of the inventory.

    \b
    Example:
      deployctl schema > deployctl.schema.json
    """
    from orchestrator.spec.schema import inventory_schema, json_schema

    click.echo(json.dumps(json_schema() if what == "spec" else inventory_schema(), indent=2, ensure_ascii=False))

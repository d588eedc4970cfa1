"""The command line: the only room that prints and exits."""


def main() -> None:
    """Run ``deployctl``."""
    from orchestrator.cli.root import cli

    cli()

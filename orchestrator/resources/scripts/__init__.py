"""POSIX shell scripts that resources run on hosts, as data."""

from importlib.resources import files

from orchestrator.hosts.base import quote


def script(name: str, /, **settings: str) -> str:
    """The script ``name``.sh, preceded by its settings as shell variables, each quoted."""
    assignments = "".join(f"{key}={quote(value)}\n" for key, value in settings.items())
    return assignments + files(__package__).joinpath(f"{name}.sh").read_text(encoding="utf-8")

"""What was found about one prerequisite of a host."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.facts import Facts

Level = Literal["ok", "warn", "fail"]


class Finding(BaseModel):
    """One line of ``doctor``: what it is about, what was seen, and (unless all is well) what to do.

    ``warn``: something is slower, missing for a part, or worth a look. ``fail``: a deployment cannot work as it is.
    """

    model_config = ConfigDict(frozen=True)

    level: Level
    subject: str
    what: str
    remedy: str = ""


def ok(subject: str, what: str) -> Finding:
    """All is well."""
    return Finding(level="ok", subject=subject, what=what)


def warn(subject: str, what: str, remedy: str = "") -> Finding:
    """Worth a look."""
    return Finding(level="warn", subject=subject, what=what, remedy=remedy)


def fail(subject: str, what: str, remedy: str) -> Finding:
    """It cannot work."""
    return Finding(level="fail", subject=subject, what=what, remedy=remedy)


_MANAGERS = (
    ("apk add", ("Alpine",)),
    ("pacman -S", ("Arch", "Manjaro")),
    ("zypper install", ("SUSE",)),
    ("dnf install", ("Fedora", "Red Hat", "Rocky", "Alma", "CentOS", "Oracle", "Amazon")),
)


def install(facts: Facts, packages: Sequence[str]) -> str:
    """The command that installs packages there; their names are Debian's."""
    found = next((word for word, names in _MANAGERS if any(name in facts.os for name in names)), "apt-get install")
    return f"{'' if facts.root else 'sudo '}{found} {' '.join(packages)}"


def as_root(facts: Facts, command: str) -> str:
    """A command for root, as this login types it."""
    return command if facts.root else f"sudo {command}"


def gib(size: int) -> str:
    """Bytes as GiB, for people."""
    return f"{size / (1 << 30):.1f} GiB"

"""Hand this machine's pip settings (CA bundle, mirrors, folders of wheels) to a pip that runs in a container.

Nothing is known here about any of them: whatever `pip config list` and the environment name is passed on, and the files
and folders among the values are mounted, read-only, under the same paths.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.shell import run

_NOT_FOR_CONTAINERS = {
    "PIP_CONFIG_FILE",
    "PIP_CACHE_DIR",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_LOG",
    "PIP_PYTHON",
}
_PASSED_ON = re.compile(r"PIP_\w+|(http|https|no|all)_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE", re.IGNORECASE)
_INSIDE = "/run/pip.conf"


@dataclass(frozen=True)
class PipOptions:
    """Options of `docker run` (mounts) and of `docker exec` (variables, by name: values never appear in arguments)."""

    mounts: tuple[str, ...]
    variables: tuple[str, ...]


def for_containers(folder: Path) -> PipOptions:
    """What makes pip in a container behave like this machine's; a private configuration file is written in `folder`."""
    settings = _settings()
    config = folder / "pip.conf"
    config.touch(mode=0o600)
    config.write_text(_ini(settings))
    names = sorted(name for name in os.environ if _PASSED_ON.fullmatch(name) and name not in _NOT_FOR_CONTAINERS)
    values = [*settings.values(), *(os.environ[name] for name in names)]
    paths = sorted({path for value in values for path in _paths(value)})
    return PipOptions(
        ("-v", f"{config}:{_INSIDE}:ro", *(word for path in paths for word in ("-v", f"{path}:{path}:ro"))),
        ("-e", f"PIP_CONFIG_FILE={_INSIDE}", *(word for name in names for word in ("-e", name))),
    )


def _settings() -> dict[tuple[str, str], str]:
    """(section, key) -> value of the merged configuration files; what the environment sets is left out."""
    listing = run([sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]).stdout
    found: dict[tuple[str, str], str] = {}
    for line in listing.splitlines():
        name, equals, value = line.partition("=")
        section, dot, option = name.rpartition(".")
        if equals and dot and section != ":env:":
            found[section, option] = str(ast.literal_eval(value))
    return found


def _ini(settings: dict[tuple[str, str], str]) -> str:
    lines: list[str] = []
    for section in sorted({section for section, _ in settings}):
        lines.append(f"[{section}]")
        for (owner, option), value in settings.items():
            if owner == section:
                lines.append(f"{option} = " + "\n    ".join(value.split("\n")))
    return "\n".join(lines) + "\n"


def _paths(value: str) -> list[Path]:
    """The files and folders that a setting names; an index on disk with its parent, since its links point beside it."""
    found = []
    for word in value.split():
        url = word.startswith("file://")
        path = Path(word.removeprefix("file://"))
        if not path.is_absolute() or not path.exists():
            continue
        found.append(path.parent if url and path.is_dir() and path.parent != Path("/") else path)
    return found

"""A host that is one shell with a PATH of our own: programs are what a test says they are."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.hosts.base import Result

SHELLS = {
    name: argv
    for name, argv in {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash-posix": ["bash", "--posix"]}.items()
    if shutil.which(argv[0])
}
TOOLS = (
    "awk",
    "base64",
    "cat",
    "cut",
    "getconf",
    "getent",
    "head",
    "id",
    "sed",
    "sh",
    "tail",
    "timeout",
    "tr",
    "uname",
)


@dataclass
class ShellHost:
    """Runs scripts as hosts do (on standard input), with a PATH that holds basic tools and what is added."""

    folder: Path
    argv: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    name: str = "shell"
    is_local: bool = False

    def __post_init__(self) -> None:
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            self.link(tool)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def link(self, tool: str) -> None:
        """Put a program of this machine into the PATH."""
        (self.bin / tool).symlink_to(shutil.which(tool) or f"/no/{tool}")

    def program(self, name: str, text: str) -> None:
        """Put a shell program into the PATH."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, script: str, *, timeout: float = 60, **_: object) -> Result:
        # the script adds sbin to the PATH, for tools that are there only; tests must not see this machine's
        script = script.replace("/usr/local/sbin:/usr/sbin:/sbin", "/nonexistent")
        done = subprocess.run(
            [shutil.which(self.argv[0]) or self.argv[0], *self.argv[1:], "-s"],
            input=script,
            env={"PATH": str(self.bin), "HOME": str(self.folder), "LC_ALL": "C.UTF-8", **self.variables},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

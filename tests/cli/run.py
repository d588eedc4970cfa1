"""The command line as a user has it: a process of its own, with its exit code and both outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_NETWORK = """
import socket, subprocess, sys
def refuse(*_, **__): raise SystemExit("touched the network or a host")
socket.socket.connect = socket.getaddrinfo = subprocess.Popen.__init__ = refuse
from orchestrator.cli import main
sys.argv[0] = "deployctl"
main()
"""
"""Runs deployctl so that it ends with status 1 if it opens a connection or starts a program."""

VARIABLES = {
    "HOME": "/nonexistent",
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout. Fails where there is anything else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def deployctl(*words: str | bytes, cwd: Path, guarded: bool = False, **variables: str) -> Ran:
    """Run it in an empty environment, with nobody at the keyboard."""
    start = ["-c", NO_NETWORK] if guarded else ["-c", "from orchestrator.cli import main; main()"]
    done = subprocess.run(
        [sys.executable, *start, *words],
        cwd=cwd,
        env={**VARIABLES, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

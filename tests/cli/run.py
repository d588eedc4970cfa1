"""The command line as a user has it: a process of its own, with its exit code and both outputs."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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
    """Run it in an empty environment, with nobody at the keyboard; it ends within a minute.

    ``guarded``: with status 1 if it opens a connection or starts a program.
    """
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        request = {
            "words": [os.fsencode(word).hex() for word in words],
            "cwd": str(cwd),
            "env": {**VARIABLES, **variables},
            "guarded": guarded,
            "out": out.name,
            "err": err.name,
        }
        asking, answering = _warm()
        asking.write(json.dumps(request).encode() + b"\n")
        asking.flush()
        return Ran(int(answering.readline()), out.read().decode(), err.read().decode())


@functools.cache
def _warm() -> tuple[IO[bytes], IO[bytes]]:
    """The process that forks them (see warm.py), which ends with this one."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm.py"))],
        env=VARIABLES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    atexit.register(process.communicate)
    return process.stdin, process.stdout

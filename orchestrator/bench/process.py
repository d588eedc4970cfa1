"""The load generator as deployctl runs it: the job in by a pipe, progress and the batch out."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import orchestrator
from orchestrator.bench.wire import PROGRESS, Batch, Job
from orchestrator.errors import DeployError

_PACKAGES = str(Path(orchestrator.__file__).resolve().parents[1])
_WORDS = (sys.executable, "-P", "-m", "orchestrator.bench.generator")
_LAST_WAIT_S = 5.0


def run_job(job: Job, on_done: Callable[[int], None]) -> Batch:
    """Run a job; ``on_done`` hears how many requests are over. Raises DeployError when the generator itself fails.

    Nothing of the job is in the generator's arguments or environment. An interrupt ends it.
    """
    path = os.pathsep.join(filter(None, (_PACKAGES, os.environ.get("PYTHONPATH", ""))))
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            _WORDS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # an interrupt is told to it by its standard input, once
        )
        assert process.stdin and process.stdout
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(job.to_json().encode() + b"\n")
                process.stdin.flush()
            batch = _read(process.stdout, on_done)
        finally:
            _end(process)
        if batch is None:
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
            why = lines[-1] if lines else f"it exited with {process.returncode}"
            raise DeployError("the load generator failed", why=why, remedy="pip install --upgrade deployctl")
    return batch


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it end, which the end of its standard input tells it to; kill what does not."""
    assert process.stdin and process.stdout
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_LAST_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _read(stdout: IO[bytes], on_done: Callable[[int], None]) -> Batch | None:
    for line in stdout:
        text = line.decode()
        if text.startswith(PROGRESS):
            on_done(int(text.removeprefix(PROGRESS)))
        else:
            return Batch.from_json(text)
    return None

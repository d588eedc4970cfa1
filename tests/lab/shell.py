"""Run a program of this machine and say clearly what it said when it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandFailedError(Exception):
    """A program of the lab failed; the message holds the end of what it printed."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | bytes | None = None,
    timeout_s: float = 600,
    check: bool = True,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command` (no shell) and return its text output.

    Raises CommandFailedError on a non-zero exit status (unless `check` is false), and when it outlives `timeout_s`
    seconds.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=data if data is not None else b"",
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **env} if env else None,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"{words[:4]} did not end within {timeout_s:.0f} s") from error
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        raise CommandFailedError(f"{' '.join(words)}: exit {done.returncode}\n{out[-1500:]}\n{err[-1500:]}".rstrip())
    return subprocess.CompletedProcess(words, done.returncode, out, err)


def pipe(producer: Sequence[str | Path], consumer: Sequence[str | Path], *, timeout_s: float = 900) -> str:
    """`producer | consumer` without a shell; returns what the consumer printed.

    Raises CommandFailedError when either of the two fails.
    """
    with subprocess.Popen([str(w) for w in producer], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as first:
        try:
            last = subprocess.run(
                [str(w) for w in consumer], stdin=first.stdout, capture_output=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            first.kill()
            raise CommandFailedError(f"{producer[0]} | {consumer[0]} did not end within {timeout_s:.0f} s") from error
        if first.stdout:
            first.stdout.close()
        first.wait(timeout=60)
    if first.returncode != 0 or last.returncode != 0:
        said = last.stderr.decode(errors="replace")[-1500:]
        raise CommandFailedError(
            f"{producer[0]} (exit {first.returncode}) | {consumer[0]} (exit {last.returncode}): {said}"
        )
    return last.stdout.decode(errors="replace")


def docker(
    *words: str | Path, stdin: str | bytes | None = None, timeout_s: float = 600, env: Mapping[str, str] | None = None
) -> str:
    """Run the docker command of this machine; returns its output without the last newline."""
    return run(["docker", *words], stdin=stdin, timeout_s=timeout_s, env=env).stdout.rstrip("\n")

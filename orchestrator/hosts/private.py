"""Secrets in files of the controller: only their owner may read them, as ssh has it."""

from pathlib import Path

from orchestrator.errors import RefusedError
from orchestrator.hosts.base import quote


def refuse_shared(path: Path, *, host: str = "") -> None:
    """Raise RefusedError for a file with a secret that others than its owner may read or change.

    Links are followed: it is the file itself that is read. A file that is not there is for its reader to miss.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & 0o077:
        who = "everybody on" if mode & 0o007 else "a group of"
        raise RefusedError(
            f"{path} holds a secret, and {who} this machine may use it",
            host=host,
            why=f"its mode is {mode & 0o7777:04o}",
            remedy=f"chmod 600 {quote(str(path))}; if it lay open for long, make a new one",
        )

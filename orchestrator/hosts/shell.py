"""How a script is said to a shell: wrapping, time limit, sudo. Pure text, the same for every host.

A script that arrives on standard input is put between braces, so that the shell reads all of it before it
runs any of it (a connection lost half-way runs nothing), and its commands read ``/dev/null``.
"""

import re
from collections.abc import Callable, Iterator
from typing import IO, Literal

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.base import UNKNOWN, Result, quote
from orchestrator.hosts.secret import Secret

Become = Literal["auto", "always", "never"]
Identity = Literal["root", "sudo", "password", "plain"]
"""Who ``run`` is: root itself, root by ``sudo -n``, root by sudo with a password, or the plain user."""

GRACE = 5
"""Seconds between asking a timed-out script to end and killing it."""

_CHUNK = 32 * 1024  # bytes; what one SSH packet carries
_GO = "deployctl:go"
_SAYS = "deployctl:says:"

# When the time is up, `timeout` ends the script and its process group; whoever ignored that is killed after it.
# The shell around it always exits by itself, because a death by signal looks like a lost connection over SSH.
_LIMITED = (
    "exec 3<&0; timeout -k {grace} {limit} {shell} <&3 3<&- & p=$!; exec 3<&-; "
    "wait $p; s=$?; [ $s != 124 ] || kill -9 -$p 2>/dev/null; exit $s"
)
# If sudo did not ask for the password after all, it must not reach the script: skip to the mark.
_SKIP = f'while IFS= read -r l && [ "$l" != {_GO} ]; do :; done; '

_SUDO = {"sudo": "sudo -n -- ", "password": "sudo -k -S -p '' -- "}

# `-k` makes sudo forget that it asked a moment ago: what it grants now, it must grant an hour later.
_DETECT = "; ".join(
    (
        f"export LC_ALL=C; printf %s {_SAYS}",
        '[ "$(id -u)" != 0 ] || { echo root; exit; }',
        '[ "$1" != never ] || { echo plain; exit; }',
        'command -v sudo >/dev/null 2>&1 || { echo plain; echo "sudo is not installed"; exit; }',
        "why=$(sudo -k -n -- sh -c : 2>&1 </dev/null) && { echo sudo; exit; }",
        '[ "$1" != password ] || { why=$(sudo -k -S -p "" -- sh -c : 2>&1) && { echo password; exit; }; echo wrong; }',
        "echo plain",
        'echo "$why"',
    )
)
_WRONG_PASSWORD = re.compile(r"try again|incorrect password|no password was provided")


def wrapped(script: str) -> bytes:
    """A script as it goes on standard input. The empty line saves the brace from a last line that continues."""
    quote(script)  # refuses a NUL
    return f"{{ :\n{script}\n\n}} </dev/null\n".encode("utf-8", "surrogateescape")


def command_line(identity: Identity, timeout: float, script: str | None = None) -> str:
    """The command line for the login shell: of a script on standard input, or of ``script`` as an argument."""
    shell = "sh -s" if script is None else f"sh -c {quote(script)}"
    limited = _LIMITED.format(grace=GRACE, limit=f"{max(timeout, 0.001):.3f}", shell=shell)
    return with_sudo(identity, limited)


def with_sudo(identity: Identity, command: str) -> str:
    """A shell command as the identity runs it; its standard input begins with :func:`preamble`."""
    if identity == "password":
        command = _SKIP + command
    return f"{_SUDO.get(identity, '')}sh -c {quote(command)}"


def preamble(identity: Identity, password: Secret | None) -> bytes:
    """What sudo reads before the command does."""
    if identity != "password" or password is None:
        return b""
    return f"{password.reveal()}\n{_GO}\n".encode()


def feed(before: bytes, script: str, stdin: bytes | IO[bytes] | None) -> Iterator[bytes]:
    """Standard input in pieces of at most 32 KiB: ``before``, then ``stdin`` or, without one, the script."""
    if before:
        yield before
    payload = wrapped(script) if stdin is None else stdin
    if isinstance(payload, bytes):
        for start in range(0, len(payload), _CHUNK):
            yield payload[start : start + _CHUNK]
        return
    while chunk := payload.read(_CHUNK):
        yield chunk


def identify(
    host: str, become: Become, password: Secret | None, execute: Callable[[str, bytes], Result]
) -> tuple[Identity, str]:
    """Find out, in one call of ``execute(command line, standard input)``, who ``run`` can be, and why not root.

    Raises RefusedError when root is asked for and not to be had, or when the password is wrong.
    """
    if password is not None and ("\n" in password.reveal() or "\0" in password.reveal()):
        raise RefusedError("a sudo password cannot hold a line break or a NUL", host=host)
    ask = "never" if become == "never" else "password" if password else "free"
    secret = f"{password.reveal()}\n".encode() if ask == "password" and password else b""
    result = execute(f"sh -c {quote(_DETECT)} sh {ask}", secret)
    if result.exited == UNKNOWN:
        raise UnreachableError("the connection was lost while asking for sudo", host=host, remedy="run it again")
    said, _, why = _heard(host, result).partition("\n")
    for identity in ("root", "sudo", "password"):
        if said == identity:
            return identity, ""
    if said == "wrong" and _WRONG_PASSWORD.search(why):
        raise RefusedError(f"sudo on {host} wants another password", host=host, remedy="give the right sudo password")
    why = why.removeprefix("plain\n").strip() or result.tail()
    if become == "always":
        raise RefusedError(
            "cannot become root",
            host=host,
            why=why,
            remedy="log in as root; or let this user use sudo, without a password or with the one in "
            "DEPLOYCTL_SUDO_PASSWORD; or deploy without root: --user",
        )
    return "plain", why


def _heard(host: str, result: Result) -> str:
    """What the question printed, and nothing else: text of a login shell would spoil every later answer too."""
    noise, mark, said = result.stdout.partition(_SAYS)
    if mark and not noise.strip():
        return said
    raise RefusedError(
        "the login shell there prints text of its own" if mark else "the login shell there runs no commands",
        host=host,
        why=(noise.strip() or result.tail())[:500],
        remedy="let its start-up files (~/.bashrc) print nothing when the shell is not interactive"
        if mark
        else "log in as a user whose shell is a POSIX shell",
    )

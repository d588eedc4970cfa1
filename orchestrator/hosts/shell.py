"""How a script is said to a shell: wrapping, time limit, sudo. Pure text, the same for every host.

A script that arrives on standard input is put between braces, so that the shell reads all of it before it
runs any of it (a connection lost half-way runs nothing), and its commands read ``/dev/null``.
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Literal

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.base import UNKNOWN, Result, quote
from orchestrator.hosts.secret import Secret

Become = Literal["auto", "always", "never"]
Identity = Literal["root", "sudo", "password", "plain"]
"""Who ``run`` is: root itself, root by ``sudo -n``, root by sudo with a password, or the plain user."""

_IDENTITIES: tuple[Identity, ...] = ("root", "sudo", "password", "plain")

GRACE = 5
"""Seconds between asking a timed-out script to end and killing it."""

_CHUNK = 32 * 1024  # bytes; what one SSH packet carries
_GO = "deployctl:go"
INTRODUCED = _GO
"""The line after which the output of the command itself begins."""
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

# Asks nothing but what it prints: who the rest can run as, then why not root. `-k` makes sudo forget that it asked a
# moment ago: what it grants now, it must grant an hour later. It gets the password once: wrong ones lock accounts.
_DETECT = """\
export LC_ALL=C
[ "$(id -u)" != 0 ] || { echo root; exit; }
[ "$ask" != never ] || { echo plain; exit; }
command -v sudo >/dev/null 2>&1 || { echo plain; echo "sudo is not installed"; exit; }
why=$(sudo -k -n -- sh -c : 2>&1 </dev/null) && { echo sudo; exit; }
if [ "$ask" = password ]; then
  why=$(printf "%s\\n" "$secret" | sudo -k -S -p "" -- sh -c : 2>&1) && { echo password; exit; }
  case $why in *"try again"* | *"incorrect password"* | *"no password was provided"*) echo wrong; exit ;; esac
fi
echo plain; echo "$why"
"""
# Says who that is, and goes on as that with the command $3, unless root is a must ($2) and not to be had.
# A printf that is a program would show the password in the process list.
_INTRODUCE = f"""\
ask=$1 must=$2 go=$3 secret=
if [ "$ask" = password ]; then
  IFS= read -r secret; [ "$(command -v printf)" = printf ] || ask=free
fi
said=$({_DETECT})
secret=; printf "%s%s\\n%s\\n" {_SAYS} "$said" {_GO}
case $said in
  root*) exec sh -c "$go" ;;
  sudo*) exec sudo -n -- sh -c "$go" ;;
  password*) exec sudo -k -S -p "" -- sh -c "$go" ;;
  plain*) [ "$must" = yes ] || exec sh -c "$go" ;;
esac"""


def wrapped(script: str) -> bytes:
    """A script as it goes on standard input. The empty line saves the brace from a last line that continues."""
    quote(script)  # refuses a NUL
    return f"{{ :\n{script}\n\n}} </dev/null\n".encode("utf-8", "surrogateescape")


def limited(timeout: float, script: str | None = None) -> str:
    """The command that runs a script of standard input, or ``script`` as an argument, ``timeout`` seconds at most."""
    shell = "sh -s" if script is None else f"sh -c {quote(script)}"
    return _LIMITED.format(grace=GRACE, limit=f"{max(timeout, 0.001):.3f}", shell=shell)


def command_line(identity: Identity, timeout: float, script: str | None = None) -> str:
    """The command line for the login shell: of a script on standard input, or of ``script`` as an argument."""
    return with_sudo(identity, limited(timeout, script))


def lasting(script: str) -> str:
    """The command that runs a script beside standard input, however many shells it passes through on its way."""
    quote(script)  # refuses a NUL
    return f'exec sh -c "$(echo {base64.b64encode(script.encode()).decode()} | base64 -d)"'


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


@dataclass(frozen=True)
class Introduction:
    """The first words to a host: who ``run`` can be there is found out in the same round trip as the first command.

    Raises RefusedError for a password that sudo cannot read.
    """

    host: str
    become: Become
    password: Secret | None

    def __post_init__(self) -> None:
        if self.password is not None and ("\n" in self.password.reveal() or "\0" in self.password.reveal()):
            raise RefusedError("a sudo password cannot hold a line break or a NUL", host=self.host)

    @property
    def _asks(self) -> bool:
        return self.password is not None and self.become != "never"

    def line(self, command: str) -> str:
        """The command line that says who it is, and runs a command as that."""
        ask = "never" if self.become == "never" else "password" if self._asks else "free"
        must = "yes" if self.become == "always" else "no"
        return f"sh -c {quote(_INTRODUCE)} sh {ask} {must} {quote(_SKIP + command if self._asks else command)}"

    @property
    def before(self) -> bytes:
        """What its standard input begins with."""
        if not self._asks or self.password is None:
            return b""
        return f"{self.password.reveal()}\n".encode() + preamble("password", self.password)

    def heard(self, result: Result) -> tuple[Identity, Result]:
        """Who it is, and what the command itself said.

        Raises RefusedError when root is asked for and not to be had, or when the password is wrong; UnreachableError.
        """
        if result.exited == UNKNOWN:
            raise UnreachableError(
                "the connection was lost while asking for sudo", host=self.host, remedy="run it again"
            )
        said, _, rest = _introduced(self.host, result).partition(f"{_GO}\n")
        who, _, why = said.partition("\n")
        if who == "wrong":
            raise RefusedError(
                f"sudo on {self.host} wants another password", host=self.host, remedy="give the right sudo password"
            )
        if who == "plain" and self.become == "always":
            raise RefusedError(
                "cannot become root",
                host=self.host,
                why=why.strip(),
                remedy="log in as root; or let this user use sudo, without a password or with the one in "
                "DEPLOYCTL_SUDO_PASSWORD; or deploy without root: --user",
            )
        identity: Identity = next((known for known in _IDENTITIES if known == who), "plain")
        return identity, replace(result, stdout=rest)


def identify(introduction: Introduction, execute: Callable[[str, bytes], Result]) -> Identity:
    """Find out in one call of ``execute(command line, standard input)``; raises as ``Introduction.heard`` does."""
    return introduction.heard(execute(introduction.line(":"), introduction.before))[0]


def _introduced(host: str, result: Result) -> str:
    """What the first words printed, and nothing else: text of a login shell would spoil every later answer too."""
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

"""The Host protocol: the only way the rest of deployctl touches a machine.

A host needs a POSIX shell, coreutils, tar, sha256sum and curl: no Python, no agent (DESIGN 5.19). Scripts
are sent on standard input, so nothing in them shows in the process list; latency is per call, so callers batch.
"""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from docker import DockerClient

UNKNOWN = -1
"""Exit status of a command whose connection was lost: it may or may not have run; observe again."""
LOST = "the connection was lost meanwhile; it may or may not be done"


def quote(word: str) -> str:
    """One shell word, whatever is in it. Raises ValueError for a NUL, which no shell can carry."""
    if "\0" in word:
        raise ValueError("a NUL character cannot be passed to a shell")
    return shlex.quote(word)


_TERMINAL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Result:
    """What a script did. Truthy when it exited 0. ``stdout`` and ``stderr`` are decoded as UTF-8 with replacement."""

    exited: int
    stdout: str = ""
    stderr: str = ""

    def __bool__(self) -> bool:
        return self.exited == 0

    def tail(self, lines: int = 5) -> str:
        """The last telling lines: of standard error, or of standard output where that is empty; or that it was cut.

        Colours and moves of the cursor, which progress bars print, are left out.
        """
        if self.exited == UNKNOWN:
            return LOST
        text = _TERMINAL.sub("", self.stderr).strip() or _TERMINAL.sub("", self.stdout).strip()
        return "\n".join(text.splitlines()[-lines:])


@dataclass(frozen=True)
class HttpRequest:
    """A request made *on* the host (to its loopback, or from it to the outside). ``headers`` may hold secrets.

    ``connect`` is the ``ADDRESS:PORT`` to go to, whatever the URL names. ``verify`` says whether a certificate must
    be one that the host trusts.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = None
    timeout: float = 30.0
    connect: str = ""
    verify: bool = True


@dataclass(frozen=True)
class HttpAnswer:
    """``status`` is 0 when nothing answered; ``error`` then says why (refused, timed out, ...)."""

    status: int
    body: bytes = b""
    error: str = ""

    @property
    def text(self) -> str:
        """The body as UTF-8, with replacement."""
        return self.body.decode("utf-8", "replace")


class Held(Protocol):
    """A script that lives on a host while somebody here wants it to; used from any thread."""

    def answer(self, last: str) -> str:
        """What it prints up to the line ``last``, with it; less when it ends, or stays silent for its time, before."""

    def beat(self) -> bool:
        """Send it one byte. False when it is gone."""

    def release(self) -> None:
        """Send it ``q`` and close its standard input, which it takes as the end; wait for it. Twice is fine."""


class Host(Protocol):
    """One machine, connected on first use. Calls on one host come from one thread at a time."""

    @property
    def name(self) -> str:
        """The name the user knows it by."""

    @property
    def is_local(self) -> bool:
        """Whether this is the controller's own machine."""

    def connect(self) -> None:
        """Connect now, for something that is loaded or asked meanwhile. Raises UnreachableError."""

    def run(
        self,
        script: str,
        *,
        timeout: float = 60.0,
        stdin: bytes | IO[bytes] | None = None,
        on_line: Callable[[str], None] | None = None,
        privileged: bool = True,
    ) -> Result:
        """Run a POSIX shell script and wait for it.

        The script runs as the deploying identity (root, through sudo, or the plain user; see ``privileged``),
        travels on standard input, and may hold secrets; its own commands read an empty standard input.
        With ``stdin`` the script travels in the arguments instead (so it must hold no secret) and its commands
        read those bytes. ``on_line`` gets each line of standard output as it comes (it is kept in the Result too).
        After ``timeout`` seconds the script and what it started are killed on the host and the Result says 124.
        A lost connection gives ``exited == UNKNOWN``. ``privileged=False`` runs without sudo.

        Raises UnreachableError when no connection can be made.
        """

    def hold(self, script: str, *, timeout: float = 60.0) -> Held:
        """Start a script that reads its standard input to the end, and go on beside it.

        It runs as ``run`` does, in a process of its own, and travels in the arguments, so it must hold no secret.
        ``timeout`` is how many seconds ``answer`` waits for more. When the controller dies or the connection is cut,
        its standard input ends, without a ``q``. Once it has ended unreleased, ``run`` and ``docker`` raise
        UnreachableError: what relied on it must not go on. Raises UnreachableError when no connection can be made.
        """

    def http(self, request: HttpRequest) -> HttpAnswer:
        """Make an HTTP request on the host. Never raises for an HTTP status or a refused connection."""

    def forward(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        """Where to connect on this machine, while the block runs, to reach an address as the host sees it.

        Other calls may go on meanwhile. Raises RefusedError when the host forwards nothing or nobody listens there,
        UnreachableError when no connection can be made.
        """

    def http_all(self, requests: Sequence[HttpRequest]) -> list[HttpAnswer]:
        """Make requests one after the other, in one round trip, up to the first that is not answered with 200.

        The answers in order; as ``http`` makes them, and never none.
        """

    def docker(self) -> "DockerClient":
        """The host's Docker Engine. Raises RefusedError with a remedy when there is none or it may not be used."""

    def close(self) -> None:
        """Let go of connections. The host may be used again afterwards."""

"""What is to be delivered, how patiently, and what is on the host before: values, and the shell that reads them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, NonNegativeInt, model_validator

from orchestrator.hosts.base import quote
from orchestrator.models.resolved import ModelFile, Sha1, Sha256, has_control


class Delivery(BaseModel):
    """One file for a host: from ``url``, or from the controller's ``path``, to ``destination`` (absolute, on the host).

    ``size`` is in bytes. Exactly one digest says what arrives: ``sha256``, or ``git_sha1`` (a git blob's name).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    path: str = ""
    destination: str
    size: NonNegativeInt
    sha256: Sha256 | None = None
    git_sha1: Sha1 | None = None

    @classmethod
    def of(cls, file: ModelFile, destination: str) -> Self:
        """A model's file, to this place."""
        return cls(
            url=file.url,
            path="" if file.url else file.local,
            destination=destination,
            size=file.size,
            sha256=file.sha256,
            git_sha1=None if file.sha256 else file.git_sha1,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.url) == bool(self.path):
            raise ValueError("give either url or path")
        if bool(self.sha256) == bool(self.git_sha1):
            raise ValueError("give either sha256 or git_sha1")
        if has_control(self.url + self.path + self.destination):
            raise ValueError("no control characters")
        if self.url and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError("url must be http:// or https://")
        if not PurePosixPath(self.destination).is_absolute() or self.destination.endswith("/"):
            raise ValueError("destination must be the absolute path of a file")
        return self

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return PurePosixPath(self.destination).name

    @property
    def source(self) -> str:
        """Where it comes from, for messages: without a user name, a password or a query, which may be secret."""
        parts = urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, place, parts.path, "", "")) if self.url else self.path

    @property
    def algorithm(self) -> str:
        """How it is verified: ``sha256`` or ``git-sha1``."""
        return "sha256" if self.sha256 else "git-sha1"

    @property
    def digest(self) -> str:
        """In lower-case hexadecimal digits."""
        return self.sha256 or self.git_sha1 or ""


@dataclass(frozen=True)
class Patience:
    """How a bad line is borne. Times are whole seconds.

    ``tries`` in a row may fail (each mebibyte that arrives begins the count anew), with ``pause`` after the first and
    twice as much after each, or what Retry-After asks for; no wait is longer than ``longest``. A transfer slower than
    ``slowest`` bytes per second for ``stall`` seconds counts as cut. ``total`` bounds a whole delivery.
    """

    tries: int = 6
    pause: int = 1
    longest: int = 120
    connect: int = 15
    stall: int = 30
    slowest: int = 1024
    total: int = 24 * 3600


@dataclass(frozen=True)
class Seen:
    """What is at a destination. ``size`` in bytes and ``mtime`` in seconds since 1970 are None when no file is there.

    ``part`` is how many bytes an earlier transfer left, ``free`` the bytes free for them on the file system that is
    mounted at ``mount``. ``sha256`` is read only when asked for.
    """

    size: int | None
    mtime: int | None
    part: int
    free: int
    mount: str
    sha256: str | None = None


_PROBE = r"""
seen() {
  at=$1
  until [ -e "$at" ]; do at=$(dirname "$at"); done
  space=$(df -Pk "$at" | tail -n 1 | sed 's/.* \([0-9-][0-9]*\)  *[0-9-]*%\{0,1\}  *\(\/.*\)$/\1 \2/')
  file='- -' part=0 sum=-
  [ ! -f "$1.part" ] || part=$(stat -Lc %s "$1.part" 2>/dev/null || stat -Lf %z "$1.part")
  if [ -f "$1" ]; then
    file=$(stat -Lc '%s %Y' "$1" 2>/dev/null || stat -Lf '%z %m' "$1")
    [ "$2" = 0 ] || sum=$(sha256sum <"$1" | cut -d ' ' -f 1)
  fi
  printf 'seen %s %s %s %s\n' "$file" "$part" "$sum" "$space"
}
"""
_SEEN = re.compile(r"seen (\d+|-) (\d+|-) (\d+) ([0-9a-f]{64}|-) (\d+) (/.*)")


def probe_script(*destinations: str, sha256: bool = False) -> str:
    """A shell fragment that looks at destinations, and changes nothing. ``sha256`` reads each file whole."""
    calls = (f"seen {quote(destination)} {int(sha256)}" for destination in destinations)
    return _PROBE + "\n".join(calls) + "\n"


def parse_probe(output: str) -> tuple[Seen, ...]:
    """What ``probe_script`` printed, in the order of its destinations."""
    return tuple(_seen(match) for line in output.splitlines() if (match := _SEEN.fullmatch(line)))


def _seen(match: re.Match[str]) -> Seen:
    size, mtime, part, sha256, free, mount = match.groups()
    return Seen(
        size=None if size == "-" else int(size),
        mtime=None if mtime == "-" else int(mtime),
        part=int(part),
        free=int(free) * 1024,
        mount=mount,
        sha256=None if sha256 == "-" else sha256,
    )

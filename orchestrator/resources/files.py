"""Directories and files, written whole or not at all."""

import base64
import hashlib
from typing import ClassVar, Literal

from orchestrator.errors import DeployError, UnreachableError
from orchestrator.health.diagnosis import advice
from orchestrator.hosts.base import UNKNOWN, Host, Result, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.observe import fields
from orchestrator.resources.scripts import script

_SHOWN_BYTES = 65536  # a larger file is compared by digest only


def run_or_fail(host: Host, what: str, script: str, *, timeout: float = 120, remedy: str = "") -> str:
    """Run a script that must succeed and return its standard output.

    Raises DeployError with its last lines, and what they mean where that is known, else ``remedy``; UnreachableError
    when the connection is lost meanwhile.
    """
    result = host.run(script, timeout=timeout)
    if not result:
        raise failed(host, what, result, remedy)
    return result.stdout


def failed(host: Host, what: str, result: Result, remedy: str = "") -> DeployError:
    """The error of a script that did not succeed: with its last lines, or that the connection was lost meanwhile."""
    if result.exited == UNKNOWN:
        again = "run the same command again: it goes on from here"
        return UnreachableError(what, host=host.name, why=result.tail(), remedy=again)
    return DeployError(what, host=host.name, why=result.tail(), remedy=advice(result.tail(), remedy))


class Owned(Resource):
    """Something in the file system with an owner and a mode (octal text without a leading zero).

    ``owner`` and ``group`` are names, or numbers where nobody on the host has a name for them.
    """

    path: str
    owner: str
    group: str
    mode: str

    @property
    def identity(self) -> str:
        """The absolute path."""
        return self.path

    def ownership(self) -> str:
        """The shell words ``-m MODE -o OWNER -g GROUP`` of install(1)."""
        return f"-m {quote(self.mode)} -o {quote(self.owner)} -g {quote(self.group)}"

    def seen(self, output: str) -> Fields:
        """What ``describe`` and more have printed, with owner and group as names or numbers, as they are wanted."""
        found: Fields = dict(fields(output))
        for name, number in (("owner", found.pop("uid", "")), ("group", found.pop("gid", ""))):
            if name in found and str(getattr(self, name)).isdecimal():
                found[name] = number
        return found


class Directory(Owned):
    """A directory. ``contents`` says whether what engines put into it goes with it."""

    title: ClassVar[str] = "directory"
    kind: Literal["directory"] = "directory"
    mode: str = "755"
    contents: bool = False

    def probe(self) -> str:
        """Type, mode and owner; of where a link leads, since operators link data directories to larger disks."""
        return f"describe {quote(self.path + '/')}"

    def parse(self, output: str) -> Observed:
        """Read them."""
        seen = self.seen(output)
        return Observed(exists=bool(seen), fields=seen)

    def wanted(self) -> Fields:
        """A directory with this mode and owner."""
        return {"type": "directory", "mode": self.mode, "owner": self.owner, "group": self.group}

    def command(self) -> str:
        """``install -d``."""
        return f"install -d {self.ownership()} {quote(self.path)}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Make it with its parents, or correct its mode and owner.

        An engine's directory that an earlier deployment left takes its new owner as a whole: accounts come back with
        another number. Not so a hard link: it is a model's file, which the engine only reads.
        """
        path = quote(self.path)
        make = f"install -d {self.ownership()} {path}"
        if self.contents and observed.exists and observed.fields.get("owner") != self.owner:
            owner = quote(f"{self.owner}:{self.group}")
            make = (
                f"set -e; old=$(stat -c %u {path}); {make}\n"
                f'find {path} -xdev -uid "$old" \\( -type d -o -links 1 \\) -exec chown -h {owner} {{}} +\n'
            )
        run_or_fail(host, f"cannot make the directory {self.path}", make, timeout=600)

    def remove(self, host: Host, progress: Progress) -> None:
        """Remove it: when empty, or with all that is in it where ``contents`` says so."""
        path = quote(self.path)
        script = f"rm -rf -- {path}" if self.contents else f"[ ! -d {path} ] || rmdir -- {path} 2>/dev/null || true"
        run_or_fail(host, f"cannot remove the directory {self.path}", script, timeout=600)


class Content(Owned):
    """A file with known content. Never for secrets: content is part of plans and manifests."""

    exclusive: ClassVar[bool] = True

    mode: str = "644"
    content: str

    @property
    def digest(self) -> str:
        """The sha256 of the content, hexadecimal."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def probe(self) -> str:
        """Type, mode, owner, digest, and the content of a small file (for the difference shown to the user)."""
        path = quote(self.path)
        return (
            f'describe {path}; [ -f {path} ] && {{ field sha256 "$(digest {path})"; '
            f'[ "$(wc -c < {path})" -gt {_SHOWN_BYTES} ] || field64 content < {path}; }}'
        )

    def parse(self, output: str) -> Observed:
        """Read them; the content as UTF-8 with replacement."""
        seen = self.seen(output)
        if "content" in seen:
            seen["content"] = base64.b64decode(seen["content"]).decode("utf-8", "replace")
        return Observed(exists=bool(seen), fields=seen)

    def wanted(self) -> Fields:
        """A file with this content, mode and owner."""
        return {"type": "file", "sha256": self.digest, "mode": self.mode, "owner": self.owner, "group": self.group}

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Write it beside its place and rename it over, so that no reader ever sees half of it."""
        run_or_fail(host, f"cannot write {self.path}", self.write_script())

    def write_script(self) -> str:
        """The script that puts the content in place."""
        data = base64.encodebytes(self.content.encode()).decode()
        path = quote(self.path)
        return (
            f"set -e; umask 077; part=$(mktemp {path}.XXXXXX); trap 'rm -f \"$part\"' EXIT\n"
            f"base64 -d > \"$part\" <<'DEPLOYCTL_END'\n{data}DEPLOYCTL_END\n"
            f'chown {quote(f"{self.owner}:{self.group}")} "$part"; chmod {quote(self.mode)} "$part"\n'
            f'sync "$part" 2>/dev/null || true; mv -fT "$part" {path}\n'
        )

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete it."""
        run_or_fail(host, f"cannot remove {self.path}", f"rm -f -- {quote(self.path)}")


class File(Content):
    """A plain file."""

    title: ClassVar[str] = "file"
    kind: Literal["file"] = "file"


class UnitFile(Content):
    """A systemd unit or drop-in: systemd is told to read it again, only when it changed (DESIGN 5.12).

    ``revive`` names a vendor's unit to start again once this drop-in is gone, because it ran before we came.
    """

    title: ClassVar[str] = "systemd unit file"
    kind: Literal["unit-file"] = "unit-file"
    revive: str = ""

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Write it and reload systemd."""
        run_or_fail(host, f"cannot write {self.path}", self.write_script() + "systemctl daemon-reload\n")

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete it and reload systemd."""
        path = quote(self.path)
        script = f"[ -e {path} ] || exit 0\nset -e; rm -f -- {path}; systemctl daemon-reload\n"
        if self.revive:
            script += f"systemctl start {quote(self.revive)}\n"
        run_or_fail(host, f"cannot remove {self.path}", script)


class ApiKey(Owned):
    """A secret key that never leaves the host: made there, kept there, readable by its owner alone.

    ``path`` holds the bare key; ``config`` the same key as a vLLM configuration file (``--config``), so that it
    stands in no argument list and no ``docker inspect`` (DESIGN 5.10).
    """

    title: ClassVar[str] = "API key"
    kind: Literal["api-key"] = "api-key"
    mode: str = "600"
    config: str

    def probe(self) -> str:
        """Whether both files are there, private, and say the same."""
        owned = f"{self.mode}:{self.owner}:{self.group}"
        return (
            f"describe {quote(self.path)}; key={quote(self.path)} config={quote(self.config)}\n"
            """same=$(printf 'api-key: ["%s"]' "$(cat "$key")"); [ -s "$key" ] && [ "$(cat "$config")" = "$same" ] """
            f"""&& [ "$(stat -c %a:%U:%G "$config")" = {quote(owned)} ] && field config same"""
        )

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = self.seen(output)
        return Observed(exists=bool(seen), fields=seen)

    def wanted(self) -> Fields:
        """A private key file and its copy in vLLM's form."""
        return {"type": "file", "mode": self.mode, "owner": self.owner, "group": self.group, "config": "same"}

    def command(self) -> str:
        """How a key is made, in short; the real one is made on the host and stays there."""
        return f"# an API key of 256 random bits, mode {self.mode}: {quote(self.path)}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Make a key of 256 random bits if there is none, and write both files."""
        make = script("api_key", key=self.path, config=self.config, owner=f"{self.owner}:{self.group}", mode=self.mode)
        run_or_fail(host, f"cannot make the API key {self.path}", make)

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete both files."""
        run_or_fail(host, f"cannot remove {self.path}", f"rm -f -- {quote(self.path)} {quote(self.config)}")

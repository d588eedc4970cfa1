"""The keys of a deployment: made on its host, kept there, checked by the gateway."""

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import RefusedError
from orchestrator.hosts.base import Host, quote
from orchestrator.hosts.secret import Secret
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed
from orchestrator.resources.files import Owned, failed, run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.scripts import script

Role = Literal["user", "admin", "metrics"]

FIRST = "default"
"""The name of the key that the first ``up`` makes."""

FOREVER = 32503680000
"""When a key without an expiry ends: the year 3000, in seconds since 1970. Caddy takes an empty value for none."""

_LINE = re.compile(
    r'"~\^\(\?i:bearer\) \+(?P<secret>[A-Za-z0-9_-]+)\$" (?P<name>[a-z0-9-]+) (?P<role>[a-z]+) '
    r"(?P<expires>\d+) # (?P<created>\d+)"
)


class Key(BaseModel):
    """One key, without its secret. Times are seconds since 1970; ``expires`` is None for never."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    created: int
    expires: int | None = None


class GatewayKeys(Owned):
    """The file of keys that the gateway reads, made with one key for users. ``up`` never changes it after that.

    It stays after ``down``, so that clients need no other key when the deployment comes back.
    """

    title: ClassVar[str] = "API keys"
    part: ClassVar[bool] = True
    kind: Literal["gateway-keys"] = "gateway-keys"
    keep: bool = True
    caddy: str
    caddyfile: str
    socket: str

    def probe(self) -> str:
        """Whether it is there, and private."""
        return f"describe {quote(self.path)}"

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        return Observed(exists=bool(seen), fields=dict(seen))

    def wanted(self) -> Fields:
        """A private file."""
        return {"type": "file", "mode": self.mode, "owner": self.owner, "group": self.group}

    def command(self) -> str:
        """How keys are made, in short; the real ones are made on the host and stay there."""
        return f"# a key of 256 random bits named {FIRST}, mode {self.mode}: {quote(self.path)}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Make it with a first key if it is not there; correct its mode and owner."""
        run_or_fail(host, f"cannot make {self.path}", self._script("ensure", name=FIRST, expires=str(FOREVER)))

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete them all."""
        run_or_fail(host, f"cannot remove {self.path}", f"rm -f -- {quote(self.path)} {quote(self.path)}.??????")

    # What `deployctl keys` does

    def create(self, host: Host, name: str, role: Role, expires: int | None) -> Secret:
        """Make a key. Raises RefusedError when there is one of that name, DeployError."""
        return self._change(host, "create", name=name, role=role, expires=str(expires or FOREVER))

    def rotate(self, host: Host, name: str, until: int, expires: int | None) -> Secret:
        """Give a key a new secret; the old one ends at ``until``.

        Raises RefusedError when there is no such key, DeployError.
        """
        return self._change(host, "rotate", name=name, until=str(until), expires=str(expires or FOREVER))

    def revoke(self, host: Host, name: str) -> None:
        """Take a key away, at once. Raises RefusedError when there is none of that name, DeployError."""
        self._change(host, "revoke", name=name)

    def read(self, host: Host) -> tuple[tuple[Key, Secret], ...]:
        """All keys, oldest first. Raises DeployError when the file cannot be read."""
        text = run_or_fail(host, f"cannot read {self.path}", f"cat -- {quote(self.path)}")
        return parse_keys(text)

    def _change(self, host: Host, action: str, **settings: str) -> Secret:
        what = f"cannot {action} the key {settings['name']}"
        result = host.run(self._script(action, **settings), timeout=120)
        if result.exited == 3:  # said by the script
            raise RefusedError(what, host=host.name, why=result.tail(), remedy="see `deployctl keys list`")
        if not result:
            raise failed(host, what, result)
        return Secret(result.stdout.strip())

    def _script(self, action: str, **settings: str) -> str:
        known = {"name": "", "role": "user", "expires": "", "until": ""} | settings
        reload = script("gateway_reload", caddy=self.caddy, caddyfile=self.caddyfile, socket=self.socket)
        owner = f"{self.owner}:{self.group}"
        return reload + script("gateway_keys", keys=self.path, action=action, owner=owner, mode=self.mode, **known)


def parse_keys(text: str) -> tuple[tuple[Key, Secret], ...]:
    """The keys in the file's text; lines that are none are passed over."""
    found = []
    for match in filter(None, map(_LINE.fullmatch, text.splitlines())):
        expires = int(match["expires"])
        key = Key.model_validate(
            {
                "name": match["name"],
                "role": match["role"],
                "created": int(match["created"]),
                "expires": None if expires >= FOREVER else expires,
            }
        )
        found.append((key, Secret(match["secret"])))
    return tuple(found)


def usable(keys: Sequence[tuple[Key, Secret]], role: Role, now: float) -> Secret | None:
    """The secret of the first key of this role that has not ended."""
    fit = (secret for key, secret in keys if key.role == role and (key.expires is None or key.expires > now))
    return next(fit, None)

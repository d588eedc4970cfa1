"""A deployment's part of the gateway: its public port."""

from typing import ClassVar, Literal

from orchestrator.errors import UnhealthyError
from orchestrator.health.clock import SystemClock
from orchestrator.health.wait import Wait
from orchestrator.hosts.base import Host, HttpRequest, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Observed
from orchestrator.resources.files import Content, run_or_fail
from orchestrator.resources.scripts import script

_PATIENCE_S = 1800.0
"""How long a new engine may take to load before the old one is given up for it, in seconds."""


class GatewaySite(Content):
    """A file that the gateway's main one reads. A change is taken in without dropping a connection.

    ``caddy``, ``caddyfile`` and ``socket`` are the paths of the gateway's program, main file and control socket.
    ``upstream`` is the engine's base URL; where ``ready`` is the JSON of a chat request, a site that is there already
    goes on leading to the former engine until this one, in ``container``, has answered it.
    """

    title: ClassVar[str] = "gateway site"
    kind: Literal["gateway-site"] = "gateway-site"
    caddy: str
    caddyfile: str
    socket: str
    upstream: str
    ready: str = ""
    container: str = ""

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Write it and let the gateway take it in; what the gateway refuses is undone. Raises DeployError."""
        if self.ready and observed.exists:
            self._wait(host, progress)
        what = f"the gateway does not take {self.path}"
        remedy = "see the gateway: section of the spec; its log: deployctl logs --gateway"
        run_or_fail(host, what, self.write_script(), remedy=remedy)

    def _wait(self, host: Host, progress: Progress) -> None:
        """Wait for the engine's first answer. Raises UnhealthyError when its time is over."""
        request = HttpRequest(
            f"{self.upstream}/v1/chat/completions",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=self.ready.encode(),
            timeout=60,
        )
        clock = SystemClock()
        wait = Wait(clock, _PATIENCE_S)
        with progress.task("wait for the new engine beside the old one"):
            while (answer := host.http(request)).status != 200:
                if self._died(host) or not wait.pause():
                    why = answer.error or answer.text
                    raise UnhealthyError("the new engine does not answer", host=host.name, why=why)

    def _died(self, host: Host) -> bool:
        """Whether the engine ended while it was waited for. Docker starts it again, but it would only end again."""
        name = quote(self.container)
        seen = host.run(
            f"docker container inspect -f '{{{{.RestartCount}}}} {{{{.State.Running}}}}' {name}", timeout=30
        )
        return bool(seen) and seen.stdout.split() != ["0", "true"]

    def write_script(self) -> str:
        """Write it beside its place, for the script that puts it there."""
        new = f"{self.path}.new"  # not *.caddy, so that nobody reads it
        beside = self.model_copy(update={"path": new})
        return super(GatewaySite, beside).write_script() + self._script("gateway_site", new=new)

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete it; the gateway lets go of the port at once, and of the connections when they have ended."""
        path = quote(self.path)
        steps = f'said=$(mktemp); rm -f -- {path} {path}.old {path}.new; reload_gateway "$said" || told "$said"\n'
        run_or_fail(host, f"cannot remove {self.path}", f'{self._script()}{steps}rm -f -- "$said"\n')

    def _script(self, name: str = "", **settings: str) -> str:
        reload = script(
            "gateway_reload", caddy=self.caddy, caddyfile=self.caddyfile, socket=self.socket, path=self.path, **settings
        )
        return reload + (script(name) if name else "")

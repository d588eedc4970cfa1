"""A deployment's part of the gateway: its public port."""

from typing import ClassVar, Literal

from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Observed
from orchestrator.resources.files import Content, run_or_fail
from orchestrator.resources.scripts import script


class GatewaySite(Content):
    """A file that the gateway's main one reads. A change is taken in without dropping a connection.

    ``caddy``, ``caddyfile`` and ``socket`` are the paths of the gateway's program, main file and control socket.
    """

    title: ClassVar[str] = "gateway site"
    kind: Literal["gateway-site"] = "gateway-site"
    caddy: str
    caddyfile: str
    socket: str

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Write it and let the gateway take it in; what the gateway refuses is undone. Raises DeployError."""
        what = f"the gateway does not take {self.path}"
        run_or_fail(host, what, self.write_script(), remedy="see `deployctl logs gateway`, and the gateway: section")

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

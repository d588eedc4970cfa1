"""A single program, taken out of the package or archive that it comes in."""

from typing import ClassVar, Literal

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host, quote
from orchestrator.hosts.local import LocalHost
from orchestrator.models.delivery import Delivery
from orchestrator.models.transfer import deliver
from orchestrator.progress import Progress
from orchestrator.resources import unpacked
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin, plain


class Program(Resource):
    """An executable file at ``path``, whose folder is named by ``source_sha256``: another source is another path.

    ``source`` is a requirement that pip downloads (``package``), a URL, or a path on the controller; its digest is
    checked, and that of the program itself (``sha256``), where it is known. The controller brings it, so a host needs
    neither Python nor internet.
    """

    title: ClassVar[str] = "program"
    part: ClassVar[bool] = True
    kind: Literal["program"] = "program"
    path: str
    source: str
    source_sha256: str
    package: bool
    arch: Literal["amd64", "arm64"]
    sha256: str = ""

    @property
    def identity(self) -> str:
        """The absolute path."""
        return self.path

    @property
    def name(self) -> str:
        """The program's file name."""
        return self.path.rpartition("/")[2]

    def probe(self) -> str:
        """Whether it is there. A file gets this name only when it is whole and its digest was right."""
        return f"[ -f {quote(self.path)} ] && [ -x {quote(self.path)} ] && field program yes"

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        return Observed(exists=bool(seen), fields=dict(seen))

    def wanted(self) -> Fields:
        """There, and executable."""
        return {"program": "yes"}

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """What it was taken out of; where its own digest is known, that, since it can be looked at again."""
        source = f"{self.source} (pip)" if self.package else plain(self.source)
        if self.sha256:
            return (Origin(source=source, pin=f"sha256:{self.sha256}", path=self.path),)
        return (Origin(source=source, pin=f"sha256:{self.source_sha256}"),)

    def command(self) -> str:
        """Where it comes from."""
        how = f"pip download --no-deps {quote(self.source)}" if self.package else f"# from {quote(self.source)}"
        return f"{how}  # sha256 {self.source_sha256}; {self.name} in it goes to {quote(self.path)}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Get it on the controller, once, and copy it to the host. Raises DeployError."""
        wanted = unpacked.Wanted(
            name=self.name,
            source=self.source,
            source_sha256=self.source_sha256,
            package=self.package,
            arch=self.arch,
            sha256=self.sha256,
        )
        found = unpacked.program(wanted, progress)
        item = Delivery(path=str(found.path), destination=self.path, size=found.size, sha256=found.sha256)
        deliver(host, [item], progress=progress, mode="push", controller=LocalHost())
        result = host.run(f"chmod 755 -- {quote(self.path)} && {quote(self.path)} version", timeout=60)
        if not result:
            raise DeployError(f"{self.path} does not run", host=host.name, why=result.tail())

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete it, and what a transfer that was cut has left beside it."""
        run_or_fail(host, f"cannot remove {self.path}", f"rm -f -- {quote(self.path)} {quote(self.path)}.*")

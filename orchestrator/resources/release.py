"""Engines that come as an archive: fetched, checked, unpacked into a directory of their own version."""

from typing import ClassVar, Literal

from orchestrator.errors import DeployError
from orchestrator.health.diagnosis import advice
from orchestrator.hosts.base import Host, quote
from orchestrator.hosts.local import LocalHost
from orchestrator.models.delivery import Delivery
from orchestrator.models.transfer import deliver
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin, plain
from orchestrator.resources.scripts import script

_GROWTH, _SLACK = 30, 64 << 20
"""How many times its size an archive of programs may unpack to (real ones: two to four times), and bytes besides."""


class Release(Resource):
    """An unpacked release in ``path``, from ``source`` (a URL, or a path on the controller) with this ``sha256``.

    ``binary`` is the program that must be in it, relative to ``path``. ``size`` is in bytes.
    """

    title: ClassVar[str] = "release"
    part: ClassVar[bool] = True
    exclusive: ClassVar[bool] = True
    kind: Literal["release"] = "release"
    path: str
    source: str
    sha256: str
    size: int
    binary: str
    mode: Literal["auto", "fetch", "push"] = "auto"

    @property
    def identity(self) -> str:
        """The directory."""
        return self.path

    def probe(self) -> str:
        """Which archive it was unpacked from."""
        program = quote(f"{self.path}/{self.binary}")
        return f'field sha256 "$(cat {quote(self.path)}/.deployctl-sha256)"; [ -x {program} ] && field binary yes'

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        return Observed(exists=bool(seen.get("sha256")), fields=dict(seen))

    def wanted(self) -> Fields:
        """Unpacked from this archive, with its program."""
        return {"sha256": self.sha256, "binary": "yes"}

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """The archive that it was unpacked from."""
        unpacked = observed.fields.get("sha256", "")
        here = f"sha256:{unpacked}" if unpacked else ""
        return (Origin(source=plain(self.source), pin=f"sha256:{self.sha256}", here=here),)

    def command(self) -> str:
        """``curl`` and ``tar``."""
        fetch = f"curl -fL {quote(self.source)}" if "://" in self.source else f"cat {quote(self.source)}"
        unpack = "--zstd" if self.source.endswith(".zst") else "-z"
        return (
            f"mkdir -p {quote(self.path)} && {fetch} | tar {unpack} -xf - -C {quote(self.path)}  # sha256 {self.sha256}"
        )

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Bring the archive and unpack it beside its place, then rename. Raises DeployError for an unsafe archive."""
        suffix = ".tar.zst" if self.source.endswith(".zst") else ".tgz"
        archive = f"{self.path}{suffix}"
        remote = "://" in self.source
        item = Delivery(
            url=self.source if remote else "",
            path="" if remote else self.source,
            destination=archive,
            size=self.size,
            sha256=self.sha256,
        )
        deliver(host, [item], progress=progress, mode=self.mode, controller=LocalHost())
        with progress.task(f"unpack {self.source.rsplit('/', 1)[-1]}"):
            most = str(self.size * _GROWTH + _SLACK)
            unpack = script(
                "unpack", dest=self.path, archive=archive, binary=self.binary, sha256=self.sha256, most=most
            )
            result = host.run(unpack, timeout=1800)
        if not result:
            raise DeployError(
                f"cannot unpack {self.source}", host=host.name, why=result.tail(), remedy=advice(result.tail())
            )

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete the directory, and what a run that failed has left beside it; end what still runs from it."""
        run_or_fail(host, f"cannot remove {self.path}", script("remove_release", path=self.path), timeout=600)

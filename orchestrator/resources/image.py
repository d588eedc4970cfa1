"""Docker images on a host: pulled, or loaded from an archive that lies on the controller."""

from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress, Task
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.engine import explained
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin

if TYPE_CHECKING:
    from docker import DockerClient


class Image(Resource):
    """A Docker image under a pinned reference. ``archive`` is a tar on the controller to load it from instead."""

    title: ClassVar[str] = "image"
    part: ClassVar[bool] = True
    kind: Literal["image"] = "image"
    reference: str
    archive: str = ""
    keep: bool = True

    @property
    def identity(self) -> str:
        """The reference, ``name:tag`` or ``name@sha256:...``."""
        return self.reference

    def probe(self) -> str:
        """Its content id, where the host has it."""
        return f"field id \"$(docker image inspect --format '{{{{.Id}}}}' {quote(self.reference)} | head -n 1)\""

    def parse(self, output: str) -> Observed:
        """Read it."""
        identifier = fields(output).get("id", "")
        return Observed(exists=identifier.startswith("sha256:"), fields={"id": identifier} if identifier else {})

    def wanted(self) -> Fields:
        """Nothing but its presence: a pinned reference does not change."""
        return {}

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """A registry, by digest or by tag; or an archive."""
        _, _, digest = self.reference.partition("@")
        moves = "" if digest else "a tag names it, which its publisher may move"
        here = observed.fields.get("id", "")
        return (Origin(source=self.archive or self.reference, pin=digest, here=here, unpinned=moves),)

    def command(self) -> str:
        """``docker pull`` or ``docker load``."""
        return f"docker load --input {quote(self.archive)}" if self.archive else f"docker pull {quote(self.reference)}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Pull it, or send the archive. Raises DeployError with the registry's words."""
        if observed.exists:
            return
        client = host.docker()
        remedy = "check the name; without a registry, `docker save` it elsewhere and give --image-archive"
        with explained(host, f"cannot get the image {self.reference}", remedy):
            if self.archive:
                self._load(host, client, progress)
            else:
                self._pull(client, progress)

    def _pull(self, client: "DockerClient", progress: Progress) -> None:
        with progress.task(f"pull {self.reference}", unit="bytes") as task:
            follow_pull(client.api.pull(self.reference, stream=True, decode=True), task)

    def _load(self, host: Host, client: "DockerClient", progress: Progress) -> None:
        from docker.errors import DockerException, ImageNotFound

        path = Path(self.archive).expanduser()
        size = path.stat().st_size
        with (
            progress.task(f"load {self.reference}", total=size, unit="bytes") as task,
            path.open("rb") as source,
        ):
            counted = _Counted(source, task)  # the SDK sends whatever can be read, as it comes
            for event in client.api.load_image(counted):  # type: ignore[no-untyped-call]  # the SDK has no types here
                if "error" in event:
                    raise DockerException(f"{path}: {event['error']}")
        try:
            client.images.get(self.reference)
        except ImageNotFound as error:
            raise DeployError(
                f"{self.archive} does not hold the image {self.reference}",
                host=host.name,
                remedy="look at `docker save`'s tag",
            ) from error

    def remove(self, host: Host, progress: Progress) -> None:
        """Untag it; layers that other images share stay. Raises DeployError with Docker's words."""
        from docker.errors import APIError, ImageNotFound

        client = host.docker()
        with explained(host, f"cannot remove the image {self.reference}"):
            try:
                client.images.remove(self.reference)
            except ImageNotFound:
                return
            except APIError as error:
                if error.status_code != 409:  # 409: another container uses it, so it is not ours to take
                    raise
                progress.note(f"the image {self.reference} stays: another container uses it")


def follow_pull(events: Iterable[dict[str, Any]], task: Task) -> None:
    """Add up the layers of ``docker pull``'s event stream (bytes). Raises DockerException for an error event."""
    from docker.errors import DockerException

    layers: dict[str, tuple[int, int]] = {}
    for event in events:
        if "error" in event:
            raise DockerException(str(event["error"]))
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and "total" in detail:
            layers[str(event.get("id"))] = (int(detail["current"]), int(detail["total"]))
        elif event.get("id") in layers and str(event.get("status", "")).startswith(
            ("Download complete", "Pull complete")
        ):
            total = layers[str(event["id"])][1]
            layers[str(event["id"])] = (total, total)
        task.message(str(event.get("status", "")))
        task.update(sum(done for done, _ in layers.values()), sum(total for _, total in layers.values()) or None)


class _Counted:
    """A file whose reading is reported."""

    def __init__(self, source: IO[bytes], task: Task) -> None:
        self._source = source
        self._task = task
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._done += len(data)
        self._task.update(self._done)
        return data

    def __iter__(self) -> "_Counted":
        return self

    def __next__(self) -> bytes:
        data = self.read(1 << 20)
        if not data:
            raise StopIteration
        return data

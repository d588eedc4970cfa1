"""Files delivered to a host: whole, verified and readable, or not there at all (DESIGN 5.15).

One implementation for every host, this machine too: the shell script `deliver.sh`, which needs coreutils and curl,
run through the Host protocol. A host fetches by itself; one that cannot reach the place is pushed to from here.
"""

from collections.abc import Iterable, Sequence
from importlib.resources import files as package_files
from pathlib import Path
from typing import IO, Literal

from orchestrator.errors import DeployError, RefusedError, UsageError
from orchestrator.hosts.base import UNKNOWN, Host, Result, quote
from orchestrator.hosts.secret import Secret
from orchestrator.models.delivery import Delivery, Patience, parse_probe, probe_script
from orchestrator.models.events import Events
from orchestrator.models.resolved import has_control
from orchestrator.models.transfer_errors import explain
from orchestrator.progress import Progress

Mode = Literal["auto", "fetch", "push"]

_SCRIPT = package_files("orchestrator.models").joinpath("deliver.sh").read_text("utf-8")
_LARGEST_RESERVE = 1 << 30  # bytes


def cache_folder() -> Path:
    """Where files that are pushed to hosts without internet are kept on the controller."""
    from platformdirs import user_cache_path

    return user_cache_path("deployctl") / "models"


def deliver(
    host: Host,
    files: Iterable[Delivery],
    *,
    progress: Progress,
    mode: Mode = "auto",
    token: Secret | None = None,
    controller: Host | None = None,
    cache: Path | None = None,
    patience: Patience | None = None,
) -> None:
    """Bring the files to the host. Their folders must be there.

    ``fetch`` lets the host download; ``push`` downloads to ``cache`` (default ``cache_folder()``) by way of
    ``controller``, this machine as a Host, and copies from there; ``auto`` fetches, and pushes what the host cannot
    reach. The token goes to every URL of this call, and to no host that they redirect to. A file that is there with
    the right content is left as it is; one that is there with another is replaced when the new one is whole.

    Raises RefusedError, before anything is written, when the disk has no room; UnreachableError when the host is
    lost; DeployError for all else, with the file's name. Run again, it goes on where it stopped.
    """
    transfer = _Transfer(host, progress, token, patience or Patience())
    wanted = tuple(files)
    _require_space(host, wanted)
    transfer.copy([file for file in wanted if file.path])
    urls = [file for file in wanted if file.url]
    if mode != "push":
        urls = transfer.fetch(urls, may_leave=mode == "auto" and controller is not None and not host.is_local)
    if urls:
        if controller is None:
            raise DeployError("There is no way to push", host=host.name, remedy="Fetch instead.")
        here = _Transfer(controller, progress, token, patience or Patience(), privileged=False)
        transfer.copy(here.cached(urls, cache or cache_folder()))


class _Transfer:
    """Deliveries to one host, with one token."""

    def __init__(
        self, host: Host, progress: Progress, token: Secret | None, patience: Patience, *, privileged: bool = True
    ) -> None:
        self._host = host
        self._progress = progress
        self._token = token
        self._patience = patience
        self._privileged = privileged

    def fetch(self, files: Sequence[Delivery], *, may_leave: bool = False) -> list[Delivery]:
        """Let the host download the files. With ``may_leave``, those that it cannot reach are returned."""
        if not files:
            return []
        lines = [_call("fetch", index, file, _for_curl(file.url)) for index, file in enumerate(files)]
        events, result = self._run(files, self._settings() + _SCRIPT + "".join(lines))
        if result:
            return []
        if may_leave and events.reason == "unreachable":
            missing = files[events.failed]
            self._progress.note(f"{missing.source} cannot be reached from there: pushing it from here")
            return [file for index, file in enumerate(files) if index not in events.done]
        raise explain(self._host, files, events, result)

    def cached(self, files: Sequence[Delivery], cache: Path) -> list[Delivery]:
        """Download to the controller's cache, into a folder named by the content; what to push instead."""
        copies = [file.model_copy(update={"destination": str(cache / file.digest / file.name)}) for file in files]
        try:
            for file in files:
                (cache / file.digest).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            remedy = "Make it writable, or set XDG_CACHE_HOME to another place."
            raise DeployError(f"The cache {cache} cannot be made", why=str(error), remedy=remedy) from error
        _require_space(self._host, copies)
        self.fetch(copies)
        return [
            file.model_copy(update={"url": "", "path": copy.destination})
            for file, copy in zip(files, copies, strict=True)
        ]

    def copy(self, files: Sequence[Delivery]) -> None:
        """Bring files of the controller to the host: by a second name where it is this machine, else by a push."""
        if self._host.is_local and files:
            lines = [_call("link", index, file, file.path) for index, file in enumerate(files)]
            events, result = self._run(files, _SCRIPT + "".join(lines))
            if not result:
                raise explain(self._host, files, events, result)
        elif not self._host.is_local:
            for file in files:
                self._push(file)

    def _push(self, file: Delivery) -> None:
        """Through standard input, from where an earlier push was cut."""
        for attempt in range(self._patience.tries):
            offer, result = self._run([file], _SCRIPT + _call("offer", 0, file))
            if not result:
                raise explain(self._host, [file], offer, result)
            if 0 in offer.done:
                return
            events, result = self._receive(file, offer.bytes)
            if result:
                return
            last = attempt + 1 == self._patience.tries
            again = result.exited == UNKNOWN or events.reason in ("cut", "moved", "mismatch")
            if last or not again or (events.reason == "mismatch" and not offer.bytes):
                raise explain(self._host, [file], events, result)
            self._progress.note(f"pushing {file.name} was cut; going on")

    def _receive(self, file: Delivery, offset: int) -> tuple[Events, Result]:
        try:
            with Path(file.path).open("rb", buffering=0) as source:
                source.seek(offset)
                return self._run([file], _SCRIPT + _call("receive", 0, file, str(offset)), stdin=source)
        except OSError as error:
            raise DeployError(f"{file.path} cannot be read", why=str(error), remedy="See its permissions.") from error

    def _run(self, files: Sequence[Delivery], script: str, stdin: IO[bytes] | None = None) -> tuple[Events, Result]:
        total = sum(file.size for file in files)
        label = files[0].name if len(files) == 1 else f"{len(files)} files"
        with self._progress.task(label, total=total, unit="bytes") as task:
            events = Events(files, task)
            result = self._host.run(
                script,
                timeout=self._patience.total,
                stdin=stdin,
                on_line=events.read,
                privileged=self._privileged,
            )
        return events, result

    def _settings(self) -> str:
        """What `fetch` asks for beside its arguments. It holds the token: only for scripts on standard input."""
        patience, token = self._patience, self._token.reveal() if self._token else ""
        return (
            f"token={quote(_for_curl(token, 'token'))}\n"
            f"tries={patience.tries} pause={patience.pause} longest={patience.longest} connect={patience.connect} "
            f"stall={patience.stall} slowest={patience.slowest}\n"
        )


def _call(verb: str, index: int, file: Delivery, *more: str) -> str:
    """One line of the script. ``more`` is quoted here too."""
    words = (file.destination, str(file.size), file.algorithm, file.digest, *more)
    return f"{verb} {index} " + " ".join(quote(word) for word in words) + "\n"


def _for_curl(value: str, what: str = "address") -> str:
    """A value between the quotes of curl's configuration, where a line feed would begin another option."""
    if has_control(value):
        raise UsageError(f"The {what} holds a control character", remedy="See whether it was copied whole.")
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _require_space(host: Host, files: Sequence[Delivery]) -> None:
    """Refuse what will not fit, with a reserve of 5 % of it, 1 GiB at most."""
    files = [file for file in files if not _can_link(host, file)]
    if not files:
        return
    result = host.run(probe_script(*(file.destination for file in files)))
    seen = parse_probe(result.stdout)
    if not result or len(seen) != len(files):
        raise DeployError("The disk cannot be looked at", host=host.name, why=result.tail())
    needed: dict[str, int] = {}
    for file, there in zip(files, seen, strict=True):
        missing = 0 if there.size == file.size else max(file.size - there.part, 0)
        needed[there.mount] = needed.get(there.mount, 0) + missing
    free = {there.mount: there.free for there in seen}
    for mount, missing in needed.items():
        if missing + min(missing // 20, _LARGEST_RESERVE) > free[mount]:
            raise RefusedError(
                f"No room on {mount}: {_gib(missing)} needed, {_gib(free[mount])} free",
                host=host.name,
                remedy="Free some space there, or choose another directory for models.",
            )


def _can_link(host: Host, file: Delivery) -> bool:
    """Whether the file will be there by a second name, which takes no room."""
    if not host.is_local or not file.path:
        return False
    try:
        return Path(file.path).stat().st_dev == Path(file.destination).parent.stat().st_dev
    except OSError:
        return False


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.2f} GiB"

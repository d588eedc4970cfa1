"""What ``doctor`` wants to know beyond the facts that every command gathers: still one round trip."""

import time
from collections.abc import Mapping, Sequence
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import DeployError
from orchestrator.facts.answers import Answers
from orchestrator.facts.gather import facts_of, observe
from orchestrator.facts.layout import Scope
from orchestrator.facts.model import Facts
from orchestrator.hosts.base import Host, quote

_PATIENCE_S = 150.0
"""Everything in the scripts that may hang has a limit of its own; this is longer than all of them together."""


class _Seen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Disk(_Seen):
    """Where something will be written: ``path`` is the nearest directory that exists. Bytes; None where unknown."""

    purpose: str
    path: str
    free: int | None
    total: int | None
    writable: bool


class Holder(_Seen):
    """The program that listens on a port."""

    port: int
    pid: int
    name: str


class Source(_Seen):
    """Whether something that is downloaded from answers the host: an HTTP status (0: none), and curl's words."""

    name: str
    status: int
    exited: int
    error: str


class Examination(_Seen):
    """A host as ``doctor`` sees it.

    ``skew`` is how many seconds its clock is ahead of this machine's (0 within what a round trip can tell); ``ntp``
    whether it says to be synchronized, None where it says nothing. ``toolkit`` is the version of NVIDIA's container
    toolkit, ``toolkit_hook`` what makes `--gpus` work, ``cdi`` the files that describe GPUs to containers. Limits are
    those of this login; "unlimited" is None.
    """

    facts: Facts
    skew: float
    ntp: bool | None
    kernel: str
    sudo_from: str
    systemd_version: str
    cgroup_driver: str
    cgroup_version: str
    docker_host: str
    toolkit: str
    toolkit_hook: str
    cdi: tuple[str, ...]
    device_links: bool
    nvidia_cards: int
    nvidia_module: bool
    nouveau: bool
    disks: tuple[Disk, ...]
    holders: tuple[Holder, ...]
    sources: tuple[Source, ...]
    proxies: tuple[str, ...]
    nofile_soft: int | None
    nofile_hard: int | None
    memlock_kib: int | None
    overcommit: int
    max_map_count: int


def examine(
    host: Host, *, scope: Scope | None = None, ports: Sequence[int] = (), sources: Mapping[str, str] | None = None
) -> Examination:
    """Observe a host thoroughly. ``sources`` are URLs that it may have to download from, by a name of one word.

    Raises UnreachableError, RefusedError and DeployError as ``gather`` does.
    """
    told = "".join(f"{name} {_quoted(url)}\n" for name, url in (sources or {}).items())
    settings = f"ports={quote(' '.join(str(port) for port in ports))} sources={quote(told)}\n"
    script = files(__package__).joinpath("examine.sh").read_text(encoding="utf-8")
    began = time.time()
    answers, known = observe(host, scope, before=settings, after=script, timeout=_PATIENCE_S)
    ended = time.time()
    if answers.one("examined") != "yes":
        raise DeployError("the host could not be examined", host=host.name, remedy="run the command again")
    return _examination(facts_of(host.name, answers, scope, known), answers, began, ended)


def _quoted(url: str) -> str:
    """A URL inside the quotes of curl's configuration, where two characters mean something."""
    return url.replace("\\", "%5C").replace('"', "%22").replace("\n", "%0A")


def _examination(facts: Facts, answers: Answers, began: float, ended: float) -> Examination:
    return Examination(
        facts=facts,
        skew=_skew(answers.one("clock"), began, ended),
        ntp={"yes": True, "no": False}.get(answers.one("ntp")),
        kernel=answers.one("kernel"),
        sudo_from=answers.one("sudo_from"),
        systemd_version=answers.one("systemd_version"),
        cgroup_driver=answers.one("cgroup_driver"),
        cgroup_version=answers.one("cgroup_version"),
        docker_host=answers.one("docker_host"),
        toolkit=answers.one("toolkit"),
        toolkit_hook=answers.one("toolkit_hook"),
        cdi=tuple(answers.all("cdi")),
        device_links=answers.one("device_links") == "yes",
        nvidia_cards=answers.number("nvidia_cards"),
        nvidia_module=answers.one("nvidia_module") == "yes",
        nouveau=answers.one("nouveau") == "yes",
        disks=tuple(disk for line in answers.all("disk") if (disk := _disk(line))),
        holders=tuple(holder for line in answers.all("port_of") if (holder := _holder(line))),
        sources=tuple(source for line in answers.all("source") if (source := _source(line))),
        proxies=tuple(answers.all("proxy")),
        nofile_soft=answers.limit("nofile_soft"),
        nofile_hard=answers.limit("nofile_hard"),
        memlock_kib=answers.limit("memlock"),
        overcommit=answers.number("overcommit"),
        max_map_count=answers.number("max_map_count"),
    )


def _skew(clock: str, began: float, ended: float) -> float:
    """How far a whole second of the host's is outside the time in which it was said."""
    if not (clock.isascii() and clock.isdecimal()):
        return 0.0
    now = float(clock)
    return now - ended if now > ended else min(0.0, now + 1 - began)


def _disk(line: str) -> Disk | None:
    cells = line.split("\t")
    if len(cells) == 4:  # df said nothing
        cells[1:2] = ["", ""]
    if len(cells) != 5:
        return None
    purpose, free, total, writable, path = cells
    sizes = [int(cell) * 1024 if cell.isascii() and cell.isdecimal() else None for cell in (free, total)]
    return Disk(purpose=purpose, path=path, free=sizes[0], total=sizes[1], writable=writable == "yes")


def _holder(line: str) -> Holder | None:
    port, _, rest = line.partition("\t")
    pid, _, name = rest.partition("\t")
    if not all(cell.isascii() and cell.isdecimal() for cell in (port, pid)):
        return None
    return Holder(port=int(port), pid=int(pid), name=name)


def _source(line: str) -> Source | None:
    cells = line.split("\t", 3)
    if len(cells) != 4 or not all(cell.isascii() and cell.isdecimal() for cell in cells[1:3]):
        return None
    return Source(name=cells[0], exited=int(cells[1]), status=int(cells[2]), error=cells[3])

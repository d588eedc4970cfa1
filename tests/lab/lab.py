"""A session's machines, and everything else that the session starts: made on demand, gone at its end.

What a session makes carries its owner (process id and start time) as a Docker label, so that the leftovers of a killed
run are told from the machines of a run that still goes on, and are removed by the next one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from pathlib import Path

from tests.lab import cache, images
from tests.lab.machines import Machine, free_port
from tests.lab.shell import CommandFailedError, docker, pipe, run

OWNER = f"{images.PREFIX}.owner"
KEPT = f"{images.PREFIX}.cache"
VLLM_IN_MACHINES = f"vllm/vllm-openai-cpu:v{images.VLLM_VERSION}"
"""Under which official name the engine of a `vllm=True` machine holds the image (and under its lab tag)."""
_SEEDED = ".lab-complete"
_FOLDER = "deployctl-lab-"
_SERIAL = itertools.count(1)
_PURGE_ENGINE = """
dpkg --purge docker.io containerd runc
rm -rf /etc/docker /opt/containerd
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
"""


class Lab:
    """One test session's machines, with a key pair and a folder for its files."""

    def __init__(self) -> None:
        """Remove what killed runs have left, and make the keys. Raises CommandFailedError without a Docker Engine."""
        remove_leftovers()
        self.owner = f"{_process(os.getpid())}-{next(_SERIAL)}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{self.owner}."))
        self.key = self.folder / "id_ed25519"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "deployctl lab", "-f", self.key])
        self.machines: dict[str, Machine] = {}

    def machine(self, name: str, *, vllm: bool = False, systemd: bool = True, engine: bool = True) -> Machine:
        """The machine `name`, started when it does not run yet (seconds; the first one ever builds its image).

        `vllm`: its engine already holds the vLLM image. `systemd=False`: only sshd runs. `engine=False`: no Docker.
        """
        if name not in self.machines:
            self.machines[name] = self._start(name, vllm=vllm, systemd=systemd, engine=engine)
        return self.machines[name]

    def stop(self, name: str) -> None:
        """Remove one machine before the end of the session."""
        self.machines.pop(name).stop()

    def close(self) -> None:
        """Remove every machine, volume and file of this session. Twice is fine."""
        for name in list(self.machines):
            self.stop(name)
        remove_owned_by(self.owner)

    def _start(self, name: str, *, vllm: bool, systemd: bool, engine: bool) -> Machine:
        image = images.host_image()
        machine = self._describe(name, systemd=systemd)
        docker("volume", "create", "--label", f"{OWNER}={self.owner}", str(machine.volume))
        try:
            if vllm:
                self._copy_seed(image, str(machine.volume))
            machine.start(image)
            if not engine:
                machine.exec(_PURGE_ENGINE)
        except BaseException:
            machine.stop()
            raise
        return machine

    def _describe(self, name: str, *, systemd: bool = True) -> Machine:
        container = f"{images.PREFIX}-{self.owner}-{name}"
        label = ("--label", f"{OWNER}={self.owner}")
        return Machine(name, container, free_port(), self.key, systemd, volume=f"{container}-docker", labels=label)

    def _copy_seed(self, image: str, volume: str) -> None:
        """Fill a machine's /var/lib/docker from the seed in seconds.

        The layers' files are hard-linked: an engine never writes to them (containers copy up), it only adds and unlinks
        names. The engine's books are copied.
        """
        seed = self.seed()
        volumes = f"{docker('info', '--format', '{{.DockerRootDir}}')}/volumes"
        script = (
            'cd "/v/$1/_data"; cp -al overlay2 "/v/$2/_data/"; tar -c --exclude=./overlay2 . | tar -xC "/v/$2/_data"'
        )
        docker("run", "--rm", "-v", f"{volumes}:/v", image, "sh", "-ec", script, "copy-seed", seed, volume)

    def seed(self) -> str:
        """A kept volume: /var/lib/docker of a stopped engine that has loaded the vLLM image (2 minutes to make)."""
        image, vllm = images.host_image(), images.vllm_image()
        seed = f"{images.PREFIX}-seed-{cache.key([image, vllm, VLLM_IN_MACHINES])}"
        with cache.locked("seed"):
            mounted = ("run", "--rm", "-v", f"{seed}:/seed", image)
            if run(["docker", *mounted, "test", "-e", f"/seed/{_SEEDED}"], check=False).returncode != 0:
                run(["docker", "volume", "rm", "--force", seed])
                docker("volume", "create", "--label", f"{KEPT}=1", seed)
                self._load(image, vllm, seed)
        return seed

    def _load(self, image: str, vllm: str, seed: str) -> None:
        machine = self._describe("seed")
        machine.volume = seed
        try:
            machine.start(image)
            pipe(["docker", "save", vllm], ["docker", "exec", "-i", machine.container, "docker", "load"])
            machine.exec(f"docker tag {vllm} {VLLM_IN_MACHINES}")
            machine.exec("systemctl stop docker.socket docker containerd")
            machine.exec(f"touch /var/lib/docker/{_SEEDED} && sync -f /var/lib/docker")
        finally:
            machine.volume = None
            machine.stop()


def remove_leftovers() -> list[str]:
    """Remove what killed runs have left behind; returns the owners that were cleaned up after."""
    owners = {folder.name.removeprefix(_FOLDER).partition(".")[0] for folder in _temporary().glob(f"{_FOLDER}*")}
    for kind in (("ps", "--all"), ("volume", "ls")):
        listing = docker(*kind, "--filter", f"label={OWNER}", "--format", f'{{{{.Label "{OWNER}"}}}}')
        owners.update(listing.splitlines())
    dead = sorted(owner for owner in owners if _process(owner.partition("-")[0]) != owner.rpartition("-")[0])
    for owner in dead:
        remove_owned_by(owner)
    return dead


def remove_owned_by(owner: str) -> None:
    """Remove the containers, volumes and files of one session."""
    if containers := owned("ps", "--all", owner=owner):
        docker("rm", "--force", "--volumes", *containers)
    if volumes := owned("volume", "ls", owner=owner):
        docker("volume", "rm", "--force", *volumes)
    for folder in _temporary().glob(f"{_FOLDER}{owner}.*"):
        shutil.rmtree(folder, ignore_errors=True)


def owned(*listing: str, owner: str) -> list[str]:
    """Ids that `docker ps --all` or `docker volume ls` lists for one session."""
    return docker(*listing, "--quiet", "--filter", f"label={OWNER}={owner}").split()


def unavailable() -> str | None:
    """Why there can be no lab on this machine, or None when there can be."""
    for program in ("docker", "ssh", "ssh-keygen", "zstd", "tar", "unshare"):
        if shutil.which(program) is None:
            return f"the program {program} is not installed"
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout_s=30)
    except CommandFailedError as error:
        return f"no Docker Engine answers: {str(error).splitlines()[-1]}"
    if not images.can_build():
        return "the images are not built yet, and building them needs root and debootstrap"
    return None


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _process(pid: int | str) -> str:
    """Process id and start time, which no later process shares; empty when it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return f"{pid}-{stat.rpartition(')')[2].split()[19]}"

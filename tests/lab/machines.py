"""One machine of the lab: a container that boots systemd, reached by SSH on a loopback port."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import snapshot as snapshots
from tests.lab.shell import CommandFailedError, docker, run

# What systemd and a Docker Engine need where `--privileged` is refused.
_CAPABILITIES = (
    *("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE", "MKNOD", "AUDIT_WRITE", "AUDIT_CONTROL", "SYSLOG"),
    *("DAC_READ_SEARCH", "MAC_ADMIN", "SYS_CHROOT", "IPC_LOCK"),
)
_FLAGS = (
    *(word for capability in _CAPABILITIES for word in ("--cap-add", capability)),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns=host"),
    *("--stop-signal", "SIGRTMIN+3", "--shm-size", "1g"),  # Docker's 64 MiB are no machine's
)
# `/` must be rshared for LoadCredential=; host keys are made once and stay over restarts.
_PREPARE = "mount --make-rshared / && ssh-keygen -A >/dev/null && mkdir -p /run/sshd"
_SYSTEMD = f"{_PREPARE} && exec /sbin/init"
_SSHD_ONLY = f"{_PREPARE} && exec /usr/sbin/sshd -D"

USERS = {"root": "root", "op": "sudo without a password", "opw": "sudo with a password", "plain": "no sudo"}


@dataclass
class Machine:
    """A running test host; made by `Lab.machine()`. Its users are USERS; all of them accept the lab's key."""

    name: str
    container: str
    ssh_port: int
    key: Path
    systemd: bool = True
    volume: str | None = None
    labels: Sequence[str] = field(default=(), repr=False)

    def start(self, image: str) -> None:
        """Create and boot it; returns when systemd says that it has come up and sshd answers."""
        storage = ["-v", f"{self.volume}:/var/lib/docker"] if self.volume else []
        docker(
            *("run", "-d", "--name", self.container, "--hostname", self.name, *self.labels, *_FLAGS, *storage),
            *("-p", f"127.0.0.1:{self.ssh_port}:22", image, "/bin/sh", "-c", _SYSTEMD if self.systemd else _SSHD_ONLY),
        )
        self.put("/etc/ssh/lab_authorized_keys", self.key.with_suffix(".pub").read_bytes())
        self.wait()

    def stop(self) -> None:
        """Remove it, with its volume. Twice is fine."""
        run(["docker", "rm", "--force", "--volumes", self.container], check=False)
        if self.volume:
            run(["docker", "volume", "rm", "--force", self.volume], check=False)

    def restart(self) -> None:
        """Reboot: the same disks, host keys and port; /run and /tmp are empty, the address may be another."""
        docker("restart", "--time", "60", self.container)
        self.wait()

    def freeze(self) -> None:
        """Stop answering without closing anything, as a machine behind a dead link does."""
        docker("pause", self.container)

    def thaw(self) -> None:
        """Answer again."""
        docker("unpause", self.container)

    def wait(self) -> None:
        """Until it is up. Raises CommandFailedError with the failed units when it comes up degraded or not at all."""
        if self.systemd:
            # the first words of systemd's socket come a moment after the container's; then --wait does the waiting
            up = "until systemctl list-jobs >/dev/null 2>&1; do sleep 0.1; done; systemctl is-system-running --wait"
            done = run(["docker", "exec", self.container, "timeout", "120", "sh", "-c", up], check=False)
            if done.stdout.strip() != "running":
                failed = run(["docker", "exec", self.container, "systemctl", "--failed", "--plain"], check=False)
                logs = run(["docker", "logs", "--tail", "20", self.container], check=False)
                raise CommandFailedError(f"{self.name} is {done.stdout}:\n{failed.stdout}\n{logs.stdout}{logs.stderr}")
        self.exec("timeout 60 sh -c 'until ss -Hltn sport = 22 | grep -q .; do sleep 0.1; done'")

    @property
    def ip(self) -> str:
        """Its address on the bridge, reachable from this machine and from the others of the lab."""
        return str(self._inspect()["NetworkSettings"]["IPAddress"])

    @property
    def gateway(self) -> str:
        """The address at which it reaches servers of this machine (bind them to it, or to 0.0.0.0)."""
        return str(self._inspect()["NetworkSettings"]["Gateway"])

    def exec(
        self, command: str, *, user: str = "root", stdin: str | bytes | None = None, timeout_s: float = 600
    ) -> str:
        """Run a shell script on it, not by SSH, and return what it prints. For assertions: the product goes by SSH.

        Raises CommandFailedError when it exits non-zero.
        """
        return run(
            ["docker", "exec", "-i", "--user", user, self.container, "sh", "-c", command],
            stdin=stdin,
            timeout_s=timeout_s,
        ).stdout

    def put(self, path: str, content: str | bytes, mode: str = "644") -> None:
        """Write a file of root's."""
        self.exec(f"umask 077; cat >'{path}' && chmod {mode} '{path}'", stdin=content)

    def ssh(self, command: str, *, user: str = "root", stdin: str | None = None) -> str:
        """Run a command by the ordinary ssh client, with the lab's key and strict host keys.

        Raises CommandFailedError when it cannot log in, or the command fails.
        """
        known = self.key.with_name(f"{self.name}.known_hosts")
        known.write_text("".join(f"{line}\n" for line in self.known_hosts_lines()))
        options = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}"]
        words = ["ssh", "-F", "none", *(word for option in options for word in ("-o", option)), "-i", str(self.key)]
        return run([*words, "-p", str(self.ssh_port), f"{user}@127.0.0.1", command], stdin=stdin).stdout

    def known_hosts_lines(self) -> list[str]:
        """Its host keys under its loopback port and under its address, as known_hosts has them."""
        keys = [" ".join(line.split()[:2]) for line in self.exec("cat /etc/ssh/ssh_host_*_key.pub").splitlines()]
        return [f"{name} {key}" for name in (f"[127.0.0.1]:{self.ssh_port}", self.ip) for key in keys]

    def snapshot(self) -> snapshots.Snapshot:
        """Its files: path -> type, mode, owner, content; see `snapshot.IGNORED` for what is left out."""
        return snapshots.take(self.exec)

    def units(self) -> dict[str, str]:
        """Its units: name -> enabled/active."""
        return snapshots.units(self.exec)

    def accounts(self) -> dict[str, str]:
        """Its users and groups."""
        return snapshots.accounts(self.exec)

    def state(self) -> snapshots.State:
        """Everything that must be as before after `down`: compare two with `snapshot.diff`."""
        units = self.units() if self.systemd else {}
        return snapshots.State(self.snapshot(), units, self.accounts(), snapshots.engine(self.exec))

    def _inspect(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.container))
        return found[0]


def free_port() -> int:
    """A TCP port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_known_hosts(path: Path, machines: Iterable[Machine]) -> Path:
    """A known_hosts file that trusts exactly these machines."""
    path.write_text("".join(f"{line}\n" for machine in machines for line in machine.known_hosts_lines()))
    return path


def write_inventory(
    path: Path, machines: Iterable[Machine], *, user: str = "op", more: Mapping[str, Mapping[str, object]] | None = None
) -> Path:
    """An inventory of these machines under their names; `more` adds settings per host, or whole hosts."""
    hosts: dict[str, dict[str, object]] = {
        machine.name: {"address": "127.0.0.1", "port": machine.ssh_port, "user": user, "key": str(machine.key)}
        for machine in machines
    }
    for name, settings in (more or {}).items():
        hosts[name] = {**hosts.get(name, {}), **settings}
    path.write_text(json.dumps({"hosts": hosts}, indent=2))  # JSON is YAML
    return path

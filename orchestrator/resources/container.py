"""Containers on a host's Docker Engine."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.engine import explained
from orchestrator.resources.log import Reader
from orchestrator.resources.log import docker as docker_line
from orchestrator.resources.service import XIDS, Service
from orchestrator.templating.container import ContainerSpec, docker_run_line

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "deployctl.fingerprint"
"""The label in which a container carries the fingerprint of what it was made from."""


class Container(Service):
    """A container that is running as its specification says. A change means another container: Docker has no update."""

    title: ClassVar[str] = "container"
    exclusive: ClassVar[bool] = True
    kind: Literal["container"] = "container"
    spec: ContainerSpec

    @property
    def identity(self) -> str:
        """The container's name."""
        return self.spec.name

    def beside(self, other: Resource) -> bool:
        """Whether it is the copy that runs beside another one until it has taken its place."""
        twins = {self.spec.name, f"{self.spec.name}-b", self.spec.name.removesuffix("-b")} - {self.spec.name}
        return isinstance(other, Container) and other.spec.name in twins

    def probe(self) -> str:
        """Docker's own description of it."""
        return f"docker container inspect {quote(self.spec.name)}"

    def parse(self, output: str) -> Observed:
        """Read it. Environment values stay unread: they may be secrets of others."""
        try:
            found = json.loads(output or "[]")
        except json.JSONDecodeError:
            found = []
        if not found:
            return Observed(exists=False)
        return Observed(exists=True, fields=_observed(found[0]))

    def wanted(self) -> Fields:
        """Running, made from this specification and these files."""
        spec = self.spec
        return {
            "running": True,
            "fingerprint": self.fingerprint,
            "image": spec.image,
            "command": list(spec.command),
            "environment": sorted(spec.environment),
            "mounts": sorted(
                f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}" for mount in spec.mounts
            ),
            "ports": sorted(f"{port.host_ip}:{port.host_port}:{port.container_port}" for port in spec.ports),
            "user": spec.user or "",
            "groups": sorted(spec.group_add),
            "dropped capabilities": sorted(spec.cap_drop),
            "security options": sorted(spec.security_opt),
            "read-only root": spec.read_only,
            "tmpfs": sorted(spec.tmpfs),
            "pids limit": spec.pids_limit or 0,
            "privileges": sorted(f"{name} host" for name in ("network", "ipc") if getattr(spec, name) == "host"),
        }

    def compare(self, observed: Observed) -> tuple[Any, ...]:
        """As for all resources, but images bring environment of their own: only missing names count."""
        if observed.exists:
            present = set(observed.fields["environment"])
            names = [name for name in self.wanted()["environment"] if name in present]
            observed = observed.model_copy(update={"fields": {**observed.fields, "environment": names}})
        return super().compare(observed)

    def command(self) -> str:
        """The equal ``docker run``."""
        return docker_run_line(self.spec)

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Make it anew, whatever differs, and start it. Raises DeployError with Docker's words."""
        client = host.docker()
        with explained(host, f"Docker could not start {self.spec.name}"):
            self._recreate(client)

    def _recreate(self, client: "DockerClient") -> None:
        self._delete(client)
        spec = self.spec
        created = client.api.create_container(
            image=spec.image,
            name=spec.name,
            entrypoint=list(spec.entrypoint) if spec.entrypoint else None,
            command=list(spec.command),
            environment=dict(spec.environment),
            ports=[port.container_port for port in spec.ports],
            user=spec.user,
            labels={**dict(spec.labels), LABEL: self.fingerprint},
            stop_timeout=spec.stop_timeout_s,
            host_config=client.api.create_host_config(**_host_config(spec)),
        )
        client.api.start(created["Id"])

    def _delete(self, client: "DockerClient") -> None:
        """Stop and remove it. A vLLM that is loading swallows SIGTERM: after the grace it is killed (DESIGN 5.5)."""
        from docker.errors import NotFound

        try:
            container = client.containers.get(self.spec.name)
            container.stop(timeout=self.spec.stop_timeout_s or 10)
            container.remove(force=True)
        except NotFound:
            return

    def remove(self, host: Host, progress: Progress) -> None:
        """Stop and remove it. Raises DeployError with Docker's words."""
        client = host.docker()
        with explained(host, f"Docker could not remove {self.spec.name}"):
            self._delete(client)

    def state_script(self) -> str:
        """What Docker says of it."""
        return f"{self.probe()} 2>/dev/null"

    def read_state(self, output: str) -> ServiceState:
        """Read it."""
        observed = self.parse(output)
        if not observed.exists:
            return ServiceState(running=False, detail="no such container")
        return ServiceState(
            running=bool(observed.fields["running"]),
            restarts=int(observed.fields["restarts"]),
            detail=_doing(observed.fields),
            started_at=_moment(str(observed.fields["started"])),
            pid=observed.fields["pid"] or None,
        )

    def evidence_script(self) -> str:
        """What Docker says of its end, and what the kernel killed in it."""
        name, form = quote(self.spec.name), quote("{{.Id}}\t{{.State.Error}}")
        return (
            f"said=$(docker container inspect -f {form} {name} 2>&1); printf '%s\\n' \"${{said#*\t}}\"\n"
            'dmesg 2>/dev/null | grep -F -- "${said%%\t*}" | grep oom-kill: | tail -n 1\n'
            f"{XIDS}"
        )

    def log_script(self, *, lines: int, follow: bool, since: datetime | None = None, stamped: bool = False) -> str:
        """The container's log; vLLM writes to both streams. What Docker says of a missing one is no part of it."""
        name = quote(self.spec.name)
        words = ["--timestamps"] * stamped + ["--follow"] * follow
        words += ["--since", since.isoformat()] if since else []
        logs = f"docker logs --tail {int(lines)} {' '.join(words)} {name} 2>&1"
        return f"docker container inspect {name} >/dev/null || exit\nexec {logs}"

    def log_reader(self, since: datetime | None) -> Reader:
        """Docker keeps times."""
        return docker_line


def _doing(fields: Fields) -> str:
    """Its state in words, with how it ended where it did."""
    status, code = str(fields["status"]), fields["exit_code"]
    if status == "running":
        return status
    killed = " (OOM killed)" if fields["out_of_memory"] else ""
    return f"{status} {code}{killed}" if code or status == "exited" else status


def _moment(text: str) -> datetime | None:
    """Docker's time of day; it says year 1 for "never"."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.year > 1 else None


def _observed(found: dict[str, Any]) -> Fields:
    """The comparable fields of ``docker inspect``."""
    config, state, host = found["Config"], found["State"], found["HostConfig"]
    ports = [
        f"{binding.get('HostIp') or '0.0.0.0'}:{binding['HostPort']}:{inside.split('/')[0]}"  # noqa: S104  (read, not bound)
        for inside, bindings in (host.get("PortBindings") or {}).items()
        for binding in bindings or []
    ]
    return {
        "running": state.get("Status") == "running",
        "status": state.get("Status", ""),
        "started": state.get("StartedAt", ""),
        "pid": state.get("Pid", 0),
        "restarts": found.get("RestartCount", 0),
        "exit_code": state.get("ExitCode", 0),
        "out_of_memory": state.get("OOMKilled", False),
        "fingerprint": (config.get("Labels") or {}).get(LABEL, ""),
        "image": config.get("Image", ""),
        "image_id": found.get("Image", ""),
        "command": config.get("Cmd") or [],
        "environment": sorted(item.partition("=")[0] for item in config.get("Env") or []),
        "mounts": sorted(
            f"{item['Source']}:{item['Target']}{':ro' if item.get('ReadOnly') else ''}"
            for item in host.get("Mounts") or []
        ),
        "ports": sorted(ports),
        "user": config.get("User") or "",
        "groups": sorted(host.get("GroupAdd") or []),
        "dropped capabilities": sorted(host.get("CapDrop") or []),
        "security options": sorted(host.get("SecurityOpt") or []),
        "read-only root": bool(host.get("ReadonlyRootfs")),
        "tmpfs": sorted(":".join(filter(None, item)) for item in (host.get("Tmpfs") or {}).items()),
        "pids limit": host.get("PidsLimit") or 0,
        "privileges": _privileges(host),
    }


def _privileges(host: dict[str, Any]) -> list[str]:
    """What lets a container out of its confinement, however it was given."""
    modes = {"network": "NetworkMode", "ipc": "IpcMode", "pid": "PidMode", "uts": "UTSMode", "userns": "UsernsMode"}
    found = [f"{name} host" for name, key in modes.items() if host.get(key) == "host"]
    found += ["privileged"] if host.get("Privileged") else []
    found += [f"capability {name}" for name in host.get("CapAdd") or []]
    found += [f"device {device.get('PathOnHost')}" for device in host.get("Devices") or []]
    return sorted(found)


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    """The arguments of the SDK's ``create_host_config``."""
    from docker.types import DeviceRequest, LogConfig, Mount

    gpus = None
    if spec.gpus is not None:
        ids = None if spec.gpus == "all" else [str(index) for index in spec.gpus]
        gpus = [DeviceRequest(count=0 if ids else -1, device_ids=ids or [], capabilities=[["gpu"]])]
    return {
        # not "binds": their text form breaks on a colon in a path, and Docker makes missing sources as root
        "mounts": [Mount(item.target, item.source, type=item.type, read_only=item.read_only) for item in spec.mounts],
        "port_bindings": {port.container_port: (port.host_ip, port.host_port) for port in spec.ports},
        "device_requests": gpus,
        "ipc_mode": spec.ipc,
        "shm_size": spec.shm_size_bytes,
        "mem_limit": spec.memory_bytes,
        "log_config": LogConfig(type=spec.log_driver, config={}) if spec.log_driver else None,
        "restart_policy": {"Name": spec.restart},
        "cap_drop": list(spec.cap_drop),
        "security_opt": list(spec.security_opt),
        "read_only": spec.read_only,
        "tmpfs": list(spec.tmpfs),
        "group_add": list(spec.group_add),
        "pids_limit": spec.pids_limit,
        "network_mode": spec.network,
    }

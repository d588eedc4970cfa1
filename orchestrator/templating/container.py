"""The container as its template describes it, and as the ``docker run`` command that would start the same one."""

import csv
import io
import shlex
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError

from orchestrator.errors import UsageError


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL cannot be passed to a program")
    return text


def _no_dash(text: str) -> str:
    if text.startswith("-"):
        raise ValueError("a name that begins with '-' would be read as an option")
    return text


def _key(text: str) -> str:
    if any(character == "=" or character.isspace() for character in text):
        raise ValueError("a name cannot hold '=' or white space")
    return text


Text = Annotated[str, AfterValidator(_no_nul)]
Line = Annotated[str, Field(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[Line, AfterValidator(_no_dash)]
Key = Annotated[Line, AfterValidator(_key)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, hide_input_in_errors=True)


class Mount(_Part):
    """A folder or file of the host (``source`` is an absolute path) or a named volume (it is a name)."""

    source: Line
    target: Line
    read_only: bool = False

    @property
    def type(self) -> Literal["bind", "volume"]:
        """What Docker calls it."""
        return "bind" if self.source.startswith("/") else "volume"


class PublishedPort(_Part):
    """A port of the container, reachable on one address of the host."""

    host_ip: Line
    host_port: Port
    container_port: Port


class ContainerSpec(_Part):
    """One container. Sizes are bytes, times are seconds.

    Keys reach it through mounted files, never through here: what is in its environment, ``docker inspect`` shows.
    """

    name: Name
    image: Name
    entrypoint: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    command: tuple[Text, ...] = ()
    environment: dict[Key, Text] = {}
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    gpus: Literal["all"] | Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    network: Line | None = None
    ipc: Line | None = None
    shm_size_bytes: PositiveInt | None = None
    memory_bytes: PositiveInt | None = None
    log_driver: Line | None = None
    restart: Line = "unless-stopped"
    stop_timeout_s: NonNegativeInt = 30
    user: Line | None = None
    group_add: tuple[Line, ...] = ()
    pids_limit: PositiveInt | None = None
    cap_drop: tuple[Line, ...] = ()
    security_opt: tuple[Line, ...] = ()
    read_only: bool = False
    tmpfs: tuple[Line, ...] = ()
    labels: dict[Key, Text] = {}


def parse_container(text: str) -> ContainerSpec:
    """Read what ``vllm/container.yaml.j2`` (or the user's override) rendered. Raises UsageError."""
    remedy = "Correct the override of vllm/container.yaml.j2; `deployctl render vllm` shows what it gives."
    try:
        return ContainerSpec.model_validate(_load(text, remedy))
    except ValidationError as error:
        why = "\n".join(f"{_key_path(problem['loc'])}: {problem['msg']}" for problem in error.errors())
        raise UsageError("the container's description is wrong", why=why, remedy=remedy) from None


def _load(text: str, remedy: str) -> object:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UsageError(
            "the container's description is not valid YAML", why=f"{line}{error.problem or ''}", remedy=remedy
        ) from None
    except (YAMLError, ValueError) as error:
        raise UsageError(
            "the container's description is not valid YAML", why=type(error).__name__, remedy=remedy
        ) from None


def _key_path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in location) or "the whole file"


def docker_run_line(spec: ContainerSpec) -> str:
    """The equal ``docker run`` command for a POSIX shell: one option a line, joined by backslashes."""
    head, *rest = ["docker run --detach", *map(shlex.quote, _options(spec)), shlex.quote(spec.image)]
    words = [*(spec.entrypoint or ())[1:], *spec.command]
    return " \\\n  ".join([head, *rest, *map(shlex.quote, words)])


def _options(spec: ContainerSpec) -> list[str]:
    """Every option as ``--name=value``, so that no value can be taken for an option."""
    single = {
        "name": spec.name,
        "entrypoint": spec.entrypoint[0] if spec.entrypoint else None,
        "restart": spec.restart,
        "stop-timeout": spec.stop_timeout_s,
        "gpus": _gpus(spec),
        "network": spec.network,
        "ipc": spec.ipc,
        "shm-size": spec.shm_size_bytes,
        "memory": spec.memory_bytes,
        "log-driver": spec.log_driver,
        "user": spec.user,
        "pids-limit": spec.pids_limit,
        "read-only": "true" if spec.read_only else None,
    }
    several = {
        "group-add": spec.group_add,
        "cap-drop": spec.cap_drop,
        "security-opt": spec.security_opt,
        "tmpfs": spec.tmpfs,
        "env": tuple(f"{name}={value}" for name, value in spec.environment.items()),
        "label": tuple(f"{name}={value}" for name, value in spec.labels.items()),
        "mount": tuple(map(_mount, spec.mounts)),
        "publish": tuple(map(_publish, spec.ports)),
    }
    return [f"--{name}={value}" for name, value in single.items() if value is not None] + [
        f"--{name}={value}" for name, values in several.items() for value in values
    ]


def _gpus(spec: ContainerSpec) -> str | None:
    if spec.gpus is None or spec.gpus == "all":
        return spec.gpus
    return _csv([f"device={','.join(map(str, spec.gpus))}"])


def _mount(mount: Mount) -> str:
    fields = [f"type={mount.type}", f"source={mount.source}", f"target={mount.target}"]
    return _csv([*fields, *(["readonly"] if mount.read_only else [])])


def _publish(port: PublishedPort) -> str:
    address = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
    return f"{address}:{port.host_port}:{port.container_port}"


def _csv(fields: list[str]) -> str:
    """Docker reads ``--mount`` and ``--gpus`` as one line of CSV, so that a path may hold a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()

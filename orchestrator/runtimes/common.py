"""What both runtimes put on a host alike: directories, model files, and the service that keeps the engine up."""

from collections.abc import Sequence

from orchestrator.errors import RefusedError
from orchestrator.facts import Facts, Layout
from orchestrator.models.resolved import ResolvedFiles, ResolvedModel
from orchestrator.resources.account import Account
from orchestrator.resources.files import Directory, File, UnitFile
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.process import Process
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.unit import Unit
from orchestrator.resources.venv import Venv
from orchestrator.runtimes.deployment import Inputs, fingerprint

SUPERVISOR_VERSION = "4.3.0"
"""supervisord from PyPI, looked at for DESIGN section 6."""

DEFAULT_PYTHON = "python3"

SOCKET_MAX = 100  # bytes; the kernel allows 107 for a Unix socket's path


class Owner:
    """Who owns what deployctl writes, and as whom an engine runs."""

    def __init__(self, facts: Facts, account: str) -> None:
        system = facts.layout.scope == "system"
        self.files = (facts.user, facts.group)
        self.engine = (account, account) if system else self.files
        self.account = account if system else None

    def directory(self, path: str, *, mode: str = "755", engine: bool = False, keep: bool = False) -> Directory:
        """A directory of ours, or one that the engine fills (then it goes with its contents)."""
        user, group = self.engine if engine else self.files
        return Directory(path=path, owner=user, group=group, mode=mode, contents=engine, keep=keep)

    def file(self, path: str, content: str) -> File:
        """A readable file of ours."""
        return File(path=path, content=content, owner=self.files[0], group=self.files[1])


def base_directories(layout: Layout, owner: Owner, name: str) -> list[AnyResource]:
    """The directories that every deployment stands on, outermost first."""
    wanted = [layout.state, layout.data, layout.models, layout.config, layout.deployment_config(name), layout.opt]
    return [owner.directory(path) for path in dict.fromkeys(wanted)]


def model_directory(layout: Layout, files: ResolvedFiles) -> str:
    """Where one commit of a model lies; its name changes with the content, so nothing is ever overwritten.

    What stands beside a GGUF has a folder of its own: the whole model of the same commit has files of the same names,
    and one may go when the other stays.
    """
    use = "" if isinstance(files, ResolvedModel) else "-base"
    if files.repo:
        return f"{layout.models}/{files.repo}/{files.commit[:12]}{use}"
    return f"{layout.models}/local/{fingerprint([file.sha256 or file.git_sha1 for file in files.files])[:12]}{use}"


def model_files(inputs: Inputs, owner: Owner, files: ResolvedFiles, mode: str) -> list[AnyResource]:
    """A model's files, and the directories that lead to them."""
    layout = inputs.layout
    path = model_directory(layout, files)
    above = [layout.models]
    for part in path.removeprefix(f"{layout.models}/").split("/")[:-1]:
        above.append(f"{above[-1]}/{part}")
    delivery = ModelFiles.model_validate(
        {"path": path, "files": files.files, "mode": mode, "token_env": inputs.spec.hub.token_env}
    )
    return [*(owner.directory(folder) for folder in above[1:]), delivery]


def accounts(facts: Facts, owner: Owner, home: str) -> list[AnyResource]:
    """The system account of the engine, where deployctl may add one."""
    if owner.account is None:
        return []
    return [Account(name=owner.account, home=home, groups=("video", "render"))]


def systemd_service(
    inputs: Inputs, name: str, unit_name: str, unit_text: str, made_from: Sequence[object], follows: Sequence[str]
) -> list[AnyResource]:
    """A unit file of ours and the unit that runs from it."""
    path = f"/etc/systemd/system/{unit_name}"
    file = UnitFile(path=path, content=unit_text, owner="root", group="root")
    unit = Unit(
        name=unit_name,
        mark=f"{inputs.layout.deployment_state(name)}/started",
        fingerprint=fingerprint([unit_text, *made_from]),
        follows=(file.address, *follows),
    )
    return [file, unit]


def supervised_service(
    inputs: Inputs,
    owner: Owner,
    name: str,
    command: Sequence[str],
    environment: Sequence[tuple[str, str]],
    directory: str,
    made_from: Sequence[object],
    follows: Sequence[str],
) -> list[AnyResource]:
    """The embedded supervisor, shared by all deployments of the host, and a program in it."""
    layout = inputs.layout
    config, venv, logs = _supervisor_places(layout)
    log = f"{logs}/{name}.log"
    text = inputs.renderer.render(
        "supervisor/program.conf.j2",
        {
            "name": name,
            "exec": list(command),
            "environment": list(environment),
            "directory": directory,
            "log_file": log,
            "stop_wait_s": 30,
            "user": owner.account,
        },
    )
    program = owner.file(f"{config}/programs/{name}.conf", text)
    process = Process(
        name=name,
        venv=venv,
        conf=f"{config}/supervisord.conf",
        journal=f"{logs}/supervisord.log",
        program=program.path,
        log=log,
        mark=f"{layout.deployment_state(name)}/started",
        fingerprint=fingerprint([text, *made_from]),
        follows=(program.address, *follows),
    )
    return [*_supervisor(inputs, owner), program, process]


def _supervisor_places(layout: Layout) -> tuple[str, str, str]:
    """The supervisor's configuration, its virtual environment, and all logs."""
    return f"{layout.config}/supervisor", f"{layout.opt}/supervisor-{SUPERVISOR_VERSION}", f"{layout.data}/log"


def _supervisor(inputs: Inputs, owner: Owner) -> list[AnyResource]:
    """supervisord itself. Raises RefusedError where its socket's path would be too long, or Python is missing."""
    layout = inputs.layout
    config, venv, logs = _supervisor_places(layout)
    socket = f"{layout.state}/supervisor.sock"
    if len(socket.encode()) > SOCKET_MAX:
        raise RefusedError(
            f"the path {socket} is too long for a socket",
            host=inputs.facts.host,
            remedy="set XDG_STATE_HOME to a shorter path",
        )
    text = inputs.renderer.render(
        "supervisor/supervisord.conf.j2",
        {
            "socket": socket,
            "pidfile": f"{layout.state}/supervisord.pid",
            "logfile": f"{logs}/supervisord.log",
            "include": f"{config}/programs/*.conf",
            "directory": layout.data,
        },
    )
    install = ("install", "--quiet", f"supervisor=={SUPERVISOR_VERSION}")
    return [
        owner.directory(config),
        owner.directory(f"{config}/programs"),
        Directory(path=logs, owner=owner.files[0], group=owner.files[1], contents=True),
        Venv(path=venv, python=python_for(inputs.facts, (3, 8)), steps=(install,)),
        owner.file(f"{config}/supervisord.conf", text),
    ]


def python_for(
    facts: Facts, least: tuple[int, int], wanted: str = DEFAULT_PYTHON, most: tuple[int, int] = (3, 99)
) -> str:
    """A Python of the host that makes virtual environments: the ``wanted`` one (a name or a path), any by default.

    Raises RefusedError with the remedy when there is none of these versions, or the wanted one is not there.
    """
    named = [python for python in facts.pythons if python.path == wanted or python.path.endswith(f"/{wanted}")]
    if not named and wanted != DEFAULT_PYTHON:
        have = ", ".join(f"{python.path} ({python.version[0]}.{python.version[1]})" for python in facts.pythons)
        raise RefusedError(
            f"the host has no {wanted} in its PATH", host=facts.host, why=f"it has {have or 'no Python'}"
        )
    among = named if wanted != DEFAULT_PYTHON else [*named, *facts.pythons]
    fit = [python for python in among if least <= python.version <= most]
    if found := next((python.path for python in fit if python.venv), None):
        return found
    name = f"Python {least[0]}.{least[1]} or newer with venv"
    remedy = "apt-get install python3-venv" if fit else "install Python, or name it with `vllm.python`"
    raise RefusedError(f"the host has no {name}", host=facts.host, remedy=remedy)


def check_ports(facts: Facts, name: str, wanted: Sequence[tuple[str, int]], own_ports: Sequence[int]) -> None:
    """Refuse a port that somebody else listens on. ``own_ports`` are those of this very deployment, as it runs now."""
    for bind, port in wanted:
        if port not in own_ports and facts.listening("127.0.0.1" if bind == "localhost" else bind, port):
            option = "--port" if port == wanted[0][1] else "--engine-port"
            raise RefusedError(
                f"port {port} is taken by another program",
                host=facts.host,
                why=f"something already listens on it, and it is not the deployment {name}",
                remedy=f"stop it (`ss -ltnp | grep {port}` on the host names it), or choose another {option}",
            )


def docker_bytes(size: str) -> int:
    """Docker's sizes (``512m``, ``1g``) in bytes; the spec has checked the form."""
    units = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    unit = size[-1].lower()
    return int(size[:-1]) * units[unit] if unit in units else int(size)


def unique(resources: Sequence[AnyResource]) -> tuple[AnyResource, ...]:
    """Each once: what several parts of a deployment stand on comes with each of them."""
    return tuple({item.address: item for item in resources}.values())


def require_tools(facts: Facts, tools: Sequence[str], purpose: str) -> None:
    """Refuse a host that lacks a program."""
    missing = [tool for tool in tools if tool not in facts.tools]
    if missing:
        names = " ".join(missing)
        raise RefusedError(
            f"the host lacks {names}", host=facts.host, why=f"needed for {purpose}", remedy=f"apt-get install {names}"
        )

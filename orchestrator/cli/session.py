"""What the options of a command open: the console, the inventory's hosts, the spec for each."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.console import Console
from orchestrator.cli.options import overrides
from orchestrator.errors import DeployError, ExitStatus, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.failure import Failure
    from orchestrator.facts import Scope
    from orchestrator.hosts.base import Host
    from orchestrator.hosts.connect import Outcome
    from orchestrator.hosts.secret import Secret
    from orchestrator.spec import HostEntry, Inventory, Spec

T = TypeVar("T")

SUDO_VARIABLE = "DEPLOYCTL_SUDO_PASSWORD"

_WORST_FIRST = (
    ExitStatus.INTERRUPTED,
    ExitStatus.FAILED,
    ExitStatus.UNHEALTHY,
    ExitStatus.LOCKED,
    ExitStatus.REFUSED,
    ExitStatus.UNREACHABLE,
    ExitStatus.USAGE,
    ExitStatus.DIFFERENT,
)


def worst(statuses: Sequence[ExitStatus]) -> ExitStatus:
    """The exit code that tells most of what went wrong on several hosts."""
    return next((status for status in _WORST_FIRST if status in statuses), ExitStatus.DONE)


@dataclass
class Session:
    """One run of one command."""

    options: dict[str, Any]
    console: Console = field(init=False)
    addresses: dict[str, tuple[str, ...]] = field(init=False, default_factory=dict)
    """By host, where this machine connects to without a detour."""

    def __post_init__(self) -> None:
        option = self.options.get
        self.console = Console(
            json_mode=bool(option("json_mode")),
            verbose=bool(option("verbose")),
            color=not option("no_color") and not os.environ.get("NO_COLOR"),
        )

    @property
    def scope(self) -> "Scope | None":
        """System-wide or the user's own, where the user insists."""
        scope: Scope | None = self.options.get("scope")
        return scope

    @property
    def templates(self) -> Path | None:
        """The folder of the user's own templates."""
        folder = self.options.get("templates")
        return Path(folder) if folder else None

    def inventory(self) -> "Inventory":
        """The inventory: as given, or the folder ``inventories`` where there is one."""
        from orchestrator.spec import Inventory

        given = self.options.get("inventory")
        if given:
            return Inventory.load(Path(given))
        default = Path("inventories")
        return Inventory.load(default if default.is_dir() else None)

    def spec_file(self) -> Path | None:
        """The spec file: as given, or ``deployctl.yaml`` where there is one."""
        from orchestrator.spec import DEFAULT_FILE

        given = self.options.get("config")
        if given:
            return Path(given)
        return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None

    def spec(self, runtime: str | None, entry: "HostEntry | None" = None) -> "Spec":
        """The spec for a host: file, then the host's variables, then the command line. Raises UsageError."""
        from orchestrator.spec import load_spec

        changes, names = overrides(self.options, runtime)
        runtimes = (runtime,) if runtime else ()
        return load_spec(self.spec_file(), changes, option_names=names, host=entry, runtimes=runtimes)

    def entries(self, fallback: Sequence[str] = ("local",)) -> "tuple[HostEntry, ...]":
        """The hosts that the command line names, else ``fallback``. Raises UsageError."""
        named = self.options.get("hosts") or fallback
        entries = self.inventory().resolve(list(named))
        become = {True: "always", False: "never", None: None}[self.options.get("sudo")]
        if self.options.get("scope") == "user":
            become = "never"
        for entry in entries:
            if entry.note:
                self.console.tell(f"note: {entry.note}")
        return tuple(entry.model_copy(update={"become": become}) if become else entry for entry in entries)

    def open(self, entries: "Sequence[HostEntry]") -> "list[Host]":
        """The hosts, which connect on first use."""
        from orchestrator.hosts.connect import open_host

        known = self.options.get("known_hosts")
        password = self._sudo_password()
        self.addresses |= {entry.name: () if entry.jump or entry.is_local else (entry.address,) for entry in entries}
        return [
            open_host(
                entry,
                sudo_password=password,
                known_hosts=Path(known).expanduser() if known else None,
                connect_timeout=self.options.get("connect_timeout") or 10.0,
            )
            for entry in entries
        ]

    def _sudo_password(self) -> "Secret | None":
        from orchestrator.hosts.secret import Secret

        value = os.environ.get(SUDO_VARIABLE)
        if not value and self.options.get("ask_sudo_password"):
            value = click.prompt("sudo password", hide_input=True, err=True)
        return Secret(value) if value else None

    def on_each(
        self, hosts: "Sequence[Host]", work: "Callable[[Host], T]", *, limit: int | None = None
    ) -> "list[Outcome[T]]":
        """Do the work on every host at once, within ``limit`` or the bound that was asked for.

        Failures are told as they are collected.
        """
        from orchestrator.hosts.connect import on_each

        outcomes = on_each(hosts, work, limit=limit or self.options.get("parallel_hosts") or 8)
        for outcome in outcomes:
            if outcome.error is not None:
                self.console.error(outcome.error)
        return outcomes


def runtime_argument(value: str | None) -> str | None:
    """The runtime as typed. Raises UsageError for a word that is none."""
    if value is not None and value not in ("ollama", "vllm"):
        raise UsageError(f"there is no runtime {value!r}", remedy="choose ollama or vllm")
    return value


def error_document(error: DeployError) -> "Failure":
    """A failure as JSON."""
    return {
        "what": error.what,
        "host": error.host,
        "why": error.why,
        "remedy": error.remedy,
        "exit_code": int(error.status),
    }

"""``deployctl logs``: what engines say, from wherever their supervisors keep it, of several hosts as one."""

import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.documents import LogsDocument
    from orchestrator.cli.session import Session
    from orchestrator.hosts.base import Host
    from orchestrator.resources.log import Line
    from orchestrator.resources.service import Service

_FOLLOW_S = 24 * 3600.0
_TIME_IS_UP = 124
_USUAL, _SEARCHED = 200, 100_000
"""Lines that are shown unless told otherwise, and lines that are looked through for --grep and --since."""
_COLORS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")

_EPILOG = """\b
Examples:
  deployctl logs vllm --host gpu01 -n 500
  deployctl logs --host gpu01 --host gpu02 --follow
  deployctl logs ollama --since 2h --grep 'error|warn'
  deployctl logs --gateway --grep '"status":401'
"""


@click.command(epilog=_EPILOG)
@click.argument("name", required=False, metavar="[ollama|vllm|NAME]")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(1, 1_000_000),
    help=f"Last lines to show of each [default: {_USUAL}, or all with --since].",
)
@click.option("--follow", "-f", is_flag=True, help="Go on as new lines come, until interrupted.")
@click.option("--since", metavar="TIME", help="Only newer lines: 10m, 2h, 1d, or 2026-11-24 09:30 (your time).")
@click.option("--grep", metavar="REGEX", help="Only lines with this in them; capitals count if it has any.")
@click.option("--gateway", is_flag=True, help="What came in at the gateway of each host, and with which key, instead.")
@host_options
@common_options
def logs(
    name: str | None,
    lines: int | None,
    follow: bool,
    since: str | None,
    grep: str | None,
    gateway: bool,
    **options: Any,
) -> int:
    """Show the log of engines: of journald, Docker or a file alike, with secrets masked.

    Lines of several hosts are put in the order of their times, each with its host's name.
    """
    from orchestrator.cli.session import Session, error_document, worst

    session = Session(options)
    wanted = Wanted(lines, since_when(since), pattern(grep), follow and not session.console.json_mode)
    reading = _Reading(session, wanted, gateway=gateway)
    try:
        failures = reading.run(name)
    except KeyboardInterrupt:
        if not wanted.follow:
            raise
        return 130  # how one leaves it; nothing more to say
    status = worst([error.status for error in failures])
    document: LogsDocument = {
        "schema": "deployctl.logs/1",
        "exit_code": int(status),
        "logs": [
            {"host": source.host.name, "name": source.name, "lines": [line.text for line in source.lines]}
            for source in reading.sources
        ],
        "errors": [error_document(error) for error in failures],
    }
    session.console.document(document)
    return int(status)


@dataclass(frozen=True)
class Wanted:
    """Which lines. ``lines`` is how many of each log, where that was said."""

    lines: int | None
    since: datetime | None
    grep: re.Pattern[str] | None
    follow: bool

    @property
    def read(self) -> int:
        """How many lines to ask for: enough to find what is looked for."""
        if self.grep or (self.since and self.lines is None):
            return _SEARCHED
        return self.lines or _USUAL

    def last(self, lines: "list[Line]") -> "list[Line]":
        """Those to show of what was found."""
        if self.lines is None and self.since is not None:
            return lines
        return lines[-(self.lines or _USUAL) :]


@dataclass
class _Source:
    """The log of one deployment, or of the gateway, on one host."""

    host: "Host"
    name: str
    service: "Service"
    lines: "list[Line]" = field(default_factory=list)
    label: str = ""
    color: str | None = None


class _Reading:
    def __init__(self, session: "Session", wanted: Wanted, *, gateway: bool) -> None:
        self.session, self.wanted, self.gateway = session, wanted, gateway
        self.sources: list[_Source] = []
        self._lock = threading.Lock()

    def run(self, name: str | None) -> list[DeployError]:
        """Read all the logs and show them; what went wrong on some hosts."""
        entries = self.session.entries()
        hosts = self.session.open(entries)
        by_name = dict(zip([host.name for host in hosts], entries, strict=True))
        opened = list(hosts)
        try:
            outcomes = self.session.on_each(hosts, lambda host: self._find(host, name))
            self.sources = [source for outcome in outcomes for source in outcome.value or ()]
            self._label()
            failures = [outcome.error for outcome in outcomes if outcome.error is not None]
            seen: set[str] = set()
            for source in self.sources:  # each is read by a thread of its own, and a host belongs to one thread
                if source.host.name in seen:
                    source.host = self.session.open([by_name[source.host.name]])[0]
                    opened.append(source.host)
                seen.add(source.host.name)
            failures += self._read()
        finally:
            for host in opened:
                host.close()
        if not self.wanted.follow:
            self._show_in_order()
        return failures

    def _find(self, host: "Host", name: str | None) -> list[_Source]:
        from orchestrator.cli.deployed import deployed
        from orchestrator.planning.deploy import glance

        manifests = deployed(host, glance(host, self.session.scope), name)
        if not manifests:
            self.session.console.tell(f"{host.name}: nothing is deployed")
        if self.gateway:  # all deployments of a host share it
            shared = next((service for item in manifests if (service := item.gateway_service)), None)
            if manifests and shared is None:
                self.session.console.tell(f"{host.name}: there is no gateway (--expose direct)")
            return [_Source(host, "gateway", shared)] if shared else []
        services = ((manifest.name, manifest.running_service) for manifest in manifests)
        return [_Source(host, name, service) for name, service in services if service is not None]

    def _label(self) -> None:
        """Names that tell the sources apart, as short as that allows, and a colour for each."""
        hosts = {source.host.name for source in self.sources}
        names = {source.name for source in self.sources}
        for number, source in enumerate(self.sources):
            words = ([source.host.name] if len(hosts) > 1 else []) + ([source.name] if len(names) > 1 else [])
            source.label, source.color = "/".join(words), _COLORS[number % len(_COLORS)]
        width = max((len(source.label) for source in self.sources), default=0)
        for source in self.sources:
            source.label = source.label.ljust(width)

    def _read(self) -> list[DeployError]:
        by_host = {id(source.host): source for source in self.sources}
        hosts = [source.host for source in self.sources]
        limit = len(hosts) if self.wanted.follow else None
        done = self.session.on_each(hosts, lambda host: self._read_one(by_host[id(host)]), limit=limit)
        return [outcome.error for outcome in done if outcome.error is not None]

    def _read_one(self, source: _Source) -> None:
        from orchestrator.health.mask import mask

        wanted, reader = self.wanted, source.service.log_reader(self.wanted.since)

        def take(raw: str) -> None:
            line = reader(raw)
            if line is None:
                return
            line = line._replace(text=mask(_shown(line.text)))
            if wanted.grep and not wanted.grep.search(line.text):
                return
            if wanted.follow:
                self._show(source, line.text)
            else:
                source.lines.append(line)

        script = source.service.log_script(lines=wanted.read, follow=wanted.follow, since=wanted.since, stamped=True)
        result = source.host.run(script, timeout=_FOLLOW_S if wanted.follow else 120.0, on_line=take)
        source.lines = wanted.last(source.lines)
        if not result and result.exited != _TIME_IS_UP:
            why = "" if source.lines else mask(result.tail())
            what = f"the log of {source.name} cannot be read"
            remedy = "deployctl status" if self.gateway else f"deployctl diagnose {source.name}"
            raise DeployError(what, host=source.host.name, why=why, remedy=remedy)

    def _show_in_order(self) -> None:
        """By time; a line without one stays behind the line before it."""
        timed: list[tuple[datetime, int, int, str]] = []
        for index, source in enumerate(self.sources):
            last = datetime.min.replace(tzinfo=UTC)
            for number, line in enumerate(source.lines):
                last = max(last, line.at or last)
                timed.append((last, index, number, line.text))
        for _, index, _, text in sorted(timed):
            self._show(self.sources[index], text)

    def _show(self, source: _Source, text: str) -> None:
        console = self.session.console
        prefix = f"{click.style(source.label, fg=source.color)} | " if source.label.strip() else ""
        with self._lock:
            console.say(f"{prefix}{text}")


def _shown(text: str) -> str:
    """A line without terminal escapes; of a progress bar, which draws over itself, what it drew last."""
    from orchestrator.health.text import plain

    return next((part for part in reversed(plain(text).split("\n")) if part.strip()), "")


def since_when(text: str | None) -> datetime | None:
    """A moment, from how long ago it was or from how it is written. Raises UsageError."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})\s*(s|m|min|h|d)", text.strip())
    units = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}
    try:
        if found:
            return datetime.now(UTC) - timedelta(**{units[found[2]]: int(found[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)  # without a zone, that of this machine
    except (ValueError, OverflowError):
        remedy = "say 10m, 2h, 1d, or a moment such as 2026-11-24 09:30"
        raise UsageError(f"--since {text!r} is no time", remedy=remedy) from None


def pattern(text: str | None) -> re.Pattern[str] | None:
    """A regular expression, in which capitals count only if it has some. Raises UsageError."""
    if text is None:
        return None
    try:
        return re.compile(text, 0 if text != text.lower() else re.IGNORECASE)
    except re.error as error:
        remedy = "put a backslash before ( [ * + ? that are meant as they stand"
        raise UsageError(f"--grep {text!r} is no regular expression", why=str(error), remedy=remedy) from error

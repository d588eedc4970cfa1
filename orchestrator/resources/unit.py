"""Services under systemd."""

from datetime import UTC, datetime
from typing import ClassVar, Literal

from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.log import Reader, journal
from orchestrator.resources.observe import fields
from orchestrator.resources.service import Service, forget

_SHOW = "LoadState,ActiveState,SubState,UnitFileState,NRestarts,Result,ExecMainStatus,ActiveEnterTimestamp,MainPID"


_LAST_TWO = (
    "index($0, began) == 1 { first = second; second = NR } { line[NR] = $0 } "
    "END { for (i = first ? first : 1; i <= NR; i++) print line[i] }"
)


class Unit(Service):
    """A systemd service that is enabled and running. Its unit file is a resource of its own.

    ``mark`` is the path of the file that remembers the fingerprint. ``vendor`` says that the unit is not ours: then
    ``remove`` gives it back as it was (``was_active``, ``was_enabled``), restarted without our drop-in.
    """

    title: ClassVar[str] = "systemd unit"
    kind: Literal["unit"] = "unit"
    name: str
    mark: str
    vendor: bool = False
    was_active: bool = False
    was_enabled: bool = False

    @property
    def identity(self) -> str:
        """The unit's name."""
        return self.name

    @property
    def gives_back(self) -> bool:
        """A vendor's unit is given back as it was."""
        return self.vendor

    def probe(self) -> str:
        """What systemd says of it, and the fingerprint it was started with."""
        return (
            f"systemctl show -p {_SHOW} -- {quote(self.name)} | sed 's/=/\\t/'\n"
            f'field fingerprint "$(cat {quote(self.mark)})"'
        )

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        exists = seen.get("LoadState") == "loaded"
        return Observed(
            exists=exists,
            fields={
                "active": seen.get("ActiveState", "") == "active",
                "enabled": seen.get("UnitFileState", "") == "enabled",
                "fingerprint": seen.get("fingerprint", ""),
                "restarts": seen.get("NRestarts", "0"),
            },
        )

    def wanted(self) -> Fields:
        """Running, enabled at boot, started from the present files."""
        return {"active": True, "enabled": True, "fingerprint": self.fingerprint}

    def command(self) -> str:
        """``systemctl``."""
        return f"systemctl daemon-reload && systemctl enable --now {quote(self.name)}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Enable it, and (re)start it when it is down or runs from other files than wanted."""
        name, mark = quote(self.name), quote(self.mark)
        fresh = observed.fields.get("active") is True and observed.fields.get("fingerprint") == self.fingerprint
        told = f"{{ journalctl --no-pager -q -o cat -n 4 -u {name} >&2; exit 1; }}"  # systemctl itself does not say why
        restart = f"systemctl reset-failed {name} 2>/dev/null || true; systemctl restart {name} || {told}\n"
        start = "" if fresh else restart
        script = (
            f'set -e\nmkdir -p "$(dirname {mark})"; systemctl enable --quiet {name}\n{start}'
            f"printf '%s' {quote(self.fingerprint)} > {mark}.part; mv -f {mark}.part {mark}\n"
        )
        what = f"systemd could not start {self.name}"
        run_or_fail(host, what, script, timeout=300, remedy=f"systemctl status {self.name}; journalctl -u {self.name}")

    def remove(self, host: Host, progress: Progress) -> None:
        """Stop and disable it, or give a vendor's unit back as it was."""
        name = quote(self.name)
        steps = [forget(self.mark), f"systemctl cat {name} >/dev/null 2>&1 || exit 0"]
        if not (self.vendor and self.was_enabled):
            steps.append(f"systemctl disable --quiet {name} 2>/dev/null || true")
        steps.append(f"systemctl stop {name}")
        steps.append(f"systemctl reset-failed {name} 2>/dev/null || true")
        run_or_fail(host, f"systemd could not stop {self.name}", "\n".join(steps), timeout=300)

    def state_script(self) -> str:
        """What systemd says of it."""
        return f"TZ=UTC systemctl show -p {_SHOW} -- {quote(self.name)} | sed 's/=/\\t/'"

    def read_state(self, output: str) -> ServiceState:
        """Read it."""
        seen = fields(output)
        restarts, code = seen.get("NRestarts", "0"), seen.get("ExecMainStatus", "0")
        said = [seen.get(key, "") for key in ("ActiveState", "SubState", "Result")]
        said += [] if code in ("", "0") else [f"({code})"]
        return ServiceState(
            running=seen.get("ActiveState") == "active",
            restarts=int(restarts) if restarts.isdigit() else 0,
            detail=" ".join(said).strip(),
            started_at=_moment(seen.get("ActiveEnterTimestamp", "")),
            pid=int(pid) if (pid := seen.get("MainPID", "0")).isdigit() and pid != "0" else None,
        )

    def log_script(self, *, lines: int, follow: bool, since: datetime | None = None, stamped: bool = False) -> str:
        """The journal of the unit."""
        form = "short-iso-precise" if stamped else "cat"
        begin = f"--since @{since.timestamp():.6f}" if since else ""
        on = "-f" if follow else ""
        return f"exec journalctl --no-pager -q -o {form} -n {int(lines)} {begin} {on} -u {quote(self.name)}"

    def log_reader(self, since: datetime | None) -> Reader:
        """The journal keeps times."""
        return journal

    def tail_script(self, lines: int) -> str:
        """Prints its last lines since its files were last written, of its last two starts.

        What an earlier deployment died of, or an earlier run, explains nothing.
        """
        name = quote(self.name)
        return (
            f"files=$(systemctl show -p FragmentPath -p DropInPaths --value -- {name})\n"
            f"since=$(stat -c %Y -- $files 2>/dev/null | sort -n | tail -n 1)\n"
            f'journalctl --no-pager -q -o cat -n {int(lines)} --since "@${{since:-0}}" -u {name} | '
            f"awk -v began={quote(f'Starting {self.name}')} {quote(_LAST_TWO)}\n"
        )


def _moment(text: str) -> datetime | None:
    """systemd's time of day in UTC (``Tue 2026-11-24 11:03:21 UTC``); empty for "never"."""
    try:
        return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None

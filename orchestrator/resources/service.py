"""What keeps an engine running: the base of unit, supervised process and container.

A service was started from certain files. It remembers which by a *fingerprint*, so that a change of one of them
restarts it, and a run that was cut between the change and the restart is noticed by the next.
"""

from abc import abstractmethod
from datetime import datetime

from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import Host, quote
from orchestrator.resources.base import Observed, Resource
from orchestrator.resources.log import Reader

XIDS = r"""dmesg 2>/dev/null | awk -v now="$(cut -d. -f1 /proc/uptime)" '/NVRM: Xid/ {
  t = $0; sub(/^\[ */, "", t); if (now - int(t) < 3600) print }' | tail -n 3
"""
"""What the GPU's driver complained about within the last hour."""


def forget(mark: str) -> str:
    """Remove the file of a fingerprint, and its folder where nothing else is remembered there, as of the gateway."""
    return f'rm -f -- {quote(mark)}; rmdir -- "$(dirname {quote(mark)})" 2>/dev/null || true\n'


class Service(Resource):
    """A resource that runs. ``follows`` are the addresses of resources whose change means a restart."""

    fingerprint: str
    follows: tuple[str, ...] = ()

    def stale(self, observed: Observed) -> Observed:
        """What was observed, as seen after something it follows has changed: no longer started from that."""
        return observed.model_copy(update={"fields": {**observed.fields, "fingerprint": "changed"}})

    @abstractmethod
    def state_script(self) -> str:
        """A script that prints what ``read_state`` reads."""

    @abstractmethod
    def read_state(self, output: str) -> ServiceState:
        """How it is doing, from the script's output."""

    def state(self, host: Host) -> ServiceState:
        """How it is doing now."""
        return self.read_state(host.run(self.state_script(), timeout=30).stdout)

    @abstractmethod
    def log_script(self, *, lines: int, follow: bool, since: datetime | None = None, stamped: bool = False) -> str:
        """A script that prints the last lines of its log, and goes on printing where ``follow`` says so.

        ``since`` leaves out older ones; with ``stamped`` they are what ``log_reader`` reads, else bare.
        """

    @abstractmethod
    def log_reader(self, since: datetime | None) -> Reader:
        """What reads stamped lines. It leaves out what is older than ``since`` where the script could not."""

    def evidence_script(self) -> str:
        """A script that prints what the host knows of its last end besides its log, in the words of who says it."""
        return XIDS

    def evidence(self, host: Host) -> str:
        """What that script prints."""
        return host.run(self.evidence_script(), timeout=30).stdout

    def tail_script(self, lines: int) -> str:
        """A script that prints the last lines of its log, of what it runs from now."""
        return self.log_script(lines=lines, follow=False)

    def log_tail(self, host: Host, lines: int) -> str:
        """What that script prints."""
        return host.run(self.tail_script(lines), timeout=30).stdout

"""What keeps an engine running: the base of unit, supervised process and container.

A service was started from certain files. It remembers which by a *fingerprint*, so that a change of one of them
restarts it, and a run that was cut between the change and the restart is noticed by the next.
"""

from abc import abstractmethod

from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import Host
from orchestrator.resources.base import Observed, Resource


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
    def log_script(self, *, lines: int, follow: bool) -> str:
        """A script that prints the last lines of its log, and goes on printing where ``follow`` says so."""

    def log_tail(self, host: Host, lines: int) -> str:
        """The last lines of its log."""
        return host.run(self.log_script(lines=lines, follow=False), timeout=30).stdout

"""A machine over SSH: raw channels of a Fabric connection, because Invoke's own pumping of input takes 10 ms a byte."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from orchestrator.errors import DeployError, RefusedError, UnreachableError
from orchestrator.hosts import curl, shell
from orchestrator.hosts.base import UNKNOWN, HttpAnswer, HttpRequest, Result
from orchestrator.hosts.channel import converse
from orchestrator.hosts.forward import forwarded
from orchestrator.hosts.held import ChannelHeld, check_held
from orchestrator.hosts.route import Entry, Route
from orchestrator.hosts.secret import Secret

if TYPE_CHECKING:
    import paramiko
    from docker import DockerClient

_PATIENCE = 15.0  # seconds beyond the remote time limit until the connection counts as lost
_KILLED, _TIMED_OUT = 137, 124


class SSHHost:
    """One host of the inventory. Becomes root through sudo as its entry says."""

    def __init__(
        self,
        entry: Entry,
        *,
        sudo_password: Secret | None = None,
        known_hosts: Path | None = None,
        connect_timeout: float = 10.0,
    ) -> None:
        """``known_hosts`` is trusted besides the user's and the system's; ``connect_timeout`` is in seconds a hop."""
        self._entry = entry
        self._password = sudo_password
        self._known_hosts = known_hosts
        self._connect_timeout = connect_timeout
        self._route: Route | None = None
        self._identity: shell.Identity | None = None
        self._docker: DockerClient | None = None
        self._held: list[ChannelHeld] = []

    @property
    def name(self) -> str:
        """The inventory's name for it."""
        return self._entry.name

    @property
    def is_local(self) -> bool:
        """Never."""
        return False

    @property
    def privileged(self) -> bool:
        """Whether ``run`` is root. Asks the host once.

        Raises RefusedError when root is asked for and not to be had, UnreachableError without a connection.
        """
        return self._who() != "plain"

    def connect(self) -> None:
        """Connect now; see ``Host.connect``."""
        self._connected()

    def run(
        self,
        script: str,
        *,
        timeout: float = 60.0,
        stdin: bytes | IO[bytes] | None = None,
        on_line: Callable[[str], None] | None = None,
        privileged: bool = True,
    ) -> Result:
        """Run a script; see ``Host.run``. Raises RefusedError when root is asked for and not to be had."""
        shell.wrapped(script)  # refuses a NUL before anything is sent
        check_held(self.name, self._held)
        if privileged and self._identity is None and stdin is None and on_line is None:
            return self._introduce(script, timeout)
        identity = self._who() if privileged else "plain"
        line = shell.command_line(identity, timeout, None if stdin is None else script)
        feed = shell.feed(shell.preamble(identity, self._password), script, stdin)
        return self._execute(line, feed, timeout, on_line)

    def hold(self, script: str, *, timeout: float = 60.0) -> ChannelHeld:
        """Start a script that lives until it is released; see ``Host.hold``."""
        command, introduction = shell.lasting(script), None
        if self._identity is None:
            introduction = self._introduction()
            line, before = introduction.line(command), introduction.before
        else:
            line = shell.with_sudo(self._identity, command)
            before = shell.preamble(self._identity, self._password)
        try:
            held = ChannelHeld(self._dial(line, before, timeout), timeout)
        except ConnectionError as error:
            raise UnreachableError(str(error), host=self.name, remedy="run it again") from error
        if introduction is not None:
            self._identity = self._met(introduction, held)
        self._held.append(held)
        return held

    def _met(self, introduction: shell.Introduction, held: ChannelHeld) -> shell.Identity:
        said = held.answer(shell.INTRODUCED)
        try:
            return introduction.heard(Result(0 if said else UNKNOWN, said))[0]
        except DeployError:
            held.release()
            raise

    def http(self, request: HttpRequest) -> HttpAnswer:
        """Make an HTTP request with the host's curl; see ``Host.http``. Raises RefusedError where it has none."""
        if fault := curl.fault(request):
            return HttpAnswer(0, error=fault)
        return self.http_all([request])[0]

    def forward(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        """A port of this machine that leads there; see ``Host.forward``."""
        return forwarded(self._connected(), self.name, address, port)

    def http_all(self, requests: Sequence[HttpRequest]) -> list[HttpAnswer]:
        """Make requests in one round trip; see ``Host.http_all``. Raises RefusedError where there is no curl."""
        timeout = sum(request.timeout for request in requests) + _PATIENCE
        result = self.run(curl.script(requests), timeout=timeout, privileged=False)
        if result.exited == UNKNOWN:
            return [HttpAnswer(0, error="the connection to the host was lost")]
        if result.exited == curl.MISSING:
            raise RefusedError("curl is missing", host=self.name, remedy="install it there: apt-get install curl")
        return curl.answers(result)

    def docker(self) -> "DockerClient":
        """The host's Docker Engine through the same connection, jump hosts and sudo; see ``Host.docker``."""
        from orchestrator.hosts import docker

        check_held(self.name, self._held)
        self._connected()
        if self._docker is None:
            identity = self._who()
            line = shell.with_sudo(identity, docker.DIAL)
            before = shell.preamble(identity, self._password)
            self._docker = docker.over(lambda timeout: self._dial(line, before, timeout), self)
        return self._docker

    def close(self) -> None:
        """Close the connection and the Docker client; the next use connects again."""
        if self._docker is not None:
            self._docker.close()
            self._docker = None
        if self._route is not None:
            self._route.close()
            self._route = None

    def _introduction(self) -> shell.Introduction:
        return shell.Introduction(self.name, self._entry.become, self._password)

    def _introduce(self, script: str, timeout: float) -> Result:
        """Run the first script, and learn from its answer as whom."""
        introduction = self._introduction()
        feed = shell.feed(introduction.before, script, None)
        result = self._execute(introduction.line(shell.limited(timeout)), feed, timeout, None)
        if result.exited != UNKNOWN:
            self._identity, result = introduction.heard(result)
        return result

    def _who(self) -> shell.Identity:
        if self._identity is None:
            self._identity = shell.identify(self._introduction(), self._ask)
        return self._identity

    def _ask(self, line: str, stdin: bytes) -> Result:
        return self._execute(line, iter([stdin]), 30.0, None)

    def _execute(
        self, line: str, feed: Iterator[bytes], timeout: float, on_line: Callable[[str], None] | None
    ) -> Result:
        channel = self._channel()
        if not self._started(channel, line):
            return Result(UNKNOWN)
        began = time.monotonic()
        result = converse(channel, feed, limit=timeout + _PATIENCE, on_line=on_line)
        if result.exited == UNKNOWN:
            self.close()
        if result.exited == _KILLED and time.monotonic() - began >= timeout:
            return Result(_TIMED_OUT, result.stdout, result.stderr)
        return result

    def _dial(self, line: str, before: bytes, timeout: float | None) -> "paramiko.Channel":
        channel = self._channel()
        channel.settimeout(timeout)
        if not self._started(channel, line):
            raise ConnectionError("the connection to the host was lost")
        channel.sendall(before)
        return channel

    def _started(self, channel: "paramiko.Channel", line: str) -> bool:
        """Start a command; False when the connection went, and the command perhaps with it."""
        from paramiko.ssh_exception import SSHException

        try:
            channel.exec_command(line)
        except (SSHException, OSError, EOFError):
            self.close()
            return False
        return True

    def _channel(self) -> "paramiko.Channel":
        """A fresh channel. An idle connection may have died unseen: nothing was asked yet, so connect once more."""
        from paramiko import ChannelException
        from paramiko.ssh_exception import SSHException

        why = ""
        for _ in range(2):
            try:
                return self._connected().open_session()
            except ChannelException as error:
                raise UnreachableError(
                    "the host opens no more sessions",
                    host=self.name,
                    why=str(error.text),
                    remedy="raise MaxSessions in its sshd_config, or close other sessions",
                ) from None
            except (SSHException, OSError, EOFError) as error:
                why = str(error)
                self.close()
        raise UnreachableError("the connection is lost again and again", host=self.name, why=why, remedy="run it again")

    def _connected(self) -> "paramiko.Transport":
        if self._route is not None:
            transport: paramiko.Transport | None = self._route.hops[-1].transport
            if transport is not None and transport.is_active():
                return transport
            self.close()
        route = Route(self._entry, known_hosts_file=self._known_hosts, timeout=self._connect_timeout)
        try:
            transport = route.open()
        except UnreachableError:
            route.close()
            raise
        assert transport is not None
        self._route = route
        return transport

"""This machine, by subprocess."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import IO, TYPE_CHECKING

from orchestrator.hosts import curl, shell
from orchestrator.hosts.base import HttpAnswer, HttpRequest, Result
from orchestrator.hosts.held import LocalHeld, check_held
from orchestrator.hosts.output import Output
from orchestrator.hosts.secret import Secret

if TYPE_CHECKING:
    from docker import DockerClient

TIMED_OUT = 124
_TICK = 0.2  # seconds; looked at only when a dead script's children still hold its output open
_READ = 64 * 1024  # bytes


class LocalHost:
    """The controller's own machine. Never uses sudo, unless ``become`` is ``"always"``.

    ``name`` is what an inventory calls it.
    """

    def __init__(
        self, become: shell.Become = "auto", sudo_password: Secret | None = None, *, name: str = "local"
    ) -> None:
        self._name = name
        self._become: shell.Become = become if become == "always" else "never"
        self._password = sudo_password
        self._identity: shell.Identity | None = None
        self._running: subprocess.Popen[bytes] | None = None
        self._docker: DockerClient | None = None
        self._held: list[LocalHeld] = []

    @property
    def name(self) -> str:
        """The name the user knows it by."""
        return self._name

    @property
    def is_local(self) -> bool:
        """Always."""
        return True

    @property
    def privileged(self) -> bool:
        """Whether ``run`` is root. Raises RefusedError when root is asked for and not to be had."""
        return self._who() != "plain"

    def connect(self) -> None:
        """Nothing is between; see ``Host.connect``."""

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
        check_held(self.name, self._held)
        identity = self._who() if privileged else "plain"
        before = shell.preamble(identity, self._password)
        argument = None if stdin is None else script
        if identity in ("sudo", "password"):
            # Only root may kill what root runs: the limit goes inside sudo, ours is the last resort.
            argv = ["sh", "-c", shell.command_line(identity, timeout, argument)]
            timeout += 2 * shell.GRACE
        else:
            shell.wrapped(script)  # refuses a NUL in both ways
            argv = ["sh", "-s"] if argument is None else ["sh", "-c", argument]
        return self._execute(argv, shell.feed(before, script, stdin), timeout, on_line)

    def hold(self, script: str, *, timeout: float = 60.0) -> "LocalHeld":
        """Start a script that lives until it is released; see ``Host.hold``."""
        identity = self._who()
        line = shell.with_sudo(identity, shell.lasting(script))
        pipe = subprocess.PIPE
        argv = ["sh", "-c", line]
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True)
        self._held.append(LocalHeld(process, shell.preamble(identity, self._password), timeout))
        return self._held[-1]

    def http(self, request: HttpRequest) -> HttpAnswer:
        """Make an HTTP request from this machine; see ``Host.http``."""
        import requests

        from orchestrator.hosts import web

        if fault := curl.fault(request):
            return HttpAnswer(0, error=fault)
        around = sys.exception()
        try:
            return web.ask(request)
        except requests.Timeout:
            return HttpAnswer(0, error=f"no answer within {request.timeout:g} s")
        except (requests.RequestException, OSError, ValueError) as error:
            return HttpAnswer(0, error=_cause(error, around))

    def forward(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        """The address itself; see ``Host.forward``."""
        return nullcontext((address, port))

    def http_all(self, requests: Sequence[HttpRequest]) -> list[HttpAnswer]:
        """Make requests from this machine; see ``Host.http_all``."""
        answers: list[HttpAnswer] = []
        for request in requests:
            answers.append(self.http(request))
            if answers[-1].status != 200:
                break
        return answers

    def docker(self) -> "DockerClient":
        """This machine's Docker Engine (``DOCKER_HOST`` honoured); see ``Host.docker``."""
        from orchestrator.hosts import docker

        check_held(self.name, self._held)
        if self._docker is None:
            identity = self._who()
            if identity in ("sudo", "password"):
                line = shell.with_sudo(identity, docker.DIAL)
                before = shell.preamble(identity, self._password)
                self._docker = docker.over_process(["sh", "-c", line], before, self)
            else:
                self._docker = docker.local(self)
        return self._docker

    def close(self) -> None:
        """End what is running or held, and let go of the Docker Engine."""
        for held in self._held:
            held.abandon()
        if self._running is not None:
            _stop(self._running)
        if self._docker is not None:
            self._docker.close()
            self._docker = None

    def _who(self) -> shell.Identity:
        if self._identity is None:
            if os.geteuid() == 0:
                self._identity = "root"
            else:
                introduction = shell.Introduction(self.name, self._become, self._password)
                self._identity = shell.identify(introduction, self._ask)
        return self._identity

    def _ask(self, line: str, stdin: bytes) -> Result:
        return self._execute(["sh", "-c", line], iter([stdin]), 30.0, None)

    def _execute(
        self, argv: list[str], feed: Iterator[bytes], timeout: float, on_line: Callable[[str], None] | None
    ) -> Result:
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        self._running = process
        out, err = Output(on_line), Output()
        try:
            timed_out = not _exchange(process, feed, out, err, time.monotonic() + timeout)
        finally:
            if process.poll() is None:
                _stop(process)
            self._running = None
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
        exited = TIMED_OUT if timed_out else process.returncode
        return Result(exited if exited >= 0 else 128 - exited, out.finish(), err.finish())  # as a shell counts signals


def _exchange(
    process: subprocess.Popen[bytes], feed: Iterator[bytes], out: Output, err: Output, deadline: float
) -> bool:
    """Feed and read a process until it is over: False when the deadline came first (it is then stopped)."""
    assert process.stdin and process.stdout and process.stderr
    in_time = True
    with selectors.DefaultSelector() as selector:
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE, _writer(process.stdin, feed))
        selector.register(process.stdout, selectors.EVENT_READ, _reader(process.stdout, out))
        selector.register(process.stderr, selectors.EVENT_READ, _reader(process.stderr, err))
        while selector.get_map():
            ready = selector.select(_TICK)
            for key, _ in ready:
                if not key.data():
                    selector.unregister(key.fileobj)
            if process.poll() is not None and not ready:
                break
            if in_time and time.monotonic() >= deadline:
                in_time = False
                _stop(process)
    try:
        process.wait(max(0.0, deadline - time.monotonic()) if in_time else None)
    except subprocess.TimeoutExpired:
        in_time = False
        _stop(process)
    return in_time


def _reader(stream: IO[bytes], output: Output) -> Callable[[], bool]:
    def read() -> bool:
        chunk = os.read(stream.fileno(), _READ)
        output.add(chunk)
        return bool(chunk)

    return read


def _writer(stream: IO[bytes], feed: Iterator[bytes]) -> Callable[[], bool]:
    left = b""

    def write() -> bool:
        nonlocal left
        left = left or next(feed, b"")
        try:
            left = left[os.write(stream.fileno(), left) :] if left else b""
        except BlockingIOError:
            return True
        except BrokenPipeError:
            done = True  # it did not want all of it, which is its own business
        else:
            done = not left and not (left := next(feed, b""))
        if done:
            with suppress(BrokenPipeError):
                stream.close()
        return not done

    return write


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the script and its process group to end; kill who is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(shell.GRACE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(shell.GRACE)


def _cause(error: BaseException, around: BaseException | None) -> str:
    """The innermost reason in words: "Connection refused", not the wrappers around it (they repeat the URL)."""
    while (inner := error.__cause__ or error.__context__) and inner is not around:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__

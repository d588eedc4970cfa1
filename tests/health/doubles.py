"""Doubles for health: a clock that only moves when slept on, a scripted host and service, a host on real loopback."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import Host, HttpAnswer, HttpRequest, Result, quote
from orchestrator.progress import Quiet, Task

if TYPE_CHECKING:
    from docker import DockerClient

ASKS = r"""
curl() {
  config=$(cat)
  case $config in *this-is-no-key*) gate=$at_wrong out=$at_outside_wrong ;;
    *Bearer*) gate=$at_right ;; *) gate=$at_none out=$at_outside ;; esac
  for last; do :; done
  case $last in
    http*) printf %s "$gate" ;;
    *) printf '%s\n' "$config" | sed -n "s/^url = \"\(.*\)\"/$out \1/p" ;;
  esac
}
hostname() { echo "10.0.0.11 fd00::11 127.0.0.2"; }
sleep() { paused=$((paused + 1)); [ $paused -lt 2 ] || at_right=200; }
"""
"""curl on a host, answering with the statuses of `Entrance`; a gateway is ready after the second pause of a look."""

REFUSED = HttpAnswer(0, error="connection refused")


def answer(status: int, body: Any) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(body).encode() if not isinstance(body, str) else body.encode())


def said(text: str | None, **more: str) -> HttpAnswer:
    message = {"role": "assistant", "content": text, **more}
    return answer(200, {"object": "chat.completion", "choices": [{"index": 0, "message": message}]})


class FakeClock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds


@dataclass(frozen=True)
class Entrance:
    """What a host gets to see that asks at its gateway with a right key, a wrong one and none, and from outside."""

    right: int = 200
    wrong: int = 401
    none: int = 401
    outside: int = 401
    outside_wrong: int = 401

    def script(self) -> str:
        """Variables of the shell, and curl."""
        return "".join(f"at_{name}={status:03d}\n" for name, status in vars(self).items()) + ASKS


class ScriptedHost:
    """Answers each path with its list of answers, the last one for ever. Runs scripts; ``cat`` finds ``files``."""

    name = "gpu01"
    is_local = False

    def __init__(
        self,
        answers: dict[str, list[HttpAnswer]],
        files: dict[str, str] | None = None,
        entrance: Entrance = Entrance(),
    ) -> None:
        self.answers = answers
        self.entrance = entrance
        self.files = files or {}
        self.requests: list[HttpRequest] = []
        self.scripts: list[str] = []
        self.trips = 0

    def http(self, request: HttpRequest) -> HttpAnswer:
        return self.http_all([request])[0]

    def _said(self, request: HttpRequest) -> HttpAnswer:
        self.requests.append(request)
        left = self.answers["/" + request.url.split("/", 3)[3]]
        return left.pop(0) if len(left) > 1 else left[0]

    def run(
        self,
        script: str,
        *,
        timeout: float = 60.0,
        stdin: bytes | IO[bytes] | None = None,
        on_line: Callable[[str], None] | None = None,
        privileged: bool = True,
    ) -> Result:
        self.scripts.append(script)
        found = "".join(f"{quote(path)}) printf %s {quote(text)} ;; " for path, text in self.files.items())
        cat = f'cat() {{ case $2 in {found}*) command cat "$@" ;; esac; }}\n'
        done = subprocess.run(
            ["sh", "-c", self.entrance.script() + cat + script], capture_output=True, text=True, timeout=timeout
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def http_all(self, requests: Sequence[HttpRequest]) -> list[HttpAnswer]:
        self.trips += 1
        answers: list[HttpAnswer] = []
        for request in requests:
            answers.append(self._said(request))
            if answers[-1].status != 200:
                break
        return answers

    def docker(self) -> "DockerClient":
        raise NotImplementedError

    def close(self) -> None:
        return


class LoopbackHost(ScriptedHost):
    """Makes its requests for real, on this machine."""

    def _said(self, request: HttpRequest) -> HttpAnswer:
        self.requests.append(request)
        asked = urllib.request.Request(
            request.url, data=request.body, headers=dict(request.headers), method=request.method
        )
        try:
            with urllib.request.urlopen(asked, timeout=request.timeout) as got:
                return HttpAnswer(got.status, got.read())
        except urllib.error.HTTPError as error:
            with error:
                return HttpAnswer(error.code, error.read())
        except OSError as error:
            return HttpAnswer(0, error=str(error))


class FakeService:
    """States in turn, the last one for ever, and logs likewise."""

    def __init__(self, *states: ServiceState, logs: list[str] | None = None, evidence: str = "") -> None:
        self.states = list(states) or [ServiceState(running=True)]
        self.logs = logs or [""]
        self.known = evidence

    def state_script(self) -> str:
        return ":"

    def read_state(self, output: str) -> ServiceState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def state(self, host: Host) -> ServiceState:
        return self.read_state("")

    def log_tail(self, host: Host, lines: int) -> str:
        return self.logs.pop(0) if len(self.logs) > 1 else self.logs[0]

    def evidence(self, host: Host) -> str:
        return self.known


class Heard(Quiet):
    """A Progress that remembers what its tasks said."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.amounts: list[tuple[int, int | None]] = []

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        yield self

    def update(self, done: int, total: int | None = None) -> None:
        self.amounts.append((done, total))

    def message(self, text: str) -> None:
        self.messages.append(text)

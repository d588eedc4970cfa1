"""The ladder: from "the host answers" to "the model's text makes sense" (DESIGN 5.6, 5.14).

A green ``/health`` proves nothing, so the rung that counts is a real chat completion. While an engine starts, refused
connections, resets, empty replies, 404 and 502/503 mean "not ready yet"; a service that died or was restarted
meanwhile ends the wait at once, with its log explained.
"""

from collections.abc import Callable, Sequence

from orchestrator.errors import UnreachableError
from orchestrator.health import entrance, probe
from orchestrator.health.clock import Clock
from orchestrator.health.diagnosis import Diagnosis, better, explain
from orchestrator.health.endpoint import Endpoint
from orchestrator.health.key import key_in, key_script
from orchestrator.health.mask import mask
from orchestrator.health.phases import phase
from orchestrator.health.report import (
    GENERATES,
    KEEPS_OUT,
    LADDER,
    LETS_IN,
    MAKES_SENSE,
    MODEL_LISTED,
    PORT_OPEN,
    REACHABLE,
    RUNNING,
    VERSION,
    HealthReport,
    Rung,
)
from orchestrator.health.service import ServiceState, ServiceView
from orchestrator.health.text import plain, shorten, tail
from orchestrator.health.wait import Wait
from orchestrator.hosts.base import Host, HttpAnswer, HttpRequest
from orchestrator.hosts.together import together
from orchestrator.progress import Progress, Task

_PROBE_S = 10.0
"""Longest wait for one small answer, in seconds."""
_CHAT_S = 30.0
"""Shortest time an answer gets, in seconds, however near the deadline: a first request may load the model."""
_NOT_YET = frozenset({0, 404, 502, 503})
_BUSY = frozenset({0, 502, 503})
_TRIES = 20
"""How often a gateway that has just started is asked, a quarter of a second apart."""
_LOG_LINES = 400
"""Enough to hold both tracebacks of a failed vLLM start, so the cause above the last line too."""
_EXCERPT_LINES = 15

_NONSENSE = 'asked to continue "1, 2, 3, 4, 5, 6," the model said "{text}": its text may make no sense. {look}'
_LOOK = {
    "ollama": "See whether the prompt template is that of this model, and try a finer quantization.",
    "vllm": "On a CPU, vLLM must run eager (--enforce-eager), since compiled bf16 answers nonsense there; elsewhere "
    "see whether the tokenizer and the chat template are those of this model.",
}


def check(
    host: Host,
    endpoint: Endpoint,
    service: ServiceView,
    *,
    deadline_s: float,
    progress: Progress,
    clock: Clock,
    addresses: Sequence[str] = (),
) -> HealthReport:
    """Climb the ladder once, waiting up to ``deadline_s`` seconds for the engine to become ready.

    With a deadline of 0 everything is tried once. A request that is under way at the deadline may go on: a small one
    for 10 seconds, a chat completion for 30. ``addresses`` are those at which the controller knows the host: it tries
    itself whether anything answers there that should not. Never raises for an unhealthy endpoint, nor for a host that
    cannot be reached: the report says so.
    """
    with progress.task(f"wait for {endpoint.runtime}") as task:
        climb = _Climb(host, endpoint, service, Wait(clock, deadline_s), clock, task, addresses)
        return climb.report()


class _Fell(Exception):
    """A rung does not hold. ``evidence`` is text to diagnose first; ``read_log`` asks for the service's log too."""

    def __init__(self, rung: str, detail: str, *, evidence: str = "", read_log: bool = True) -> None:
        super().__init__(detail)
        self.rung = rung
        self.detail = detail
        self.evidence = evidence
        self.read_log = read_log


class _Climb:
    def __init__(
        self,
        host: Host,
        endpoint: Endpoint,
        service: ServiceView,
        wait: Wait,
        clock: Clock,
        task: Task,
        addresses: Sequence[str],
    ) -> None:
        self.host, self.endpoint, self.service, self.clock, self.task = host, endpoint, service, clock, task
        self.wait, self.addresses = wait, addresses
        self.held: list[Rung] = []
        self.since = clock.now()
        self.key = ""
        self.keyless = ""
        self.entrance = entrance.Seen()
        self.restarts = 0
        self.ahead: list[HttpAnswer] = []
        self.answer = ""
        self.phase = ""
        self.warnings: list[str] = []

    def report(self) -> HealthReport:
        try:
            self._climb()
        except _Fell as fall:
            return self._fallen(fall)
        except UnreachableError as error:
            self.held.clear()
            return self._fallen(_Fell(REACHABLE, self._clean(error.why or error.what), read_log=False))
        return self._reported(healthy=True)

    def _climb(self) -> None:
        state = self._look()
        self._hold(REACHABLE)
        self.restarts = state.restarts
        self._must_run(state)
        self._hold(RUNNING, self._clean(state.detail))
        self._ask_ahead()
        self._check_version()
        self._check_models()
        self._check_chat()
        self._check_sense()
        self._check_entrance()

    # the rungs

    def _must_run(self, state: ServiceState) -> None:
        detail = self._clean(state.detail)
        if state.restarts > self.restarts:
            times = state.restarts - self.restarts
            said = f"it keeps dying: restarted {times} time{'s' if times > 1 else ''} during this check"
            raise _Fell(RUNNING, f"{said} ({detail})" if detail else said, evidence=detail)
        if not state.running:
            raise _Fell(RUNNING, detail or "it does not run", evidence=detail)

    def _look(self) -> ServiceState:
        """The service's state; with it comes the key, so that it is masked in whatever is read from here on.

        So does how the entrance looks, which is as it should be where all has run before.
        """
        scripts = [self.service.state_script(), key_script(self.endpoint), entrance.script(self.endpoint, 1)]
        looked, read, asked = together(self.host, scripts, timeout=60)
        self.entrance = entrance.read(asked.stdout, self.host.name)
        self.key, problem = key_in(self.endpoint, read)
        if problem:
            self.keyless = f"the API key's file cannot be read: {self._clean(problem)}"
        return self.service.read_state(looked.stdout)

    def _ask_ahead(self) -> None:
        """All questions in one round trip: what runs already answers them all, and then nothing else is asked."""
        requests = [self._version(), self._models(), self._chat(probe.QUESTION), self._chat(probe.COUNTING)]
        self.ahead = [] if self.keyless else self.host.http_all(requests)

    def _check_version(self) -> None:
        request = self._version()
        answer = self._ask(request, _NOT_YET)
        if answer.status == 0:
            raise _Fell(PORT_OPEN, self._not_ready(answer))
        self._hold(PORT_OPEN, self.endpoint.probe_url)
        found = probe.version(answer)
        if answer.status != 200 or not found:
            raise _Fell(VERSION, f"{request.url} answers {self._said(answer)}")
        expected = self.endpoint.expected_version
        if expected is not None and not probe.same_version(found, expected):
            raise _Fell(VERSION, f"{self._clean(found)} answers, {expected} was deployed", read_log=False)
        self._hold(VERSION, self._clean(found))

    def _check_models(self) -> None:
        if self.keyless:
            raise _Fell(MODEL_LISTED, self.keyless, read_log=False)
        answer = self._ask(self._models(), _NOT_YET)
        if answer.status != 200:
            raise self._refused(MODEL_LISTED, answer)
        ids, model = probe.model_ids(answer), self.endpoint.model
        if not probe.lists(ids, model):
            served = self._clean(", ".join(ids)) or "no model"
            raise _Fell(MODEL_LISTED, f"{model} is not served; {served} is", read_log=False)
        self._hold(MODEL_LISTED, model)

    def _check_chat(self) -> None:
        if self.endpoint.runtime == "ollama":
            self.task.message("loading model")
        answer = self._ask(self._chat(probe.QUESTION), _BUSY)
        if answer.status != 200:
            raise self._refused(GENERATES, answer)
        self.answer = shorten(self._clean(probe.chat_text(answer)), 200)
        if not self.answer:
            raise _Fell(GENERATES, "it answers 200 with no text")
        self._hold(GENERATES, probe.QUESTION)

    def _check_sense(self) -> None:
        self.task.message("looking whether the text makes sense")
        answer = self._answer(self._chat(probe.COUNTING))
        text = shorten(self._clean(probe.chat_text(answer)), 80)
        if answer.status == 200 and probe.counts_on(probe.chat_text(answer)):
            self._hold(MAKES_SENSE)
            return
        if answer.status != 200:
            text = self._said(answer)
        self.warnings.append(_NONSENSE.replace("{look}", _LOOK[self.endpoint.runtime]).replace("{text}", text))
        self.held.append(self._rung(MAKES_SENSE, ok=False, detail=f'"{text}"'))

    def _check_entrance(self) -> None:
        """A key opens the gateway, and nothing else answers anybody, unless that is asked for."""
        self.task.message("looking who gets in")
        gateway, seen = self.endpoint.gateway, self.entrance
        if not seen.fine(self.endpoint):
            seen = entrance.read(
                self.host.run(entrance.script(self.endpoint, _TRIES), timeout=180).stdout, self.host.name
            )
        if gateway is not None:
            if not seen.key:
                raise _Fell(LETS_IN, f"{gateway.keys} holds no key for users that may be used", read_log=False)
            if seen.with_key != 200:
                raise _Fell(LETS_IN, f"{gateway.url} answers {seen.with_key or 'nothing'} with a key", read_log=False)
            self._hold(LETS_IN, gateway.url)
        if self.endpoint.exposed:
            return
        faults = [*seen.faults(self.endpoint), *(str(leak) for leak in self._leaks_here())]
        if faults:
            raise _Fell(KEEPS_OUT, "; ".join(faults), read_log=False)
        self._hold(KEEPS_OUT)

    def _leaks_here(self) -> tuple[entrance.Leak, ...]:
        """What answers the controller itself, where that is another machine."""
        if self.host.is_local:
            return ()
        known = entrance.known_addresses(self.endpoint, self.addresses)
        return entrance.from_here(known, self.endpoint)

    # asking and waiting

    def _version(self) -> HttpRequest:
        return probe.version_request(self.endpoint, _PROBE_S)

    def _models(self) -> HttpRequest:
        return probe.models_request(self.endpoint, self.key, _PROBE_S)

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        """The answer that came ahead, else one asked for now."""
        return self.ahead.pop(0) if self.ahead else self.host.http(request)

    def _chat(self, prompt: str) -> HttpRequest:
        return probe.chat_request(self.endpoint, self.key, prompt, max(_CHAT_S, self.wait.left()))

    def _ask(self, request: HttpRequest, not_yet: frozenset[int]) -> HttpAnswer:
        """Ask until the answer is not one of ``not_yet``, the service died, or the deadline is over."""
        while True:
            answer = self._answer(request)
            if answer.status not in not_yet:
                return answer
            self._must_run(self.service.state(self.host))
            self._show_phase()
            if not self.wait.pause():
                return answer

    def _show_phase(self) -> None:
        now = phase(self.service.log_tail(self.host, _LOG_LINES), self.endpoint.runtime)
        self.phase = str(now)
        self.task.update(now.index, now.total)
        self.task.message(self.phase)

    # telling

    def _not_ready(self, answer: HttpAnswer) -> str:
        why = self._clean(probe.complaint(answer))
        return (
            f"nothing answers at {self.endpoint.probe_url} after {self.wait.spent():.0f} s ({why}); it was {self.phase}"
        )

    def _refused(self, rung: str, answer: HttpAnswer) -> _Fell:
        # A request that is refused says why itself; the log of a server that runs only matters when it broke.
        broke = answer.status == 0 or answer.status >= 500
        evidence = f"{answer.status} {self._clean(probe.complaint(answer))}"
        return _Fell(rung, self._said(answer), evidence=evidence, read_log=broke)

    def _said(self, answer: HttpAnswer) -> str:
        text = shorten(self._clean(probe.complaint(answer)), 300)
        return text if answer.status == 0 else f"{answer.status} {text}".rstrip()

    def _clean(self, text: str) -> str:
        return mask(plain(text), (self.key,)).strip()

    def _rung(self, name: str, *, ok: bool, detail: str) -> Rung:
        now = self.clock.now()
        began, self.since = self.since, now
        return Rung(name=name, ok=ok, detail=shorten(detail, 400), seconds=round(now - began, 3))

    def _hold(self, name: str, detail: str = "") -> None:
        self.held.append(self._rung(name, ok=True, detail=detail))

    def _fallen(self, fall: _Fell) -> HealthReport:
        self.held.append(self._rung(fall.rung, ok=False, detail=fall.detail))
        log = self._log() if fall.read_log else ""
        return self._reported(
            healthy=False,
            failed=fall.rung,
            phase=self.phase,
            log=tail(log, _EXCERPT_LINES),
            diagnosis=self._explained(fall, log),
        )

    def _explained(self, fall: _Fell, log: str) -> Diagnosis | None:
        """By the log; where that shows only consequences, by what else the host knows of the service's end."""
        runtime, version = self.endpoint.runtime, self.endpoint.expected_version or ""
        found = explain(f"{fall.evidence}\n{log}", runtime, version)
        if not fall.read_log or (found is not None and found.certain):
            return found
        return better(found, explain(self._clean(self._read(self.service.evidence)), runtime, version))

    def _log(self) -> str:
        return self._clean(self._read(lambda host: self.service.log_tail(host, _LOG_LINES)))

    def _read(self, what: Callable[[Host], str]) -> str:
        try:
            return what(self.host)
        except UnreachableError:
            return ""

    def _reported(self, *, healthy: bool, **found: object) -> HealthReport:
        tried = {rung.name: rung for rung in self.held}
        return HealthReport.model_validate(
            {
                "host": self.host.name,
                "runtime": self.endpoint.runtime,
                "url": self.endpoint.url,
                "model": self.endpoint.model,
                "healthy": healthy,
                "rungs": tuple(tried.get(name, Rung(name=name)) for name in LADDER),
                "warnings": tuple(self.warnings),
                "answer_text": self.answer,
            }
            | found
        )

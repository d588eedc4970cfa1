"""Measure one endpoint: find the prompt's length, warm it up, then load it level by level."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from secrets import token_hex

from orchestrator.bench.figures import level
from orchestrator.bench.gpu import watched
from orchestrator.bench.process import run_job
from orchestrator.bench.prompts import calibrated
from orchestrator.bench.result import Level, Load, Measurement
from orchestrator.bench.target import Target, failure, reached
from orchestrator.bench.wire import Batch, Job, Record
from orchestrator.errors import RefusedError
from orchestrator.health.mask import mask
from orchestrator.health.text import plain
from orchestrator.progress import Progress

Run = Callable[[Job, Callable[[int], None]], Batch]

_CLOSE_ENOUGH = 0.02
_TRIES = 4
_TRIAL_WORDS = 200
_BEFORE = 100_000
"""Prompts with numbers from here on are for finding out and for warming up; those of levels are below."""
_LEVEL = 5_000
"""Prompts between the first of one level and the first of the next."""


def measure(target: Target, load: Load, *, by: str, progress: Progress, run: Run = run_job) -> Measurement:
    """Measure an endpoint. Raises DeployError when it answers no request at all, and what reaching it raises."""
    with reached(target) as url:
        bench = _Bench(target, load, url, progress, run)
        return bench.measurement(by)


@dataclass
class _Bench:
    target: Target
    load: Load
    url: str
    progress: Progress
    run: Run

    def measurement(self, by: str) -> Measurement:
        job = self._about(self._job())
        words, note = self._words(job)
        job = replace(job, words=words)
        self._warm_up(job)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        found, gpu_note = [], ""
        for number, concurrency in enumerate(self.load.concurrency):
            made, gpu_note = self._level(replace(job, first=number * _LEVEL), concurrency)
            found.append(made)
        target = self.target
        return Measurement(
            target=target.title,
            host=target.host_name,
            runtime=target.runtime,
            model=job.model,
            url=target.url,
            way=target.way,
            generation=target.generation,
            summary=target.summary,
            at=began,
            by=by,
            load=self.load,
            levels=tuple(found),
            gpu_note=gpu_note,
            notes=(note,) if note else (),
        )

    def _job(self) -> Job:
        target, load = self.target, self.load
        return Job(
            url=self.url,
            model=target.model,
            key=target.key.reveal(),
            ca_file=target.ca_file,
            timeout=load.timeout,
            seed=load.seed,
            output_tokens=load.output_tokens,
            extra=_extra(target.runtime),
        )

    def _about(self, job: Job) -> Job:
        """With the model that is served, where none was named; and with what vLLM alone understands, if it is one."""
        if job.model:
            return job
        batch = self.run(job, _nobody)
        if not batch.models:
            kind, detail = (batch.records[0].error, batch.records[0].detail) if batch.records else ("", "no model")
            raise failure(self.target, kind or "no model", self._clean(detail))
        name, owner = batch.models[0]
        return replace(job, model=name, extra=_extra("vllm" if owner == "vllm" else ""))

    def _words(self, job: Job) -> tuple[int, str]:
        """Words of padding that make the prompts as long as they should be, as the endpoint itself counts."""
        wanted = self.load.prompt_tokens
        if wanted is None:
            return 0, ""
        bare = self._count(job, 0)
        if bare >= wanted:
            return 0, f"the shortest prompt has {bare} tokens, template included: more than the {wanted} asked for"
        words, counted = _TRIAL_WORDS, self._count(job, _TRIAL_WORDS)
        for _ in range(_TRIES):
            if abs(counted - wanted) <= max(2, _CLOSE_ENOUGH * wanted):
                break
            words = calibrated(wanted, bare, words, counted)
            counted = self._count(job, words)
        return words, ""

    def _count(self, job: Job, words: int) -> int:
        with self.progress.task(f"{self.target.title}: count tokens"):
            record = self._only(replace(job, words=words, first=_BEFORE, output_tokens=1))
        if not record.counted:
            raise RefusedError(
                f"{self.target.title} does not count the tokens of a prompt",
                host=self.target.host_name,
                why="its streams carry no `usage`",
                remedy="leave out --prompt-tokens",
            )
        return record.prompt_tokens

    def _only(self, job: Job) -> Record:
        (record,) = self.run(job, _nobody).records
        if record.error:
            raise failure(self.target, record.error, self._clean(record.detail))
        return record

    def _warm_up(self, job: Job) -> None:
        """Load the model and fill what is filled once; whoever refuses these, refuses all."""
        if not self.load.warmup:
            return
        with self.progress.task(f"{self.target.title}: warm up"):
            self._only(replace(job, first=_BEFORE + 1))
            if self.load.warmup > 1:
                more = self.load.warmup - 1
                self.run(replace(job, first=_BEFORE + 2, requests=more, concurrency=more), _nobody)

    def _level(self, job: Job, concurrency: int) -> tuple[Level, str]:
        load, title = self.load, self.target.title
        many = load.count(concurrency)
        job = replace(job, concurrency=concurrency, requests=many, seconds=load.seconds)
        label = f"{title}: {concurrency} at once"
        with (
            watched(self.target.host) as seen,
            self.progress.task(label, total=None if load.seconds else many) as task,
        ):
            before = _own_cpu()
            batch = self.run(job, task.update)
            tunnel = _own_cpu() - before if self.target.way == "ssh" else None
        made = level(concurrency, batch, seen.use, tunnel)
        complaints = {kind: self._clean(text) for kind, text in made.complaints.items()}
        return made.model_copy(update={"complaints": complaints}), seen.note

    def _clean(self, text: str) -> str:
        return mask(plain(text), (self.target.key.reveal(),))


def _extra(runtime: str) -> dict[str, object]:
    """What vLLM would otherwise have kept computed from a run before this one would make it look faster than it is."""
    return {"cache_salt": token_hex(16)} if runtime == "vllm" else {}


def _own_cpu() -> float:
    """Seconds of processor that this process took; its children count apart."""
    times = os.times()
    return times.user + times.system


def _nobody(_: int) -> None:
    """Hear that a request is over, and say nothing."""

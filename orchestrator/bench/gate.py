"""Whether a generation is slower than the one before: the decision behind ``--gate``. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.bench.result import Level, Measurement, Spread


@dataclass(frozen=True)
class Change:
    """One number of one level, before and now; ``worse`` is by what share (0.1 is a tenth), negative when better.

    It is None where no share can be told: nothing goes well any more, or more requests fail.
    """

    concurrency: int
    what: str
    before: float
    now: float
    worse: float | None


def changes(before: Measurement, now: Measurement) -> tuple[Change, ...]:
    """The numbers that both have, level by level: throughput and the medians of what a client waits for."""
    found = []
    for level in now.levels:
        then = before.level(level.concurrency)
        if then is not None:
            found += list(_compared(then, level))
    return tuple(found)


def slower(found: tuple[Change, ...], allowed: float) -> tuple[Change, ...]:
    """Those that are worse than allowed."""
    return tuple(change for change in found if change.worse is None or change.worse > allowed)


def _compared(then: Level, now: Level) -> Iterator[Change]:
    at = now.concurrency
    if then.output_tokens_per_second:
        rate = now.output_tokens_per_second
        lost = 1 - rate / then.output_tokens_per_second
        yield Change(at, "output tokens/s", then.output_tokens_per_second, rate, lost)
    for what, old, new in (
        ("seconds to the first token, median", then.ttft_s, now.ttft_s),
        ("seconds between tokens, median", then.inter_token_s, now.inter_token_s),
    ):
        if old is not None and old.p50 and (new is not None or not now.succeeded):
            yield _later(at, what, old, new)
    failed, failed_then = now.requests - now.succeeded, then.requests - then.succeeded
    if failed > failed_then:
        share, share_then = failed / now.requests, failed_then / then.requests
        if share > share_then:
            yield Change(at, "share of failed requests", share_then, share, None)


def _later(at: int, what: str, old: Spread, new: Spread | None) -> Change:
    if new is None:  # nothing went well any more
        return Change(at, what, old.p50, 0.0, None)
    return Change(at, what, old.p50, new.p50, new.p50 / old.p50 - 1)

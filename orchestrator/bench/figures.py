"""Numbers out of records. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from orchestrator.bench.result import Client, GpuUse, Level, Spread
from orchestrator.bench.wire import Batch, Record, Strain

BUSY = 0.7
"""Share of a core from which on this side's own work may show in the numbers."""
TOGETHER_S = 0.0001
"""Seconds between two pieces of a stream below which no engine made them one after the other."""
LATE_S = 0.05
"""Seconds that the generator's event loop may be late, for 99 of 100 turns."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies; between two of them, as far as it lies between. Of sorted values."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def spread(values: Iterable[float]) -> Spread | None:
    """Mean and percentiles; None of no values."""
    found = sorted(values)
    if not found:
        return None
    p50, p90, p99 = (round(percentile(found, share), 6) for share in (0.5, 0.9, 0.99))
    return Spread(mean=round(sum(found) / len(found), 6), p50=p50, p90=p90, p99=p99)


def level(concurrency: int, batch: Batch, gpus: tuple[GpuUse, ...] = (), tunnel_cpu_s: float | None = None) -> Level:
    """One level's numbers. ``tunnel_cpu_s`` are the seconds of processor that an SSH tunnel took on this side.

    What is between pieces that arrive together tells nothing of tokens, so it is left out.
    """
    good = [record for record in batch.records if not record.error]
    bad = [record for record in batch.records if record.error]
    between = spread(gap for record in good for gap in record.gaps)
    together = between is not None and between.p50 < TOGETHER_S
    seconds = max((record.ended for record in batch.records), default=0.0)
    tokens = sum(record.tokens for record in good)
    return Level(
        concurrency=concurrency,
        requests=len(batch.records),
        succeeded=len(good),
        seconds=round(seconds, 3),
        errors=dict(Counter(record.error for record in bad).most_common()),
        complaints={record.error: record.detail for record in reversed(bad)},
        finished=dict(Counter(record.finish for record in good if record.finish).most_common()),
        ttft_s=spread(_wait(record) for record in good),
        inter_token_s=None if together else between,
        end_to_end_s=spread(record.ended - record.began for record in good),
        tokens_per_second=None if together else spread(rate for record in good if (rate := _rate(record))),
        output_tokens_per_second=round(tokens / seconds, 3) if seconds else 0.0,
        requests_per_second=round(len(good) / seconds, 4) if seconds else 0.0,
        prompt_tokens=sum(record.prompt_tokens for record in good),
        output_tokens=tokens,
        pieces=sum(record.pieces for record in good),
        counted_by=_counted_by(good),
        client=_client(batch.strain, tunnel_cpu_s),
        gpus=gpus,
    )


def _wait(record: Record) -> float:
    assert record.first is not None, "an answer that went well has begun"
    return record.first - record.began


def _rate(record: Record) -> float:
    """Tokens a second after the first; 0 where there was but one."""
    assert record.first is not None, "an answer that went well has begun"
    took = record.ended - record.first
    return (record.tokens - 1) / took if record.tokens > 1 and took > 0 else 0.0


def _counted_by(good: Sequence[Record]) -> Literal["usage", "pieces", "both"]:
    ways = {record.counted for record in good}
    return "both" if len(ways) == 2 else "pieces" if ways == {False} else "usage"


def _client(strain: Strain, tunnel_cpu_s: float | None) -> Client:
    wall = strain.wall_s or 1.0
    cpu, tunnel = strain.cpu_s / wall, None if tunnel_cpu_s is None else tunnel_cpu_s / wall
    saturated = cpu >= BUSY or (tunnel or 0.0) >= BUSY or strain.late_p99_s >= LATE_S
    return Client(
        cpu=round(cpu, 4),
        late_p99_s=round(strain.late_p99_s, 6),
        late_max_s=round(strain.late_max_s, 6),
        tunnel_cpu=None if tunnel is None else round(tunnel, 4),
        saturated=saturated,
    )


def doubts(found: Level) -> list[str]:
    """What to know before believing a level's numbers, in words; empty when nothing speaks against them."""
    said = []
    client = found.client
    if client.saturated:
        said.append(
            f"this side was busy (generator {client.cpu:.0%} of a core, tunnel {client.tunnel_cpu or 0:.0%}, its loop "
            f"late by {client.late_p99_s * 1000:.0f} ms): the endpoint may be faster than these numbers"
        )
    if found.counted_by != "usage":
        said.append("the server gave no `usage`: tokens are counted as pieces of the stream, which may hold several")
    elif found.pieces > found.output_tokens or found.pieces < 0.5 * found.output_tokens:
        said.append(
            f"the server counts {found.output_tokens} tokens in {found.pieces} pieces of its streams: "
            "the time between pieces is not that between tokens"
        )
    if found.inter_token_s is None and found.pieces > found.succeeded:
        said.append(
            "pieces arrive several at a time, as the server (or a proxy before it) gathers them: nothing can be told "
            "of what is between tokens"
        )
    return said

"""Numbers out of records that are made by hand."""

from __future__ import annotations

import pytest

from orchestrator.bench.figures import doubts, level, percentile, spread
from orchestrator.bench.wire import Batch, Record, Strain

CALM = Strain(cpu_s=0.1, wall_s=10.0, late_p99_s=0.001, late_max_s=0.002)


def good(began: float, wait: float, tokens: int, gap: float) -> Record:
    ended = began + wait + gap * (tokens - 1)
    return Record(began, began + wait, ended, [gap] * (tokens - 1), 20, tokens, tokens, counted=True, finish="stop")


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.25, 2), (0.5, 3), (0.9, 4.6), (1.0, 5)])
def test_a_percentile_lies_between_its_neighbours(share: float, value: float):
    assert percentile([1, 2, 3, 4, 5], share) == pytest.approx(value)


def test_one_value_is_every_percentile_and_none_is_none():
    one = spread([7.0])
    assert one and (one.mean, one.p50, one.p90, one.p99) == (7, 7, 7, 7)
    assert spread([]) is None


def test_a_level_adds_up():
    batch = Batch((good(0.0, 1.0, 11, 0.1), good(1.0, 3.0, 11, 0.5)), CALM)
    made = level(2, batch)
    assert (made.requests, made.succeeded, made.errors) == (2, 2, {})
    assert made.seconds == 9.0 and made.output_tokens == 22 and made.prompt_tokens == 40 and made.pieces == 22
    assert made.output_tokens_per_second == pytest.approx(22 / 9, abs=1e-3)
    assert made.requests_per_second == pytest.approx(2 / 9, abs=1e-4)
    assert made.ttft_s and made.ttft_s.mean == 2.0 and made.ttft_s.p50 == 2.0
    assert made.inter_token_s and made.inter_token_s.p50 == pytest.approx(0.3)
    assert made.end_to_end_s and made.end_to_end_s.mean == 5.0
    assert made.tokens_per_second and made.tokens_per_second.p50 == pytest.approx(6.0)
    assert made.finished == {"stop": 2} and doubts(made) == []


def test_failures_are_counted_by_kind_and_leave_the_times_alone():
    failed = [Record(0, error="http 503", detail="busy"), Record(0, error="http 503"), Record(0, error="cut")]
    made = level(4, Batch((*failed, good(0, 1, 3, 0.1)), CALM))
    assert made.errors == {"http 503": 2, "cut": 1} and made.complaints["http 503"] == "busy"
    assert made.succeeded == 1 and made.ttft_s and made.ttft_s.mean == 1.0


def test_a_level_of_nothing_but_failures_has_no_times():
    made = level(1, Batch((Record(0, ended=2, error="connect", detail="refused"),), CALM))
    assert made.ttft_s is None and made.output_tokens_per_second == 0 and made.succeeded == 0


@pytest.mark.parametrize(
    ("strain", "tunnel", "saturated"),
    [
        (CALM, None, False),
        (Strain(8.0, 10.0, 0.001, 0.002), None, True),
        (Strain(0.1, 10.0, 0.2, 0.3), None, True),
        (CALM, 9.0, True),
        (CALM, 1.0, False),
    ],
)
def test_a_busy_client_is_said(strain: Strain, tunnel: float | None, saturated: bool):
    made = level(1, Batch((good(0, 1, 3, 0.1),), strain), tunnel_cpu_s=tunnel)
    assert made.client.saturated is saturated
    assert any("this side was busy" in text for text in doubts(made)) is saturated


def test_tokens_that_the_server_does_not_count_are_said():
    uncounted = Record(0, 1, 2, [1.0], 0, 2, 2)
    assert "no `usage`" in doubts(level(1, Batch((uncounted,), CALM)))[0]
    assert level(1, Batch((uncounted, good(0, 1, 3, 0.1)), CALM)).counted_by == "both"


def test_pieces_of_several_tokens_and_pieces_that_come_together_are_said():
    several = Record(0, 1, 2, [1.0], 5, 10, 2, counted=True)
    assert "10 tokens in 2 pieces" in doubts(level(1, Batch((several,), CALM)))[0]
    together = Record(0, 1, 2, [0.0] * 9, 5, 10, 10, counted=True)
    made = level(1, Batch((together,), CALM))
    assert "several at a time" in doubts(made)[0]
    assert made.inter_token_s is None and made.tokens_per_second is None and made.output_tokens_per_second == 5

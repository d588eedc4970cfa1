"""Which changes from one generation to the next are for the worse, and where results are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.bench.gate import changes, slower
from orchestrator.bench.result import Client, Level, Load, Measurement, Spread
from orchestrator.bench.store import before, read_results, write_result
from orchestrator.hosts.local import LocalHost

CALM = Client(cpu=0.01, late_p99_s=0.001, late_max_s=0.001)


def flat(value: float) -> Spread:
    return Spread(mean=value, p50=value, p90=value, p99=value)


def level(rate: float, first: float = 0.1, between: float = 0.02, at: int = 4, ok: int = 8, tried: int = 8) -> Level:
    return Level(
        concurrency=at,
        requests=tried,
        succeeded=ok,
        seconds=1,
        ttft_s=flat(first) if ok else None,
        inter_token_s=flat(between) if ok else None,
        output_tokens_per_second=rate,
        client=CALM,
    )


def measured(*levels: Level, generation: int = 1, output_tokens: int = 64) -> Measurement:
    at = tuple(item.concurrency for item in levels)
    load = Load(concurrency=at, output_tokens=output_tokens, prompts="stories/1")
    return Measurement(
        target="vllm", model="m", url="u", generation=generation, at="2026", by="me", load=load, levels=levels
    )


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (level(89), {"output tokens/s"}),
        (level(100, first=0.112), {"seconds to the first token, median"}),
        (level(100, between=0.03), {"seconds between tokens, median"}),
        (level(100, ok=7), {"share of failed requests"}),
        (level(0, ok=0), {"output tokens/s", "share of failed requests"}),
        (level(91, first=0.109, between=0.0219), set()),
        (level(200, first=0.01, between=0.001), set()),
    ],
)
def test_what_is_worse_by_more_than_a_tenth(now: Level, what: set[str]):
    found = slower(changes(measured(level(100)), measured(now, generation=2)), 0.1)
    assert what <= {change.what for change in found}
    assert bool(found) is bool(what)


def test_only_levels_that_both_have_are_compared():
    found = changes(measured(level(100, at=1), level(300, at=4)), measured(level(50, at=4), level(9, at=16)))
    assert {change.concurrency for change in found} == {4}


def test_what_cannot_be_told_any_more_is_not_held_against_it():
    together = level(100).model_copy(update={"inter_token_s": None})
    assert slower(changes(measured(level(100)), measured(together)), 0.0) == ()
    assert slower(changes(measured(together), measured(level(100))), 0.0) == ()


def test_improvements_are_told_as_such():
    (rate, *_) = changes(measured(level(100)), measured(level(150)))
    assert rate.worse == pytest.approx(-0.5)


def test_the_newest_earlier_generation_with_the_same_requests_is_compared_with():
    results = [measured(level(1), generation=number) for number in (1, 2, 4)]
    results.append(measured(level(1), generation=3, output_tokens=7))
    now = measured(level(1), generation=4)
    assert (found := before(results, now)) and found.generation == 2
    assert before(results, measured(level(1), generation=1)) is None


def test_results_lie_beside_the_generations_and_go_with_them(tmp_path: Path):
    host, state = LocalHost(), tmp_path / "state of $it"
    (state / "generations").mkdir(parents=True)
    assert read_results(host, str(state)) == ()
    for number in (1, 2, 3):
        (state / "generations" / f"{number:06}.json").write_text("{}")
        write_result(host, str(state), measured(level(number * 10), generation=number))
    assert [item.generation for item in read_results(host, str(state))] == [1, 2, 3]
    again = measured(level(99), generation=3)
    (state / "generations" / "000001.json").unlink()
    write_result(host, str(state), again)
    kept = read_results(host, str(state))
    assert [item.generation for item in kept] == [2, 3] and kept[1] == again
    assert {path.name for path in (state / "bench").iterdir()} == {"000002.json", "000003.json"}


def test_a_result_that_cannot_be_read_is_left_out(tmp_path: Path):
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "000001.json").write_text("{}")
    (tmp_path / "bench" / "000002.json").write_bytes(b"\xff\x00")
    write_result(LocalHost(), str(tmp_path), measured(level(1), generation=7))
    assert [item.generation for item in read_results(LocalHost(), str(tmp_path))] == [7]

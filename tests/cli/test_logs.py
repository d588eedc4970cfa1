"""Which lines `logs` is asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.cli.logs import Wanted, pattern, since_when
from orchestrator.errors import UsageError
from orchestrator.resources.log import Line
from tests.cli.run import deployctl


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90s", 90), ("10m", 600), ("10 min", 600), ("2h", 7200), ("1d", 86400)],
)
def test_how_long_ago(text: str, ago: int) -> None:
    before = datetime.now(UTC)
    found = since_when(text)
    assert found is not None
    assert before - timedelta(seconds=ago) <= found <= datetime.now(UTC) - timedelta(seconds=ago)


def test_a_moment_is_in_the_zone_of_this_machine_unless_it_says_another() -> None:
    assert since_when("2026-11-24T09:30:00+02:00") == datetime(2026, 11, 24, 7, 30, tzinfo=UTC)
    assert since_when("2026-11-24 09:30") == datetime(2026, 11, 24, 9, 30).astimezone(UTC)
    assert since_when(None) is None


@pytest.mark.parametrize("text", ["", "yesterday", "10", "-5m", "10y", "999999d", "2026-13-01", "1h; reboot"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="no time") as error:
        since_when(text)
    assert "10m" in error.value.remedy


def test_capitals_count_if_there_are_any() -> None:
    lower, upper = pattern("error"), pattern("Error")
    assert lower and lower.search("ERROR 500") and upper and not upper.search("ERROR 500")


@pytest.mark.parametrize(("option", "value"), [("--grep", "("), ("--since", "soon"), ("--lines", "0")])
def test_wrong_options_are_refused_before_anything_is_connected_to(option: str, value: str, tmp_path: Path) -> None:
    ran = deployctl("logs", "--host", "192.0.2.1", option, value, cwd=tmp_path)
    assert ran.status == 2 and option in ran.err


LINES = [Line(None, str(number)) for number in range(500)]
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wanted", "read", "shown"),
    [
        (Wanted(None, None, None, follow=False), 200, 200),
        (Wanted(7, None, None, follow=False), 7, 7),
        (Wanted(7, None, pattern("x"), follow=False), 100_000, 7),
        (Wanted(None, SINCE, None, follow=False), 100_000, 500),
        (Wanted(9, SINCE, None, follow=False), 9, 9),
    ],
)
def test_how_many_lines_are_read_and_shown(wanted: Wanted, read: int, shown: int) -> None:
    assert (wanted.read, len(wanted.last(LINES))) == (read, shown)
    assert wanted.last(LINES)[-1].text == "499"

"""Lines of logs: when they were written, and what they say, as journald, Docker and engines print them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.health.moments import engines_own, iso
from orchestrator.resources.log import OFFSET, FileReader, Line, docker, journal

NOW = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
NONE = timedelta(0)


@pytest.mark.parametrize(
    ("line", "offset", "moment"),
    [
        ('time=2026-11-23T22:11:29.265Z level=INFO msg="x"', NONE, "2026-11-23T22:11:29.265000+00:00"),
        ("time=2026-11-23T22:11:29.123456789+02:00 level=INFO", NONE, "2026-11-23T20:11:29.123456+00:00"),
        ("[GIN] 2026/11/23 - 22:11:29 | 200 |", timedelta(hours=1), "2026-11-23T21:11:29+00:00"),
        ("(APIServer pid=1) INFO 12-31 23:44:07 [x.py:1] y", NONE, "2025-12-31T23:44:07+00:00"),
        ("WARNING 01-01 01:29:00 [x.py:1] y", timedelta(hours=1), "2026-01-01T00:29:00+00:00"),
        ("INFO 02-29 23:44:07 [x.py:1] a day that no year near has", NONE, None),
        ("ERROR 99-99 99:99:99 [x.py:1] y", NONE, None),
        ("  File x, line 1", NONE, None),
        ("time=yesterday", NONE, None),
    ],
)
def test_engines_write_the_time_in_their_own_ways(line: str, offset: timedelta, moment: str | None) -> None:
    found = engines_own(line, offset=offset, now=NOW)
    assert (found.isoformat() if found else None) == moment


@pytest.mark.parametrize("text", ["", "x", "2026-13-01T00:00:00Z", "2026-11-23", "2026-11-23T22:11:29+99:99"])
def test_what_is_no_moment_is_none(text: str) -> None:
    assert iso(text) is None


def test_the_journal_s_lines() -> None:
    line = journal("2026-11-24T14:32:01.123456+0100 gpu01 ollama[4711]: time=x: level=INFO")
    assert line == Line(datetime(2026, 11, 24, 13, 32, 1, 123456, UTC), "time=x: level=INFO")
    assert journal("2026-11-24T14:32:01.123456+0000 gpu01 systemd[1]: Started it.").text == "Started it."
    assert journal("                     further") == Line(None, "further")
    assert journal("-- Boot 123 --").at is None


def test_docker_s_lines() -> None:
    stamp = "2026-11-24T14:32:34.752781446Z"
    assert docker(f"{stamp} two  words") == Line(iso(stamp), "two  words")
    assert docker(f"{stamp} ") == docker(stamp) == Line(iso(stamp), "")
    assert docker("Error response from daemon") == Line(None, "Error response from daemon")


def test_a_file_s_lines_have_the_time_of_the_last_that_told_one() -> None:
    read = FileReader(None)
    assert read(f"{OFFSET}+0200") is None
    assert read("before any time") == Line(None, "before any time")
    told = read("[GIN] 2026/11/23 - 22:11:29 | 200 |")
    assert told is not None and told.at == datetime(2026, 11, 23, 20, 11, 29, tzinfo=UTC)
    assert read("  goes on") == Line(told.at, "  goes on")


def test_a_file_is_read_since_a_moment() -> None:
    read = FileReader(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    lines = ["?", "time=2026-11-23T11:00:00Z old", "  old", "time=2026-11-23T13:00:00Z new", "  new"]
    assert [line.text for raw in lines if (line := read(raw))] == ["time=2026-11-23T13:00:00Z new", "  new"]

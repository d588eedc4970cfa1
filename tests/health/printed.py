"""A plugin of pytest for `make test-diagnosis`: it runs what proves the diagnosis table, and prints both.

`pytest -p tests.health.printed tests/health tests/hosts` keeps the tests of original texts and those that provoke a
failure for real (`@pytest.mark.provokes("id")`), and ends with a line for each entry.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from orchestrator.health.table import table

TEXTS = "tests/health/test_diagnosis.py"
_provoked: dict[str, list[str]] = defaultdict(list)
"""Tests that provoke an entry, by its id."""
_texts: Counter[str] = Counter()
_outcome: dict[str, str] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what proves the table, and remember what proves which row."""
    kept, left = [], []
    for item in items:
        marks = [mark.args[0] for mark in item.iter_markers("provokes")]
        for entry in marks:
            _provoked[entry].append(item.nodeid)
        if item.nodeid.startswith(f"{TEXTS}::test_original_text"):
            _texts[item.callspec.params["case"].id] += 1  # type: ignore[attr-defined]
        (kept if marks or item.nodeid.startswith(TEXTS) else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test has passed when nothing of it failed, its fixtures included."""
    if report.when == "call" or report.outcome != "passed":
        before = _outcome.get(report.nodeid, report.outcome)
        _outcome[report.nodeid] = before if before == "failed" else report.outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table."""
    write = terminalreporter.line
    terminalreporter.section("the diagnosis table")
    write(f"{'entry':<34}{'versions':<12}{'texts':<7}{'cause':<72}provoked for real by")
    real = 0
    for entry in table():
        tests = _provoked.get(entry.id, [])
        real += any(_outcome.get(test) == "passed" for test in tests)
        proofs = [f"{_outcome.get(test, 'not run')}: {_short(test)}" for test in tests] or [""]
        cause = entry.cause if len(entry.cause) <= 70 else f"{entry.cause[:69]}…"
        write(f"{entry.id:<34}{entry.versions:<12}{_texts[entry.id]:<7}{cause:<72}{proofs[0]}".rstrip())
        for proof in proofs[1:]:
            write(f"{'':<125}{proof}")
    write("")
    write(f"{len(table())} entries, {sum(_texts.values())} original texts, {real} provoked for real in this run")


def _short(nodeid: str) -> str:
    return nodeid.removeprefix("tests/hosts/").replace(".py::", ": ")

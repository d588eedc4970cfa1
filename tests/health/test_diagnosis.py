"""The diagnosis table: every row is proven by the original text of the failure it is for."""

import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from orchestrator.health.diagnosis import UNKNOWN, diagnose, explain, first_error, remarks
from orchestrator.health.endpoint import Runtime
from orchestrator.health.table import engine_in, table, version_in

HERE = Path(__file__).parent


class Case(NamedTuple):
    id: str
    text: str
    cause: str
    remedy: str
    runtime: Runtime = "vllm"
    version: str = ""


CASES = [
    Case(**row)
    for name in ("cases.toml", "cases_beneath.toml", "cases_ways.toml", "cases_versions.toml")
    for row in tomllib.loads((HERE / name).read_text("utf-8"))["case"]
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_original_text_gives_cause_and_remedy(case: Case) -> None:
    found = diagnose(case.text, case.runtime, case.version)
    assert found is not None
    assert found.id == case.id
    assert case.cause in found.cause
    assert case.remedy in found.remedy
    assert found.line


def test_no_row_lacks_a_case() -> None:
    assert {entry.id for entry in table()} == {case.id for case in CASES}


def test_ids_are_unique_and_texts_name_only_groups_of_their_pattern() -> None:
    ids = [entry.id for entry in table()]
    assert len(ids) == len(set(ids))
    for entry in table():
        groups = dict.fromkeys((name.rstrip("0123456789") for name in entry.pattern.groupindex), "x")
        entry.cause.format_map(groups)
        entry.remedy.format_map(groups)


def test_rows_of_the_other_engine_do_not_count() -> None:
    assert diagnose("Error: no FROM line", "vllm") is None
    assert diagnose("Failed to infer device type, please set the", "ollama") is None


OUT_OF_SHM = "Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 64 MiB free."
LAST = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"


def test_a_cause_wins_over_the_symptoms_around_it() -> None:
    before, after = "Unknown vLLM environment variable detected: VLLM_FOO", "Worker proc VllmWorker-0 died unexpectedly"
    log = f"{before}\n{OUT_OF_SHM}\n{after}"
    found = diagnose(log, "vllm")
    assert found is not None
    assert found.id == "shared-memory-too-small"


def test_the_first_of_two_causes_wins() -> None:
    found = diagnose(f"OSError: [Errno 98] Address already in use\n{OUT_OF_SHM}", "vllm")
    assert found is not None
    assert found.id == "port-taken-by-another"


def test_the_last_line_of_a_failed_start_is_never_the_cause() -> None:
    log = f"""(EngineCore pid=7) ERROR 11-23 21:44:07 [core.py:1108] EngineCore failed to start.
(EngineCore pid=7) ERROR 11-23 21:44:07 [core.py:1108] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-23 21:44:07 [core.py:1108]   File "/x.py", line 1, in f
(EngineCore pid=7) ERROR 11-23 21:44:07 [core.py:1108] strange.UnheardOfError: the moon is in the way
(APIServer pid=1) {LAST}
"""
    assert first_error(log) == "strange.UnheardOfError: the moon is in the way"
    unknown = explain(log, "vllm")
    assert unknown is not None
    assert unknown.id == UNKNOWN
    assert "moon" in unknown.line
    assert first_error(f"(APIServer pid=1) {LAST}") == ""


def test_a_log_without_exceptions_shows_its_first_complaint() -> None:
    log = "starting\nfatal: cannot open the gates\nerror: giving up"
    assert first_error(log) == "fatal: cannot open the gates"


def test_a_real_log_of_a_good_start_explains_nothing() -> None:
    assert explain((HERE / "logs" / "vllm_cpu_start.txt").read_text("utf-8"), "vllm") is None


def test_a_log_without_any_error_explains_nothing() -> None:
    assert explain("INFO all is well\nlistening", "vllm") is None
    assert explain("", "ollama") is None


def test_terminal_escapes_and_braces_in_a_log_are_harmless() -> None:
    found = diagnose("\x1b[31mValueError: Load format `{0.__class__}\x07` is not supported\x1b[0m", "vllm")
    assert found is not None
    assert "{0.__class__}" in found.cause
    assert "\x1b" not in found.line
    assert "\x07" not in found.cause


def test_the_telling_line_is_the_whole_line_of_the_match() -> None:
    log = "before\nOSError: no/such is not a local folder and is not a valid model identifier listed on 'https://x'\nafter"
    found = diagnose(log, "vllm")
    assert found is not None
    assert found.line == log.split("\n")[1]
    assert "no model no/such" in found.cause


def test_a_text_means_what_it_means_in_its_version() -> None:
    text = "OSError: It looks like the config file at '/models/x.gguf' is not a valid JSON file."
    ids = [getattr(diagnose(text, "vllm", version), "id", None) for version in ("0.23.1", "0.24.0", "0.24", "v0.32.0")]
    assert ids == ["gguf-without-its-config", *["gguf-file-without-plugin"] * 3]


def test_the_version_and_the_engine_are_read_from_the_log() -> None:
    log = (HERE / "logs" / "vllm_cpu_start.txt").read_text("utf-8")
    assert (engine_in(log), version_in(log, "vllm"), version_in(log, None)) == ("vllm", "0.32.0", "0.32.0")
    ollama = 'time=… level=INFO source=routes.go:2008 msg="Listening on 127.0.0.1:11434 (version 0.33.0-rc2)"'
    assert version_in(ollama, "ollama") == "0.33.0"
    assert engine_in(ollama + "\n[GIN] 2026/11/23 | 200 | ollama") == "ollama"
    assert (engine_in("nothing"), version_in("nothing", None)) == (None, "")


def test_what_only_degrades_is_a_remark_and_no_failure() -> None:
    text = 'msg="Listening on [::]:11434 (version 0.33.0)"\nmsg="inference compute" id=cpu library=cpu compute=""'
    assert explain(text, "ollama") is None
    assert [remark.id for remark in remarks(text, "ollama")] == ["ollama-on-cpu"]
    assert remarks("load_tensors: offloaded 37/37 layers to GPU", "ollama") == ()


def test_without_an_engine_every_row_counts() -> None:
    assert [getattr(diagnose(text, None), "id", None) for text in ("no FROM line", "Failed to import Ray")] == [
        "ollama-no-from",
        "ray-missing",
    ]


def test_lines_as_journalctl_and_several_hosts_show_them_read_the_same() -> None:
    bare = "ValidationError: 1 error\ngpu_memory_utilization\n  Input should be less than or equal to 1 [x]"
    for prefix in ("Nov 24 10:00:00 gpu01 vllm[4711]: ", "gpu01 | ", "2026-11-24T10:00:00.1Z (APIServer pid=1) "):
        found = diagnose("\n".join(prefix + line for line in bare.split("\n")), "vllm")
        assert found is not None and found.id == "bad-memory-share", prefix


def test_the_telling_line_comes_with_its_number_and_its_surroundings() -> None:
    log = "\n".join([*(f"line {number}" for number in range(1, 40)), "strange.OddError: no", "after", "last"])
    unknown = explain(log, "vllm")
    assert unknown is not None and (unknown.id, unknown.number) == (UNKNOWN, 40)
    assert unknown.context == ("line 37", "line 38", "line 39", "strange.OddError: no", "after", "last")


@pytest.mark.timeout(60)
def test_a_hostile_log_is_read_in_time() -> None:
    """No pattern of the table may need a time that grows with the square of a line's length."""
    line = "pull model manifest: " + "a" * 200_000 + " lookup lib llama-server process has terminated: " * 2000
    assert explain(f"{line}\n" * 3 + "x" * 1_000_000, None) is not None

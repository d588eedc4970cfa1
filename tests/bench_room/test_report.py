"""The report: whole in itself, escaped, and drawn by a real browser that can reach nothing."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orchestrator.bench.report import check_library, write_report
from orchestrator.bench.result import GpuUse, Measurement
from orchestrator.errors import RefusedError, UsageError
from tests.bench_room.test_gate import level, measured

HOSTILE = """<script src="http://evil.invalid/x.js"></script>$\\frac{a}{b$ & 'q' "d" </svg> é漢"""
BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))), None)


def two(name: str = "vllm") -> list[Measurement]:
    gpu = GpuUse(index=0, name=name, memory_peak_mib=14000, memory_total_mib=16380, use_percent=99.5, energy_j=5120.0)
    failed = level(0, ok=0, at=50).model_copy(update={"errors": {"http 503": 8}, "complaints": {"http 503": name}})
    first = measured(level(25, at=1).model_copy(update={"gpus": (gpu,)}), level(60, at=4), failed)
    second = measured(level(29, at=1), level(101, at=4), level(140, first=2.0, at=50))
    changed = {"target": name, "host": name, "model": name, "summary": {name: name}, "notes": (name,)}
    return [first.model_copy(update=changed), second]


def test_all_three_are_written_and_say_the_same(tmp_path: Path):
    page, picture, numbers = write_report(tmp_path / "new" / "folder", two())
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert (width, height) == (1500, 1050)
    document = json.loads(numbers.read_text("utf-8"))
    assert document["schema"] == "deployctl.bench.report/1"
    assert [Measurement.model_validate(item) for item in document["measurements"]] == two()
    text = page.read_text("utf-8")
    assert "14000 of 16380 MiB" in text and "5120 J" in text and "8 failed, http 503" in text


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path):
    first, second = (write_report(tmp_path / name, two()) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_names_are_text_whatever_is_in_them(tmp_path: Path):
    page = write_report(tmp_path, two(HOSTILE))[0].read_text("utf-8")
    assert "<script" not in page and page.count("</svg>") == 1
    assert page.count("&lt;script src=&#34;http://evil.invalid/x.js&#34;&gt;") >= 5


def test_the_page_asks_for_nothing(tmp_path: Path):
    page = write_report(tmp_path, two())[0].read_text("utf-8")
    assert "default-src 'none'" in page
    named = set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page))
    assert all(name.startswith("#") for name in named), "only what is on the page itself"
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names of formats"
    drawing = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    assert ElementTree.fromstring(drawing).tag.endswith("svg")


@pytest.mark.skipif(BROWSER is None, reason="cannot run browser tests: no Chromium on this machine")
def test_a_browser_draws_it_without_asking_anybody(tmp_path: Path):
    page = write_report(tmp_path, two(HOSTILE))[0]
    picture, log = tmp_path / "page.png", tmp_path / "net.json"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1500"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--net-log-capture-mode=Everything"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run([str(BROWSER), *words], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    asked = set(re.findall(r'"url":"(\w+)://([^"/]*)', log.read_text("utf-8", "replace")))
    assert not {host for scheme, host in asked if "evil" in host}
    assert "evil.invalid" not in log.read_text("utf-8", "replace")
    assert "Refused to" not in done.stderr, "the page breaks none of its own rules"


def test_a_folder_that_cannot_be_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as failure:
        write_report(tmp_path / "file" / "below", two())
    assert failure.value.remedy == "choose another --out"


def test_without_the_library_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch):
    check_library()
    monkeypatch.setattr("orchestrator.bench.report.find_spec", lambda _: None)
    with pytest.raises(RefusedError) as failure:
        check_library()
    assert "deployctl[report]" in failure.value.remedy

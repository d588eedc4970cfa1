"""`deployctl doctor` on this very machine, without any deployment: its lines, its document and its exit codes."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.run import Ran, deployctl
from tests.docs.schemas import closed
from tests.doubles.hub import FakeHub

H100 = Path(__file__).parents[1] / "facts" / "recorded" / "h100-busy"
SEEN_TOOLS = ("curl", "tar", "sha256sum", "base64", "flock", "timeout", "gzip", "zstd")


class Desk:
    """This machine with a PATH of its own: basic tools, and what a test adds."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.folder, self.hub = folder, hub
        self.bin = folder / "bin"
        self.bin.mkdir()
        tools = (
            "awk",
            "cat",
            "cut",
            "date",
            "df",
            "dirname",
            "env",
            "getconf",
            "getent",
            "grep",
            "head",
            "id",
            "readlink",
        )
        for tool in (*tools, "sed", "sh", "stat", "tail", "tr", "uname", "python3", *SEEN_TOOLS):
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/missing/{tool}")

    def program(self, name: str, text: str) -> None:
        """Put a shell program into the PATH."""
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def doctor(self, *words: str, **variables: str) -> Ran:
        """Run it as a user whose home is here; nothing of this machine's proxies counts."""
        home = {"HOME": str(self.folder), "PATH": str(self.bin), "HF_ENDPOINT": self.hub.url}
        return deployctl("doctor", "--user", *words, cwd=self.folder, **{**home, **variables})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with FakeHub() as hub:
        yield Desk(tmp_path, hub)


def findings(ran: Ran) -> list[dict[str, Any]]:
    document = ran.document
    jsonschema.validate(document, closed("deployctl.doctor/1"))
    assert document["exit_code"] == ran.status
    (host,) = document["hosts"]
    found: list[dict[str, Any]] = host["findings"]
    return found


def level(ran: Ran, subject: str) -> str:
    """How bad it is about a subject."""
    levels = [finding["level"] for finding in findings(ran) if finding["subject"] == subject]
    return max(levels, key=["ok", "warn", "fail"].index)


def test_a_line_for_each_thing_and_a_remedy_for_each_that_is_not_well(desk: Desk) -> None:
    desk.program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    ran = desk.doctor("vllm")
    assert ran.status == 4
    lines = ran.out.splitlines()
    assert lines[0].startswith("local: 1 problem")
    at = next(number for number, line in enumerate(lines) if line.startswith("  ✗ docker"))
    assert lines[at].endswith("installed, but not to be reached: Cannot connect to the Docker daemon")
    assert lines[at + 1].lstrip().startswith("→ ")
    assert any(line.startswith("  ✓ hub ") and line.endswith(f"{desk.hub.url} answers the host") for line in lines)


def test_the_gpus_are_in_the_document(desk: Desk) -> None:
    answers = {"-q -x": "q.xml", "-L": "L.txt", "--query-gpu=uuid,compute_cap --format=csv,noheader": "compute_cap.csv"}
    cases = "".join(f'"{words}") exec cat {H100}/{name};; ' for words, name in answers.items())
    desk.program("nvidia-smi", f'case "$*" in {cases}esac; exit 2')
    desk.program("docker", '[ "$1" = version ] && echo 28.3.2 || echo "cgroupfs 2 /"')
    ran = desk.doctor("vllm", "--json")
    (host,) = ran.document["hosts"]
    (card,) = host["gpus"]
    assert (card["name"], card["compute_capability"], card["mig"]) == ("NVIDIA H100 80GB HBM3", [9, 0], False)
    assert sum(process["memory_mib"] for process in card["processes"]) <= card["memory_used_mib"]
    assert (level(ran, "gpu 0"), level(ran, "driver"), level(ran, "containers"), ran.status) == (
        "warn",
        "ok",
        "fail",
        4,
    )
    assert level(desk.doctor("--json"), "containers") == "warn"


def test_the_spec_s_port_and_mirror_count(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (desk.folder / "deployctl.yaml").write_text(
            "version: 1\nhub: {endpoint: 'http://127.0.0.1:9'}\nmodel: {delivery: fetch}\n"
            f"ollama: {{port: {port}}}\n"
        )
        ran = desk.doctor("--json")
    assert (level(ran, "ports"), level(ran, "hub"), ran.status) == ("fail", "fail", 4)
    assert any(f"{port} is taken" in finding["what"] for finding in findings(ran))
    assert any("http://127.0.0.1:9 cannot be reached" in finding["what"] for finding in findings(ran))


def test_a_proxy_counts_and_its_password_is_not_shown(desk: Desk) -> None:
    proxy = "http://ada:canary@127.0.0.1:9"
    ran = desk.doctor("--json", HF_ENDPOINT="http://hub.invalid", http_proxy=proxy)
    (hub,) = [finding for finding in findings(ran) if finding["subject"] == "hub"]
    assert "through http_proxy=http://***@127.0.0.1:9" in hub["what"]
    assert "canary" not in ran.out + ran.err


def test_a_mirror_s_url_can_add_nothing_to_what_curl_is_told(desk: Desk) -> None:
    trace = desk.folder / "owned"
    ran = desk.doctor("--json", HF_ENDPOINT=f'{desk.hub.url}/"\ntrace = "{trace}"\\')
    assert not trace.exists()
    assert ran.status in (0, 2, 4)


def test_nothing_is_written(desk: Desk) -> None:
    before = sorted(path for path in desk.folder.rglob("*"))
    desk.doctor()
    desk.doctor("--audit")
    assert sorted(path for path in desk.folder.rglob("*")) == before


def test_an_audit_without_deployments(desk: Desk) -> None:
    ran = desk.doctor("--audit")
    assert (ran.status, ran.out) == (0, "local: nothing is deployed\n")
    document = desk.doctor("--audit", "--json").document
    jsonschema.validate(document, closed("deployctl.doctor.audit/1"))
    assert document["deployments"] == []


def test_a_word_that_is_no_runtime(desk: Desk) -> None:
    ran = desk.doctor("vlm")
    assert ran.status == 2
    assert "there is no runtime 'vlm'" in ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may deploy system-wide")
def test_system_wide_without_root_is_refused(tmp_path: Path) -> None:
    assert deployctl("doctor", "--system", cwd=tmp_path).status == 4

"""Hashing what lies on a host once more: the digests are those that sha256sum and git give."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Result
from orchestrator.hosts.local import LocalHost
from orchestrator.progress import Quiet
from orchestrator.resources.origin import Origin
from orchestrator.resources.rehash import rehash


def origin(path: Path, kind: str) -> Origin:
    return Origin(source="https://hub/x", path=str(path), pin=f"{kind}:{'0' * 40}")


def test_digests_of_both_kinds_whatever_a_file_is_called(tmp_path: Path) -> None:
    large = tmp_path / 'it\'s "large" $(touch owned)\\0.gguf'
    large.write_bytes(b"weights\0" * 1000)
    small = tmp_path / "config.json"
    small.write_text("{}\n")
    named = subprocess.run(["git", "hash-object", small], capture_output=True, text=True, check=True).stdout.strip()
    missing = tmp_path / "gone"
    found = rehash(
        LocalHost(), [origin(large, "sha256"), origin(small, "git-sha1"), origin(missing, "sha256")], Quiet()
    )
    assert found == {
        str(large): f"sha256:{hashlib.sha256(large.read_bytes()).hexdigest()}",
        str(small): f"git-sha1:{named}",
    }


def test_what_no_file_holds_is_left_alone() -> None:
    assert rehash(LocalHost(), [Origin(source="vllm:x"), Origin(source="x", path="/x", pin="recipe:1")], Quiet()) == {}


class Cut:
    """A host whose answer ends in the middle."""

    name = "gpu01"

    def run(self, script: str, **_: object) -> Result:
        return Result(0, "0 abc\n")


def test_an_answer_that_is_cut_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(DeployError):
        rehash(Cut(), [origin(tmp_path, "sha256")], Quiet())  # type: ignore[arg-type]

"""Failures that real programs can be brought to on any machine: their own words, explained."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.health.diagnosis import diagnose
from tests.doubles.hub import FakeHub


def said(*words: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What a program that must fail prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def explained(text: str) -> tuple[str, str]:
    found = diagnose(text, "vllm")
    assert found is not None, text
    return found.id, found.cause + found.remedy


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """The double of the Hub, asked by the real client that vLLM uses."""
    with FakeHub("127.0.0.1") as hub:
        hub.token = "hf_theRightOneTheRightOne"
        hub.add_repo("org/gated", {"config.json": b"{}"}, gated=True)
        yield hub


def download(hub: FakeHub, model: str, tmp_path: Path, **env: str) -> str:
    code = f"from huggingface_hub import snapshot_download; snapshot_download({model!r}, allow_patterns='config.json')"
    where = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return said(sys.executable, "-c", code, env={**where, **env})


@pytest.mark.provokes("model-gated")
@pytest.mark.parametrize("token", [{}, {"HF_TOKEN": "hf_aWrongOneAWrongOneAWrong"}], ids=["none", "wrong"])
def test_a_gated_model_without_the_right_token(hub: FakeHub, tmp_path: Path, token: dict[str, str]) -> None:
    name, told = explained(download(hub, "org/gated", tmp_path, **token))
    assert name == "model-gated" and "licence" in told and "HF_TOKEN" in told


@pytest.mark.provokes("repository-unknown")
def test_a_repository_that_the_hub_does_not_have(hub: FakeHub, tmp_path: Path) -> None:
    name, told = explained(download(hub, "org/nowhere", tmp_path, HF_TOKEN=hub.token or ""))
    assert name == "repository-unknown" and "org/nowhere" in told


@pytest.mark.provokes("offline-not-cached")
def test_a_model_that_is_not_there_while_nothing_may_be_asked(hub: FakeHub, tmp_path: Path) -> None:
    name, _ = explained(download(hub, "org/gated", tmp_path, HF_HUB_OFFLINE="1"))
    assert name == "offline-not-cached"


@pytest.mark.provokes("port-taken-by-another")
def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        text = said(sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1")
    assert explained(text)[0] == "port-taken-by-another"


@pytest.mark.provokes("wrong-architecture")
def test_a_program_for_another_processor(tmp_path: Path) -> None:
    program = tmp_path / "engine"
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(100))  # RISC-V
    program.chmod(0o755)
    with pytest.raises(OSError) as error:
        subprocess.run([program], check=False)
    assert explained(str(error.value))[0] == "wrong-architecture"


needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh on this machine")


@needs_ssh
@pytest.mark.provokes("ssh-refused")
def test_a_host_without_an_ssh_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    name, told = explained(said("ssh", "-F", "none", "-o", "BatchMode=yes", "-p", port, "127.0.0.1", "true"))
    assert name == "ssh-refused" and port in told


@needs_ssh
@pytest.mark.provokes("ssh-name-unknown")
def test_a_host_that_has_no_address() -> None:
    name, told = explained(said("ssh", "-F", "none", "-o", "BatchMode=yes", "gpu01.invalid", "true"))
    assert name == "ssh-name-unknown" and "gpu01.invalid" in told

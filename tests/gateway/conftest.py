"""A gateway for all tests that do not change it, and one of their own for those that do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.errors import DeployError
from tests.gateway import gate as gates
from tests.gateway.gate import Gate
from tests.gateway.table import House, house
from tests.gateway.upstream import Upstream, upstream


@pytest.fixture(scope="session", autouse=True)
def has_caddy() -> None:
    """Fetch Caddy once; a machine that cannot says so."""
    try:
        gates.caddy()
    except DeployError as error:
        pytest.skip(f"cannot run gateway tests: {error.what}: {error.why}")


@pytest.fixture(scope="session")
def shared(has_caddy: None) -> Iterator[House]:
    """A gateway in front of an Ollama and a vLLM that answer everything. Not to be changed."""
    with house() as made:
        yield made


@pytest.fixture
def engine() -> Iterator[Upstream]:
    """An engine of the test's own."""
    with upstream() as made:
        yield made


@pytest.fixture
def own(has_caddy: None) -> Iterator[Gate]:
    """A gateway of the test's own, without sites yet."""
    with gates.gate() as made:
        yield made

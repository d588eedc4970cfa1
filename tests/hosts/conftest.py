"""What the end-to-end tests share: a controller, and a Hub that the machines can reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.hub import FakeHub
from tests.hosts.support import Controller


@pytest.fixture(scope="module")
def deployctl(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """`deployctl(*words, env=…) -> Run`: the command line of a laptop with a fresh home, for one module."""
    return Controller(tmp_path_factory.mktemp("controller"))


@pytest.fixture(scope="module")
def hub(gateway: str, deployctl: Controller) -> Iterator[FakeHub]:
    """A Hub that this machine and the lab's machines reach; the controller's HF_ENDPOINT names it."""
    with FakeHub(gateway) as hub:
        deployctl.env["HF_ENDPOINT"] = hub.url
        yield hub

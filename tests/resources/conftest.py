"""Resources on this machine, in folders of the test's own, as whoever runs the tests."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from orchestrator.hosts.local import LocalHost
from orchestrator.progress import Quiet
from orchestrator.resources.base import Difference, Observed, Resource
from orchestrator.resources.observe import observe


@dataclass(frozen=True)
class Bench:
    """Observe, apply and remove for real."""

    host: LocalHost

    def see(self, resource: Resource) -> Observed:
        return observe(self.host, [resource])[resource.address]

    def differences(self, resource: Resource) -> tuple[Difference, ...]:
        return resource.compare(self.see(resource))

    def apply(self, resource: Resource) -> None:
        resource.apply(self.host, self.see(resource), Quiet())

    def remove(self, resource: Resource) -> None:
        resource.remove(self.host, Quiet())


@pytest.fixture
def bench() -> Iterator[Bench]:
    host = LocalHost()
    yield Bench(host)
    host.close()


@pytest.fixture
def me() -> dict[str, str]:
    """The owner and group of what this process makes."""
    return {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}

"""A host that only remembers: what is made on it exists as it was wanted, and goes when it is removed.

Everything of the planning room runs for real on it; only the resources' own shell work is left out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import get_args

import pytest

from orchestrator.facts import Layout
from orchestrator.hosts.base import Result
from orchestrator.planning.apply import apply_plan, take_down
from orchestrator.planning.manifest import Manifest
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.planning.stop import Stop
from orchestrator.progress import Quiet
from orchestrator.resources.base import Observed, Resource
from orchestrator.resources.files import Directory
from orchestrator.resources.gateway_keys import FOREVER
from orchestrator.resources.registry import AnyResource
from orchestrator.runtimes.deployment import Deployment

SECRET = "sk-deployctl-simulated"
"""The key of every gateway."""

KINDS: tuple[type[Resource], ...] = get_args(get_args(AnyResource)[0])


class SimulatedHost:
    """Its files of deployctl's own (manifests), its resources, and what was done to them, in order."""

    name = "sim"
    is_local = False

    def __init__(self) -> None:
        self.state: dict[str, Observed] = {}
        self.done: list[tuple[str, str]] = []
        self.manifests: dict[str, Manifest] = {}
        self.fail_at: str | None = None

    def run(self, script: str, **_: object) -> Result:
        """Keeps manifests as they are written, and forgets them as they are removed."""
        if written := re.search(
            r"base64 -d > (\S+/manifest\.json)\.part <<'DEPLOYCTL_END'\n(.*)DEPLOYCTL_END", script, re.S
        ):
            manifest = Manifest.model_validate_json(base64.b64decode(written[2]))
            self.manifests[manifest.name] = manifest
        elif removed := re.match(r"rm -rf -- \S+/deployments/(\S+)\n", script):
            self.manifests.pop(removed[1], None)
        elif keys := re.fullmatch(r"cat -- (\S+/gateway/keys/\S+\.caddy)", script):
            assert f"gateway-keys:{keys[1]}" in self.state
            return Result(0, f'"~^(?i:bearer) +{SECRET}$" default user {FOREVER} # 1\n')
        elif not any(name in script for name in ("journal.jsonl", "audit.jsonl", "/generations/")):
            raise AssertionError(f"not a script of the planning room: {script}")
        return Result(0)

    def observed(self, *resources: Resource) -> dict[str, Observed]:
        return {item.address: self.state.get(item.address, Observed(exists=False)) for item in resources}

    def plan(self, deployment: Deployment) -> Plan:
        """As ``deploy.plan`` makes it."""
        mine = self.manifests.get(deployment.name)
        old = [entry.resource for entry in mine.all_entries] if mine else []
        manifests = tuple(self.manifests.values())
        return make_plan(self.name, deployment, self.observed(*old, *deployment.resources), manifests)

    def up(self, deployment: Deployment, layout: Layout) -> Plan:
        plan = self.plan(deployment)
        apply_plan(self, plan, layout, self.manifests.get(deployment.name), "ada@desk", Quiet(), Stop(), [])  # type: ignore[arg-type]
        return plan

    def down(self, name: str, layout: Layout, *, purge: bool = False) -> tuple[str, ...]:
        manifest = self.manifests[name]
        return take_down(self, manifest, tuple(self.manifests.values()), layout, Quiet(), Stop(), purge=purge)  # type: ignore[arg-type]

    def made(self, resource: Resource) -> None:
        if resource.address == self.fail_at:
            from orchestrator.errors import DeployError

            raise DeployError(f"cannot make {resource.address}")
        self.state[resource.address] = Observed(exists=True, fields=dict(resource.wanted()))
        self.done.append(("make", resource.address))

    def removed(self, resource: Resource) -> None:
        if isinstance(resource, Directory) and not resource.contents and self._holds(resource.path):
            return  # as rmdir has it
        self.state.pop(resource.address, None)
        self.done.append(("remove", resource.address))

    def _holds(self, path: str) -> bool:
        """Whether anything that a resource made is in a directory."""
        return any(address.partition(":")[2].startswith(f"{path}/") for address in self.state)


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedHost]:
    """A simulated host, with all kinds of resources made and removed on it alone."""
    for kind in KINDS:
        monkeypatch.setattr(kind, "apply", lambda self, host, observed, progress: host.made(self))
        monkeypatch.setattr(kind, "remove", lambda self, host, progress: host.removed(self))
    yield SimulatedHost()

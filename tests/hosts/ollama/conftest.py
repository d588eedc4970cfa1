"""One machine for all of these tests, an archive of Ollama, and a model on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.doubles.gguf import write_gguf
from tests.doubles.hub import FakeHub
from tests.doubles.ollama.archive import make_archive
from tests.doubles.ollama.running import GGUF, OFFICIAL
from tests.hosts.support import Controller, Run, ask, give_wheels
from tests.lab import snapshot as snapshots
from tests.lab.images import OPW_PASSWORD
from tests.lab.machines import USERS, Machine

HOST = "gpu02"
REPO = "org/tiny-GGUF"
MODEL = f"hf:{REPO}:Q4_K_M"
FILE = "tiny-Q4_K_M.gguf"
NAME = "tiny"
API = "http://127.0.0.1:11434"
TOKEN = "hf_canaryTokenOfTheHub0123456789"
"""The Hub's token: never to be seen in any output, nor in any file on a host."""

only_double = pytest.mark.skipif(bool(OFFICIAL), reason="needs a knob that the official Ollama does not have")


@pytest.fixture(scope="package")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive to install: the double's, or the official one that DEPLOYCTL_TEST_OLLAMA names."""
    return Path(OFFICIAL) if OFFICIAL else make_archive(tmp_path_factory.mktemp("archive") / "ollama.tar.zst").path


@pytest.fixture(scope="package")
def gguf(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A model's file, with a chat template."""
    if GGUF:
        return Path(GGUF)
    if OFFICIAL:
        small: Path = request.getfixturevalue("smollm2_gguf")
        return small
    return write_gguf(tmp_path_factory.mktemp("model") / FILE)


@dataclass(frozen=True)
class Found:
    """The second machine, and how it was before the first test of this package."""

    machine: Machine
    state: snapshots.State = field(repr=False)


@pytest.fixture(scope="package")
def found(second_machine: Machine) -> Iterator[Found]:
    """Able to install supervisord without a network, and otherwise as it booted."""
    give_wheels(second_machine, "supervisor==4.3.0")
    yield Found(second_machine, second_machine.state())
    second_machine.exec("rm -rf /etc/pip.conf /opt/lab-wheels")


@dataclass
class Box:
    """The machine, the controller that deploys to it, and the Hub."""

    machine: Machine
    deployctl: Controller
    hub: FakeHub
    archive: Path
    before: snapshots.State = field(repr=False)

    def up(self, *words: str | Path, host: str = HOST, env: dict[str, str] | None = None, own: bool = True) -> Run:
        """`deployctl up ollama` with the model, and (unless `own` is false) the archive, as one JSON document."""
        given = [str(word) for word in words]
        for option, value in (("--archive", str(self.archive)), ("--model", MODEL)):
            if option not in given and (own or option != "--archive"):
                given += [option, value]
        return self.deployctl("up", "ollama", "--host", host, "--yes", "--json", *given, env=env)

    def down(self, *words: str, host: str = HOST, env: dict[str, str] | None = None) -> Run:
        """`deployctl down`."""
        return self.deployctl("down", "--host", host, "--yes", *words, env=env)

    def status(self, host: str = HOST) -> list[dict[str, object]]:
        """The deployments that `deployctl status` shows."""
        run = self.deployctl("status", "--host", host, "--json")
        assert run.exit == 0, run
        deployments: list[dict[str, object]] = run.json()["deployments"]
        return deployments

    def changed(self) -> list[str]:
        """What differs on the machine from how it was before the first test; empty is as before."""
        sudos_own = ("/home/*/.sudo_as_admin_successful",)
        return snapshots.diff(self.before, self.machine.state(), sudos_own)

    def traces(self) -> list[str]:
        """What deployctl has put on the machine, at a quick look; `changed` looks everywhere."""
        units = "/etc/systemd/system/*ollama* /etc/systemd/system/deployctl*"
        places = f"/etc/deployctl /var/lib/deployctl /opt/deployctl {units} /home/*/.*/*/deployctl"
        accounts = "getent passwd ollama deployctl-gateway || true"
        return self.machine.exec(f"ls -d {places} 2>/dev/null; {accounts}").splitlines()

    def unit(self, *properties: str, name: str = "deployctl-ollama.service") -> list[str]:
        """Properties of a unit, as systemd shows them."""
        wanted = ",".join(properties)
        lines = self.machine.exec(f"systemctl show -p {wanted} {name}").splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return [found[name] for name in properties]


@pytest.fixture(scope="module")
def box(found: Found, deployctl: Controller, hub: FakeHub, archive: Path, gguf: Path) -> Iterator[Box]:
    """Everything in place, nothing deployed. After the module, no run may have shown a secret."""
    machine = found.machine
    login = {"address": "127.0.0.1", "port": machine.ssh_port, "key": str(machine.key)}
    deployctl.knows([machine], more={f"{HOST}-{user}": {**login, "user": user} for user in USERS})
    deployctl.env["HF_TOKEN"] = hub.token = TOKEN
    hub.add_repo(REPO, {FILE: gguf, "README.md": b"# tiny\n"})
    yield Box(machine, deployctl, hub, archive, found.state)
    secrets = (TOKEN, OPW_PASSWORD)
    assert [run for run in deployctl.runs if any(secret in run.text for secret in secrets)] == []


def kinds(run: Run) -> list[str]:
    """The kinds of resources that an `up --json` changed, in order."""
    return [change["kind"] for deployment in run.json()["deployments"] for change in deployment["changes"]]


def chat(machine: Machine, model: str = NAME, user: str = "root") -> str:
    """Ask the endpoint for a chat completion, by curl on the machine."""
    body = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "Hello!"}]}
    return ask(machine, f"{API}/v1/chat/completions", body, name="ollama", user=user)

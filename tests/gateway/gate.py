"""A real Caddy on this machine, with what the product renders and applies, in a folder of its own."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path
from typing import Any

from orchestrator.facts import Facts, Layout
from orchestrator.hosts.local import LocalHost
from orchestrator.models.resolved import ResolvedModel
from orchestrator.progress import Quiet
from orchestrator.resources import unpacked
from orchestrator.resources.base import Observed, Resource
from orchestrator.resources.files import Directory, File
from orchestrator.resources.gateway_keys import GatewayKeys
from orchestrator.resources.gateway_site import GatewaySite
from orchestrator.runtimes.deployment import Inputs
from orchestrator.runtimes.front import front
from orchestrator.runtimes.gateway import GatewayFor
from orchestrator.spec import load_spec
from orchestrator.templating.engine import Renderer
from tests.doubles.ollama.running import free_port
from tests.lab import cache
from tests.runtimes.golden import HERE, read

PATIENCE = 30
"""Seconds after which something that has to happen is said not to. No test waits for it when all is well."""

PAST = 1
"""An expiry long ago, in seconds since 1970."""


@once
def caddy() -> Path:
    """The pinned Caddy, fetched by the product itself and kept between runs."""
    resource = gateway_for("ollama", {}).program
    wanted = unpacked.Wanted(
        name="caddy",
        source=resource.source,
        source_sha256=resource.source_sha256,
        package=resource.package,
        arch=resource.arch,
        sha256=resource.sha256,
    )
    with cache.locked("caddy"):
        place = cache.folder() / "caddy" / resource.source_sha256 / "caddy"
        if not place.exists():
            found = unpacked.program(wanted, Quiet())
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(".part")
            shutil.copyfile(found.path, part)
            part.chmod(0o755)
            part.replace(place)
    return place


@dataclass
class Site:
    """One deployment's public port, and keys for it by what they are."""

    name: str
    runtime: str
    port: int
    gateway: GatewayFor
    keys: GatewayKeys
    resources: list[Resource]
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def keys_file(self) -> Path:
        return Path(self.keys.path)

    @property
    def site_file(self) -> Path:
        return Path(next(item.path for item in self.resources if isinstance(item, GatewaySite)))


class Gate:
    """The gateway of a host that is a folder. Sites may come, change and go while it runs."""

    def __init__(self, folder: Path, renderer: Renderer | None = None) -> None:
        self.folder, self.renderer = folder, renderer or Renderer()
        self.host = LocalHost()
        self.sites: dict[str, Site] = {}
        self.log: list[str] = []
        self._told, self._ended = threading.Condition(), False
        self.process: subprocess.Popen[bytes] | None = None

    def site(self, name: str, runtime: str, upstream: int, **values: Any) -> Site:
        """What the product wants for a deployment whose engine listens on ``upstream``. Applies nothing."""
        port = self.sites[name].port if name in self.sites else free_port()
        settings = {f"{runtime}.name": name, f"{runtime}.port": port, f"{runtime}.engine_port": upstream}
        more = {key if "." in key else f"gateway.{key}": value for key, value in values.items()}
        gateway = gateway_for(runtime, {**settings, **more}, self.folder, self.renderer)
        resources = [item for item in gateway.after() if isinstance(item, Directory | File | GatewayKeys | GatewaySite)]
        resources = [item for item in resources if item.path.startswith((gateway.config, gateway.data))]
        keys = next(item for item in resources if isinstance(item, GatewayKeys))
        secrets = self.sites[name].secrets if name in self.sites else {}
        return Site(name, runtime, port, gateway, keys, list(resources), secrets)

    def add(self, name: str, runtime: str, upstream: int, **values: Any) -> Site:
        """Apply a deployment's part of the gateway, as ``up`` does; a site of that name changes."""
        site = self.site(name, runtime, upstream, **values)
        program = Path(site.gateway.program.path)
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            program.symlink_to(caddy())
        for resource in site.resources:
            self.apply(resource)
        self.sites[name] = site
        return site

    def apply(self, resource: Resource) -> None:
        """Make one resource so."""
        with suppress(FileExistsError):
            if isinstance(resource, Directory):
                Path(resource.path).parent.mkdir(parents=True)
        resource.apply(self.host, Observed(exists=False), Quiet())

    def make_keys(self, site: Site) -> None:
        """A key for each role, one that has ended and one that was revoked."""
        for name, role, expires in (
            ("user", "user", None),
            ("admin", "admin", None),
            ("metrics", "metrics", None),
            ("expired", "admin", PAST),
            ("revoked", "admin", None),
        ):
            site.secrets[name] = site.keys.create(self.host, name, role, expires).reveal()
        site.keys.revoke(self.host, "revoked")

    def start(self) -> None:
        """Run it with the words of its service, and wait until it listens."""
        one = next(iter(self.sites.values())).gateway
        words = [one.program.path, "run", "--config", one.caddyfile, "--adapter", "caddyfile"]
        environment = {"PATH": os.environ["PATH"], "HOME": one.data, "XDG_DATA_HOME": one.data}
        told, self._ended = len(self.log), False
        self.process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        self.wait_for('"msg":"serving initial configuration"', told)

    def wait_for(self, text: str, since: int = 0) -> str:
        """The first line of the gateway's log after ``since`` lines that holds the text."""

        def found() -> str | None:
            return next((line for line in self.log[since:] if text in line), None)

        with self._told:
            assert self._told.wait_for(lambda: found() or self._ended, PATIENCE), f"no {text} in {self.log}"
            line = found()
        assert line, f"the gateway ended: {self.log}"
        return line

    def root_certificate(self, site: Site, *names: str) -> Path:
        """The root of ``tls: internal``, once there are certificates for these names of a site, and are in use."""
        root = Path(site.gateway.data, "caddy", "pki", "authorities", "local", "root.crt")
        for name in names:
            self.wait_for(f'"msg":"certificate obtained successfully","identifier":"{name}"')
            trust = ssl.create_default_context(cafile=str(root))
            until = time.monotonic() + PATIENCE
            while not _shakes_hands(site.port, name, trust):
                assert time.monotonic() < until, f"no certificate for {name}: {self.log}"
        return root

    def adapted(self) -> Any:
        """The configuration as Caddy understands it."""
        return json.loads(self.tell("adapt", "--config", next(iter(self.sites.values())).gateway.caddyfile))

    def tell(self, *words: str) -> str:
        """The output of a command of Caddy's."""
        done = subprocess.run([str(caddy()), *words], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> None:
        """End it, at once."""
        self.host.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr
        with process.stderr:
            for line in process.stderr:
                with self._told:
                    self.log.append(line.decode("utf-8", "replace"))
                    self._told.notify_all()
        with self._told:
            self._ended = True
            self._told.notify_all()


def _shakes_hands(port: int, name: str, trust: ssl.SSLContext) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
        try:
            trust.wrap_socket(plain, server_hostname=name).close()
        except ssl.SSLCertVerificationError:
            raise
        except ssl.SSLError:
            return False
    return True


@contextmanager
def folder() -> Iterator[Path]:
    """A folder with a short path: the control socket's has to fit into 100 bytes."""
    made = Path(tempfile.mkdtemp(prefix="gw-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def gate(renderer: Renderer | None = None) -> Iterator[Gate]:
    """A gateway without sites yet, that is ended with the block."""
    with folder() as home:
        made = Gate(home, renderer)
        try:
            yield made
        finally:
            made.stop()


def gateway_for(
    runtime: str, values: dict[str, Any], home: Path = Path("/nonexistent"), renderer: Renderer | None = None
) -> GatewayFor:
    """The gateway that the product wants, for those values of the spec, on a host that is the folder ``home``."""
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    places = {"state": "state", "config": "config", "data": "data", "opt": "opt"}
    layout = Layout(scope="user", **{name: f"{home}/{part}" for name, part in places.items()})
    machine = read(HERE / "machine.json")
    pythons = [{"path": "/usr/bin/python3", "version": [3, 12], "venv": True}]
    here = {"layout": layout, "user": user, "group": group, "systemd": False, "pythons": pythons}
    spec = load_spec(None, values, runtimes=(runtime,))
    model = next(iter(read(HERE / "hub.json").values()))["model"]
    inputs = Inputs(
        spec=spec,
        facts=Facts.model_validate({**machine, **here}),
        model=ResolvedModel.model_validate(model),
        renderer=renderer or Renderer(),
    )
    section = spec.for_runtime(runtime)
    return GatewayFor(inputs, runtime, section.name, front(spec, section))

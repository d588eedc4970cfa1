"""The gateway: one Caddy on each host, in front of the engines of all its deployments (DESIGN 5.9).

Program, main Caddyfile and service are the same for every deployment of a host, which share them as they share
directories. What is a deployment's own is a site (its public port) and its keys.
"""

import re

from orchestrator.errors import RefusedError
from orchestrator.facts import everywhere
from orchestrator.health.endpoint import Gateway
from orchestrator.resources.account import Account
from orchestrator.resources.files import Directory
from orchestrator.resources.gateway_keys import GatewayKeys
from orchestrator.resources.gateway_site import GatewaySite
from orchestrator.resources.program import Program
from orchestrator.resources.registry import AnyResource
from orchestrator.runtimes import routes
from orchestrator.runtimes.common import (
    SOCKET_MAX,
    Owner,
    docker_bytes,
    supervised_service,
    systemd_service,
)
from orchestrator.runtimes.deployment import Inputs
from orchestrator.runtimes.front import Front
from orchestrator.spec import GatewaySpec
from orchestrator.spec.catalogue import caddy_release

ACCOUNT = "deployctl-gateway"
SERVICE = "gateway"
"""What the gateway is called among the services of a host."""

UNIT = f"deployctl-{SERVICE}.service"
GATEWAY_SERVICES = (SERVICE, UNIT)
"""Its identities, under the supervisor and under systemd."""


class GatewayFor:
    """The gateway as one deployment needs it."""

    def __init__(self, inputs: Inputs, runtime: str, name: str, front: Front) -> None:
        self.inputs, self.runtime, self.name, self.front = inputs, runtime, name, front
        self.section: GatewaySpec = inputs.spec.gateway
        self.owner = Owner(inputs.facts, ACCOUNT)
        layout = inputs.layout
        self.config = f"{layout.config}/gateway"
        self.data = f"{layout.data}/gateway"
        self.socket = f"{self.data}/admin.sock"
        self.keys_file = f"{self.config}/keys/{name}.caddy"
        self.program = program(inputs)
        if len(self.socket.encode()) > SOCKET_MAX:
            raise RefusedError(
                f"the path {self.socket} is too long for a socket",
                host=inputs.facts.host,
                remedy="set XDG_DATA_HOME to a shorter path",
            )

    def before(self) -> list[AnyResource]:
        """What is brought before an engine is touched, so that a gateway that cannot be had disturbs nothing."""
        parent = self.owner.directory(f"{self.inputs.layout.opt}/caddy")
        return [parent, self.owner.directory(self.program.path.rpartition("/")[0]), self.program]

    def after(self, ready: str = "", container: str = "") -> list[AnyResource]:
        """Keys, site and service, once the engine runs behind them.

        ``ready`` is a request to the engine in ``container``, as JSON; a site that leads to another one waits for its
        answer.
        """
        user, group = self.owner.files[0], self.owner.engine[1]
        control = {"caddy": self.program.path, "caddyfile": self.caddyfile, "socket": self.socket}
        keys = GatewayKeys(
            path=self.keys_file, owner=user, group=group, mode="640" if self.owner.account else "600", **control
        )
        site = GatewaySite(
            path=f"{self.config}/sites/{self.name}.caddy",
            owner=user,
            group=group,
            mode="640",
            content=self._site(),
            upstream=self.front.engine_url,
            ready=ready,
            container=container,
            **control,
        )
        main = self.owner.file(self.caddyfile, self._main())
        return [*self._folders(user, group), main, keys, site, *self._service(main.address)]

    def _folders(self, user: str, group: str) -> list[AnyResource]:
        """The gateway's account and folders; sites and keys are for it alone."""
        private = {"owner": user, "group": group, "mode": "750"}
        account = [Account(name=ACCOUNT, home=self.data)] if self.owner.account else []
        return [
            *account,
            self.owner.directory(self.config),
            Directory.model_validate({"path": f"{self.config}/sites", **private}),
            Directory.model_validate({"path": f"{self.config}/keys", **private}),
            self.owner.directory(self.data, mode="700", engine=True, keep=True),
        ]

    @property
    def caddyfile(self) -> str:
        """The main file, which reads all sites."""
        return f"{self.config}/Caddyfile"

    @property
    def endpoint(self) -> Gateway:
        """How the host itself comes in."""
        front = self.front
        url = front.gateway_url(self.inputs.facts)
        return Gateway(
            url=url,
            connect=front.gateway_address,
            tls=self.section.tls,
            keys=self.keys_file,
            control=self.socket,
        )

    def warnings(self) -> tuple[str, ...]:
        """What the user should act on."""
        if self.section.tls == "none" and self.front.open:
            return (
                f"port {self.front.port} is open to other machines without TLS: keys and texts can be read on the way "
                "(--tls internal, acme or files)",
            )
        return ()

    def _main(self) -> str:
        return self.inputs.renderer.render(
            "gateway/Caddyfile.j2", {"socket": self.socket, "sites": f"{self.config}/sites/*.caddy"}
        )

    def _site(self) -> str:
        front, section = self.front, self.section
        bind = "127.0.0.1" if front.bind == "localhost" else front.bind
        return self.inputs.renderer.render(
            "gateway/site.caddy.j2",
            {
                "name": self.name,
                "runtime": self.runtime,
                "tls": section.tls,
                "names": self._names(),
                "port": front.port,
                "bind": bind,
                "upstream": f"{front.engine_bind}:{front.engine_port}",
                "keys": self.keys_file,
                "max_body_bytes": docker_bytes(section.max_body),
                "open_health": section.open_health,
                "health_path": "/" if self.runtime == "ollama" else "/health",
                "certificate": section.certificate,
                "certificate_key": section.certificate_key,
                "acme_ca": section.acme_ca,
                "acme_ca_root": section.acme_ca_root,
                "acme_email": section.acme_email,
                **{f"{role}_routes": routes.pattern(self.runtime, role) for role in ("user", "admin", "metrics")},
            },
        )

    def _names(self) -> list[str]:
        """The names of its certificate: as told, and for an authority of our own every way to the host."""
        if self.section.tls != "internal":
            return [] if self.section.tls == "none" else list(self.section.domains)
        bind, address, own = self.front.bind, self.inputs.facts.address, self.inputs.facts.hostname.lower()
        numbers = ["127.0.0.1", "[::1]"]
        numbers += [address] if self.front.open and address else []
        numbers += [] if everywhere(bind) or bind == "localhost" else [bind]
        bracketed = (f"[{item}]" if ":" in item and not item.startswith("[") else item for item in numbers)
        named = [own] if self.front.open and re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?", own) else []
        return list(dict.fromkeys((*self.section.domains, *named, "localhost", *bracketed)))

    def _service(self, main: str) -> list[AnyResource]:
        words = [self.program.path, "run", "--config", self.caddyfile, "--adapter", "caddyfile"]
        environment = [("XDG_DATA_HOME", self.data), ("XDG_CONFIG_HOME", self.data), ("HOME", self.data)]
        follows = [self.program.address, main]
        made_from = [self._main()]
        if not self.inputs.facts.systemd:
            return supervised_service(
                self.inputs, self.owner, SERVICE, words, environment, self.data, made_from, follows
            )
        text = self.inputs.renderer.render(
            "gateway/gateway.service.j2",
            {
                "user": self.owner.engine[0],
                "group": self.owner.engine[1],
                "exec": words,
                "reload": [*words[:1], "reload", *words[2:], "--address", f"unix/{self.socket}", "--force"],
                "environment": environment,
                "data": self.data,
            },
        )
        return systemd_service(self.inputs, SERVICE, UNIT, text, made_from, follows)


def program(inputs: Inputs) -> Program:
    """Caddy for the host: the pinned wheel's, or the user's. Nothing is fetched for it here."""
    arch, given = inputs.facts.arch, inputs.gateway_archive
    if given is not None:
        source, digest, label = given.source, given.sha256, given.sha256[:12]
        pinned: dict[str, str] = {}
    else:
        release = caddy_release()
        source, digest = f"{release.package}=={release.version}", release.wheel[arch]
        label = f"{release.version}-{digest[:12]}"
        pinned = {"sha256": release.sha256[arch]}
    return Program.model_validate(
        {
            "path": f"{inputs.layout.opt}/caddy/{label}/caddy",
            "source": source,
            "source_sha256": digest,
            "package": given is None,
            "arch": arch,
            **pinned,
        }
    )

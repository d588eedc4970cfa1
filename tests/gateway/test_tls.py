"""TLS: which certificate whom, and that no name is a way around the key."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.gateway.client import Reply, by_curl, connection, request, send
from tests.gateway.gate import Gate, Site, gate
from tests.gateway.upstream import CONTENT, Upstream, upstream

NAME = "llm.example.test"


@dataclass
class Secure:
    """A gateway that speaks TLS, and what clients need to trust it."""

    gate: Gate
    site: Site
    engine: Upstream
    root: Path
    address: str = "127.0.0.1"

    @property
    def key(self) -> str:
        return self.site.secrets["user"]

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root))

    def ask(self, name: str, host: str, key: str | None = None, tls: ssl.SSLContext | None = None) -> Reply:
        """GET /v1/models with that name in TLS and that Host."""
        data = request("GET", "/v1/models", key, Host=host)
        return send(self.site.port, data, host=self.address, tls=tls or self.trusting(), name=name)


@pytest.fixture(scope="module")
def internal(has_caddy: None) -> Iterator[Secure]:
    """An authority of its own, open to other machines as ``--bind 0.0.0.0`` is."""
    with upstream() as engine, gate() as made:
        site = made.add("ollama", "ollama", engine.port, tls="internal", domains=[NAME], **{"ollama.bind": "0.0.0.0"})
        made.make_keys(site)
        made.start()
        yield Secure(made, site, engine, made.root_certificate(site, NAME, "localhost", "127.0.0.1"))


@pytest.mark.parametrize("name", [NAME, "localhost", "127.0.0.1"])
def test_its_root_verifies_every_way_in(internal: Secure, name: str) -> None:
    reply = internal.ask(name, f"{name}:{internal.site.port}", internal.key)
    assert (reply.status, reply.body) == (200, CONTENT)
    assert "strict-transport-security" not in reply.headers, "a name would be lost to plain HTTP for good"
    assert internal.ask(name, name).status == 401
    assert internal.ask(name, name, "wrong").error()["code"] == "invalid_api_key"


def test_without_its_root_nobody_believes_it(internal: Secure) -> None:
    with internal.engine.sees_nothing(), pytest.raises(ssl.SSLCertVerificationError):
        internal.ask("localhost", "localhost", internal.key, ssl.create_default_context())


def believing() -> ssl.SSLContext:
    """An attacker's: does not care who answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:443", "127.0.0.2", "[::2]", "LLM.EXAMPLE.TEST.evil", "x"]
)
@pytest.mark.parametrize("name", [NAME, "localhost", ""])
def test_a_host_that_is_not_served_gets_no_content(internal: Secure, name: str, host: str) -> None:
    with internal.engine.sees_nothing():
        for key in (None, internal.key):
            reply = internal.ask(name, host, key, believing())
            assert reply.status == 421
            assert reply.error()["code"] == "unknown_host"


@pytest.mark.parametrize("name", ["evil.example", "x", "llm.example.test.evil", "sub.llm.example.test"])
def test_a_name_without_a_certificate_is_turned_away(internal: Secure, name: str) -> None:
    with internal.engine.sees_nothing(), pytest.raises(ssl.SSLError, match="ALERT"):
        internal.ask(name, NAME, internal.key, believing())


def test_one_certificate_does_for_another_name_that_is_served_too(internal: Secure) -> None:
    """Browsers and HTTP/2 clients share connections between names of one certificate's host."""
    assert internal.ask("localhost", NAME, internal.key).status in {200, 421}
    with internal.engine.sees_nothing():
        assert internal.ask("localhost", NAME).status in {401, 421}


def test_plain_http_is_not_spoken(internal: Secure) -> None:
    with internal.engine.sees_nothing():
        reply = send(internal.site.port, request("GET", "/v1/models", internal.key))
    assert reply.status == 400
    assert CONTENT not in reply.body


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_versions_of_today_are_spoken(internal: Secure, version: ssl.TLSVersion) -> None:
    context = internal.trusting()
    context.minimum_version = context.maximum_version = version
    assert internal.ask(NAME, NAME, internal.key, context).status == 200


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_not(internal: Secure, version: ssl.TLSVersion) -> None:
    context = believing()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with internal.engine.sees_nothing(), pytest.raises(ssl.SSLError):
        internal.ask(NAME, NAME, internal.key, context)


def test_http_2_is_judged_alike(internal: Secure) -> None:
    base = f"https://localhost:{internal.site.port}"
    trust = ("--cacert", str(internal.root))
    with internal.engine.sees_nothing():
        assert by_curl("--http2", base, "/v1/models", None, *trust)[:2] == ("2", 401)
        assert by_curl("--http2", base, "/v1/models", "wrong", *trust)[:2] == ("2", 401)
        assert by_curl("--http2", base, "/api/create", internal.key, *trust, "-X", "POST")[:2] == ("2", 403)
        assert by_curl("--http2", base, "/v1/%2e%2e/api/tags", internal.key, *trust, "--path-as-is")[:2] == ("2", 400)
        assert by_curl("--http2", base, "/v1/models", internal.key, *trust, "-H", "Host: evil")[:2] == ("2", 421)
    assert by_curl("--http2", base, "/v1/models", internal.key, *trust) == ("2", 200, CONTENT)


def test_the_authority_stays_when_the_site_changes(internal: Secure) -> None:
    before = internal.root.read_bytes()
    values = {"tls": "internal", "domains": [NAME, "second.example.test"], "ollama.bind": "0.0.0.0"}
    internal.gate.add("ollama", "ollama", internal.engine.port, **values)
    assert internal.root.read_bytes() == before
    internal.gate.root_certificate(internal.site, "second.example.test")
    assert internal.ask(NAME, NAME, internal.key).status == 200


def test_the_authoritys_key_is_private(internal: Secure) -> None:
    keys = list(Path(internal.site.gateway.data).rglob("*.key"))
    assert keys
    assert {oct(path.stat().st_mode & 0o077) for path in keys} == {"0o0"}


def certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """A certificate for those names, that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=9)
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    form = serialization.Encoding.PEM
    places = folder / f"{names[0]}.pem", folder / f"{names[0]}.key"
    places[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(form))
    style = serialization.PrivateFormat.PKCS8
    places[1].write_bytes(key.private_bytes(form, style, serialization.NoEncryption()))
    return places


def test_certificates_of_the_users_own(own: Gate, engine: Upstream, tmp_path: Path) -> None:
    chain, private = certificate(tmp_path, NAME)
    files = {"tls": "files", "domains": [NAME], "certificate": str(chain), "certificate_key": str(private)}
    site = own.add("ollama", "ollama", engine.port, **files)
    own.make_keys(site)
    own.start()
    secure = Secure(own, site, engine, chain)
    assert secure.ask(NAME, f"{NAME}:{site.port}", secure.key).body == CONTENT
    with engine.sees_nothing():
        assert secure.ask(NAME, NAME).status == 401
        assert secure.ask(NAME, "evil.example", secure.key).status == 421
        for name in ("localhost", "evil.example", ""):
            try:
                assert secure.ask(name, "evil.example", secure.key, believing()).status == 421
            except ssl.SSLError as error:
                assert "ALERT" in str(error)
        assert send(site.port, request("GET", "/v1/models", secure.key)).status == 400


def test_a_certificate_that_is_not_there_is_refused_and_undone(own: Gate, engine: Upstream, tmp_path: Path) -> None:
    from orchestrator.errors import DeployError

    site = own.add("ollama", "ollama", engine.port)
    own.make_keys(site)
    own.start()
    files = {
        "tls": "files",
        "domains": [NAME],
        "certificate": f"{tmp_path}/no.pem",
        "certificate_key": f"{tmp_path}/no",
    }
    with pytest.raises(DeployError) as failed:
        own.add("ollama", "ollama", engine.port, **files)
    assert "no.pem" in failed.value.why
    with connection(site.port) as client:
        client.send(request("GET", "/v1/models", site.secrets["user"]))
        assert client.reply().status == 200

"""Whatever the values of a spec: the gateway's configuration has no directive that it would not have otherwise.

The real Caddy reads both renderings, and a harmless one with the value put in its place has to come out the same.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import DeployError, UsageError
from orchestrator.facts import Layout
from orchestrator.resources.gateway_site import GatewaySite
from orchestrator.runtimes.gateway import GatewayFor
from orchestrator.templating.caddy import caddy as caddy_token
from orchestrator.templating.text import Unsayable
from tests.gateway import gate as gates
from tests.gateway.gate import Gate
from tests.templating.hostile import TEXTS, VALUES
from tests.templating.readers import systemd_reads

SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "gateway.certificate": (
        {"tls": "files", "domains": ["a.example"], "certificate": "HARMLESS", "certificate_key": "/k"},
        "/etc/harmless.pem",
    ),
    "gateway.certificate_key": (
        {"tls": "files", "domains": ["a.example"], "certificate": "/c", "certificate_key": "HARMLESS"},
        "/etc/harmless.key",
    ),
    "gateway.acme_ca": ({"tls": "acme", "domains": ["a.example"], "acme_ca": "HARMLESS"}, "https://ca.example/dir"),
    "gateway.acme_ca_root": (
        {"tls": "acme", "domains": ["a.example"], "acme_ca": "https://ca.example/d", "acme_ca_root": "HARMLESS"},
        "/etc/harmless.pem",
    ),
    "gateway.acme_email": ({"tls": "acme", "domains": ["a.example"], "acme_email": "HARMLESS"}, "ops@example.org"),
    "gateway.domains": ({"tls": "acme", "domains": "HARMLESS"}, "harmless.example"),
    "ollama.bind": ({"ollama.bind": "HARMLESS"}, "127.0.0.9"),
    "ollama.name": ({"ollama.name": "HARMLESS"}, "harmless"),
}
NEAR = ["/a b", "/a\tb", "/a}", "/a{env.HOME}", "/a\n\trespond 200", '/a"', "/a`", "/a\\", "/a#b", "/a<<X", "/$HOME"]
NEAR += ["https://a.example/{env.HOME}", "https://a.example/x }", "a.example, b.example", "*.example", "a.example:80"]
NEAR += ["a@b.example }", "a@b.example\n}", "localhost {", "::1", "0.0.0.0 127.0.0.1", "fd/3", "unix//tmp/x", "x/../y"]
VALUE = st.sampled_from([*VALUES, *NEAR]) | TEXTS | st.sampled_from(NEAR).flatmap(lambda base: TEXTS.map(base.__add__))
bounded = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def values(name: str, value: str) -> dict[str, Any]:
    base, _ = SETTINGS[name]
    given = {key: value if found == "HARMLESS" else found for key, found in base.items()}
    if name == "gateway.domains":
        given["domains"] = [value]
    return given


def configuration(made: Gate, name: str, value: str) -> Any:
    """What Caddy understands of the site with that value, which is written VALUE in it wherever it is a whole text.

    Raises DeployError where the product refuses it.
    """
    site = made.site("site", "ollama", 1, **values(name, value))
    content = next(item.content for item in site.resources if isinstance(item, GatewaySite))
    file, keys = made.folder / "Caddyfile", made.folder / "no.keys"
    keys.write_text('"~^x$" name user 1\n')
    file.write_text(content.replace(site.keys.path, str(keys)).replace(str(site.port), "4711"), "utf-8")
    listened = f"[{value}]:4711" if ":" in value else f"{value.replace('localhost', '127.0.0.1')}:4711"
    known = {value: "VALUE", listened: "VALUE:4711"}

    def named(part: Any) -> Any:
        if isinstance(part, dict):
            return {known.get(key, key): named(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [named(inner) for inner in part]
        return known.get(part, part) if isinstance(part, str) else part

    return named(json.loads(made.tell("adapt", "--config", str(file), "--adapter", "caddyfile")))


@pytest.mark.parametrize("name", SETTINGS)
def test_no_value_adds_a_directive(own: Gate, name: str) -> None:
    """Compared as Caddy's own JSON, so that whatever the quoting did would show."""
    expected = configuration(own, name, SETTINGS[name][1])
    assert ("VALUE" in json.dumps(expected)) == (name != "ollama.name"), "a deployment's name is in the names of files"

    @bounded
    @given(VALUE)
    def check(value: str) -> None:
        try:
            found = configuration(own, name, value)
        except DeployError:
            return
        assert found == expected

    check()


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.sampled_from([*VALUES, *NEAR]) | TEXTS)
def test_a_token_is_one_token_or_refused(value: str) -> None:
    """The filter by itself, for values that the spec's own checks would not let through."""
    try:
        token = caddy_token(value)
    except Unsayable as error:
        assert len(value) < 4 or value not in str(error)
        return
    assert token.strip('"') == value
    assert not set(value) & set('{}"`\\<>$\n\r\t\0')
    assert token == value or token == f'"{value}"'
    assert token.startswith('"') or not set(token) & set(" #;,")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sampled_from([*VALUES, *NEAR]) | TEXTS)
def test_no_path_adds_a_line_to_the_unit(part: str) -> None:
    """Where things live comes from XDG variables and HOME, so it may hold anything: systemd itself reads the result."""
    try:
        gateway = with_data(f"/srv/{part}")
        unit = next(item for item in gateway.after() if item.address.endswith("deployctl-gateway.service"))
        text = unit.content  # type: ignore[union-attr]
    except (DeployError, UsageError, ValueError):
        return
    plain = next(item for item in with_data("/srv/x").after() if item.address == unit.address).content  # type: ignore[union-attr]
    assert names_of(text) == names_of(plain)
    read = systemd_reads({"deployctl-gateway.service": text})["deployctl-gateway.service"]
    assert read.environment["XDG_DATA_HOME"] == gateway.data


def names_of(text: str) -> list[str]:
    """The directives of a unit in their order."""
    return [line.partition("=")[0] for line in text.splitlines() if line and not line.startswith("#")]


def with_data(path: str) -> GatewayFor:
    """A gateway on a host with systemd whose data live there."""
    gateway = gates.gateway_for("ollama", {})
    layout = Layout(scope="system", state=path, config="/etc/deployctl", data=path, opt="/opt/deployctl")
    facts = gateway.inputs.facts.model_copy(update={"layout": layout, "systemd": True})
    inputs = gateway.inputs.model_copy(update={"facts": facts})
    return GatewayFor(inputs, gateway.runtime, gateway.name, gateway.front)

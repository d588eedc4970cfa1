"""Who may use a deployment: its keys and certificate authority, found by what was applied to its host."""

from orchestrator.errors import RefusedError, UsageError
from orchestrator.hosts.base import Host, quote
from orchestrator.planning.deploy import Survey
from orchestrator.planning.manifest import Manifest
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.gateway_keys import GatewayKeys


def keys_of(manifest: Manifest, host: str) -> GatewayKeys:
    """The keys of a deployment. Raises RefusedError where no gateway is in front of it."""
    for entry in manifest.all_entries:
        if isinstance(entry.resource, GatewayKeys):
            return entry.resource
    raise RefusedError(
        f"{manifest.name} has no gateway, so no keys of its own",
        host=host,
        remedy=f"deploy it with `deployctl up {manifest.runtime} --expose gateway`",
    )


def root_certificate(host: Host, seen: Survey) -> str:
    """The root of the authority that ``--tls internal`` made on the host, as PEM. Raises RefusedError."""
    path = f"{seen.facts.layout.data}/gateway/caddy/pki/authorities/local/root.crt"
    text = run_or_fail(host, "cannot read the root certificate", f"[ ! -f {quote(path)} ] || cat -- {quote(path)}")
    if not text:
        raise RefusedError(
            "the host has no certificate authority of its own",
            host=host.name,
            remedy="deploy with `--tls internal`",
        )
    return text


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def duration_s(text: str) -> int:
    """Seconds of a duration such as 90m, 12h or 30d. Raises UsageError."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or not 0 < int(number) < 10**6:
        raise UsageError(f"{text!r} is no duration", remedy="write 90m, 12h or 30d")
    return int(number) * _UNITS[unit]

"""The keys of an endpoint, read where they lie: in files on the host."""

from orchestrator.health.endpoint import Endpoint, Gateway
from orchestrator.hosts.base import Host, quote


def read_key(host: Host, endpoint: Endpoint) -> tuple[str, str]:
    """The engine's own key, empty where none is asked for; and why it cannot be read, else nothing."""
    if endpoint.key_file is None:
        return "", ""
    read = host.run(f"cat -- {quote(endpoint.key_file)}")
    line = next(iter(read.stdout.strip().splitlines()), "").strip()
    key = line.removeprefix("VLLM_API_KEY=") if read else ""
    return key, "" if key else read.stderr.strip() or "it is empty"


def gateway_key(host: Host, gateway: Gateway) -> str:
    """The first key for users that has not ended; empty where there is none. The form is GatewayKeys'."""
    usable = r"""$4 == "user" && $5 > now {sub(/.*\+/, "", $2); sub(/\$"$/, "", $2); print $2; exit}"""
    return host.run(f'awk -v now="$(date +%s)" {quote(usable)} {quote(gateway.keys)} 2>/dev/null').stdout.strip()

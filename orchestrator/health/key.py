"""The API key of an engine, read where it lies: in a file on the host."""

from orchestrator.health.endpoint import Endpoint
from orchestrator.hosts.base import Host, quote


def read_key(host: Host, endpoint: Endpoint) -> tuple[str, str]:
    """The engine's own key, empty where none is asked for; and why it cannot be read, else nothing."""
    if endpoint.key_file is None:
        return "", ""
    read = host.run(f"cat -- {quote(endpoint.key_file)}")
    line = next(iter(read.stdout.strip().splitlines()), "").strip()
    key = line.removeprefix("VLLM_API_KEY=") if read else ""
    return key, "" if key else read.stderr.strip() or "it is empty"

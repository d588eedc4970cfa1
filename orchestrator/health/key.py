"""The API key of an engine, read where it lies: in a file on the host."""

from orchestrator.health.endpoint import Endpoint
from orchestrator.hosts.base import Host, Result, quote


def key_script(endpoint: Endpoint) -> str:
    """The script that prints it."""
    return f"cat -- {quote(endpoint.key_file)}" if endpoint.key_file else ":"


def key_in(endpoint: Endpoint, read: Result) -> tuple[str, str]:
    """The key, empty where none is asked for; and why it cannot be read, else nothing."""
    if endpoint.key_file is None:
        return "", ""
    line = next(iter(read.stdout.strip().splitlines()), "").strip()
    key = line.removeprefix("VLLM_API_KEY=") if read else ""
    return key, "" if key else read.tail(1) or "it is empty"


def read_key(host: Host, endpoint: Endpoint) -> tuple[str, str]:
    """The same, asked of the host."""
    return key_in(endpoint, host.run(key_script(endpoint)))

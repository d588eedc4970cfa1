"""What goes wrong between us and a Docker Engine, in the words that a user gets."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import DeployError
from orchestrator.health.diagnosis import advice
from orchestrator.hosts.base import Host


@contextmanager
def explained(host: Host, what: str, remedy: str = "") -> Iterator[None]:
    """Turn what the SDK raises in the block into a DeployError: Docker's own errors, and those of the connection.

    The SDK lets errors of requests through, and those of urllib3 while an answer streams.
    """
    from docker.errors import DockerException
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (DockerException, RequestException, HTTPError, OSError) as error:
        raise DeployError(what, host=host.name, why=str(error), remedy=advice(str(error), remedy)) from error

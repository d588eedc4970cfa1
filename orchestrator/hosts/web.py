"""An HTTP request made by this machine itself, with the library that is at hand here."""

import time
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from orchestrator.hosts import curl
from orchestrator.hosts.base import HttpAnswer, HttpRequest

_READ = 65536


class _Named(HTTPAdapter):
    """Asks for the certificate of a name while it connects to an address."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: object) -> None:
        super().init_poolmanager(connections, maxsize, block, server_hostname=self._name, **more)


def ask(request: HttpRequest) -> HttpAnswer:
    """The answer. Raises requests.RequestException, OSError or ValueError."""
    if not request.verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it is asked for
    with requests.Session() as session:
        session.trust_env = not (curl.is_loopback(request.url) or request.connect)
        session.verify = request.verify
        session.auth = lambda prepared: prepared  # keeps ~/.netrc out of it
        return _answer(session, request)


def _answer(session: requests.Session, request: HttpRequest) -> HttpAnswer:
    deadline = time.monotonic() + request.timeout
    url, headers = request.url, {"Accept-Encoding": "identity", **request.headers}
    if request.connect:
        parts = urlsplit(request.url)
        session.mount("https://", _Named(parts.hostname or ""))
        url = urlunsplit(parts._replace(netloc=request.connect))
        headers["Host"] = parts.netloc
    with session.request(
        request.method,
        url,
        headers=headers,
        data=request.body,
        timeout=request.timeout,
        allow_redirects=False,
        stream=True,
    ) as response:
        body = bytearray()
        for chunk in response.iter_content(_READ):
            body += chunk
            if time.monotonic() > deadline:
                raise requests.Timeout
        return HttpAnswer(response.status_code, bytes(body))

"""HTTP on a host: by requests here, by curl over SSH; the same behaviour of both."""

import subprocess
from urllib.parse import unquote

import pytest

from orchestrator.errors import RefusedError
from orchestrator.hosts import curl
from orchestrator.hosts.base import HttpRequest
from orchestrator.hosts.local import LocalHost
from tests.hosts_room.conftest import free_port


@pytest.fixture(params=["local", "ssh"])
def host(request):
    if request.param == "ssh":
        yield request.getfixturevalue("box")
        return
    host = LocalHost()
    yield host
    host.close()


def test_a_plain_get(host, web):
    answer = host.http(HttpRequest(f"{web.url}/v1/models?a=[1-3]&b={{x,y}}"))
    assert (answer.status, answer.body, answer.error) == (200, b"hello", "")
    assert [unquote(path) for _, path, _, _ in web.seen] == ["/v1/models?a=[1-3]&b={x,y}"]


@pytest.mark.parametrize("body", [b"", b"\0\xff\n\r\n\0", b"x\n\n200\n0", bytes(range(256)) * 8000])
def test_bodies_of_any_bytes_both_ways(host, web, body):
    web.answer = body
    answer = host.http(HttpRequest(f"{web.url}/x", "POST", {"Content-Type": "application/octet-stream"}, body))
    assert (answer.status, answer.body) == (200, body)
    method, _, headers, got = web.seen[0]
    assert (method, got, headers["Content-Length"]) == ("POST", body, str(len(body)))
    assert headers["Content-Type"] == "application/octet-stream"
    assert "Expect" not in headers


def test_headers_arrive_as_they_are(host, web):
    wanted = {"Authorization": "Bearer a\"b\\c'$(id)`id`", "X-Tab": "a\tb", "X-Hash": "# no comment", "X-Empty": ""}
    host.http(HttpRequest(web.url, headers=wanted))
    _, _, headers, _ = web.seen[0]
    assert {name: headers.get(name) for name in wanted} == wanted
    assert "Content-Type" not in headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_methods(host, web, method):
    answer = host.http(HttpRequest(web.url, method))
    assert web.seen[0][0] == method
    assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else b"hello")


def test_a_status_is_an_answer(host, web):
    answer = host.http(HttpRequest(f"{web.url}/missing"))
    assert (answer.status, answer.text) == (404, "not here")


def test_redirects_are_not_followed(host, web):
    assert host.http(HttpRequest(f"{web.url}/moved")).status == 302
    assert len(web.seen) == 1


def test_nobody_answers(host):
    answer = host.http(HttpRequest(f"http://127.0.0.1:{free_port()}/token=canary"))
    assert answer.status == 0 and answer.error and "canary" not in answer.error


def test_no_answer_in_time(host, web):
    answer = host.http(HttpRequest(f"{web.url}/hang", timeout=0.3))
    assert answer.status == 0 and answer.error


def test_half_an_answer_is_none(host, web):
    answer = host.http(HttpRequest(f"{web.url}/cut"))
    assert answer.status == 0 and answer.error


def test_a_name_that_does_not_exist(host):
    answer = host.http(HttpRequest("http://no-such-host.invalid/"))
    assert answer.status == 0 and answer.error


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest("file:///etc/passwd"),
        HttpRequest("http://[::1"),
        HttpRequest("no url"),
        HttpRequest(""),
        HttpRequest("http://127.0.0.1/a b"),
        HttpRequest("http://127.0.0.1/\nurl = x"),
        HttpRequest("http://127.0.0.1/", "GET\nurl = x"),
        HttpRequest("http://127.0.0.1/", headers={"@/etc/passwd": ""}),
        HttpRequest("http://127.0.0.1/", headers={"X": "a\r\nY: canary"}),
        HttpRequest("http://127.0.0.1:99999/"),
        HttpRequest("http:///nowhere"),
    ],
)
def test_what_is_no_request_is_not_sent(host, request_):
    answer = host.http(request_)
    assert answer.status == 0 and answer.error
    assert "canary" not in answer.error


def test_proxies_are_not_asked_for_the_machine_itself(host, web, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert host.http(HttpRequest(web.url)).status == 200


def test_netrc_is_not_asked(host, web, home):
    (home / ".netrc").write_text("default login a password b\n")
    host.http(HttpRequest(web.url, headers={"Authorization": "Bearer mine"}))
    assert web.seen[0][2]["Authorization"] == "Bearer mine"


def test_secrets_are_in_no_process_list(box, web):
    """The server looks at the process list while curl waits for it."""
    seen: list[str] = []

    class Looking(list):
        def append(self, item) -> None:
            seen.append(subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True).stdout)

    web.seen = Looking()
    box.http(HttpRequest(f"{web.url}/canary-url", "POST", {"Authorization": "canary-header"}, b"canary-body"))
    assert "curl -q -K" in seen[0]
    assert "canary" not in seen[0]


def test_a_host_without_curl(box, monkeypatch):
    monkeypatch.setattr("orchestrator.hosts.curl._BEGIN", "PATH=/nonexistent\n" + curl._BEGIN)
    with pytest.raises(RefusedError) as caught:
        box.http(HttpRequest("http://127.0.0.1/"))
    assert caught.value.host == "box" and "curl" in caught.value.remedy

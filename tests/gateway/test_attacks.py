"""What nobody may get in with. Each test says what the client gets, and looks at what the engine got."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.runtimes.routes import pattern
from tests.gateway.client import Reply, ask, by_curl, connection, request, send
from tests.gateway.table import House
from tests.gateway.upstream import CONTENT

REFUSED = {400, 401, 403, 405, 431, 501, 505}
MAX_BODY = 32 << 20
bounded = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def port(shared: House) -> int:
    return shared.sites["ollama"].port


def user(shared: House) -> str:
    return shared.sites["ollama"].secrets["user"]


def refused(reply: Reply) -> bool:
    """Turned away by status, or by a closed connection; with no word of the engine's."""
    return (reply.status == 0 or reply.status in REFUSED) and CONTENT not in reply.body


def authorizations(key: str) -> dict[str, list[str]]:
    """Values of Authorization headers that are nearly right."""
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    return {
        "nothing": [],
        "empty": [""],
        "scheme alone": ["Bearer"],
        "no key": ["Bearer "],
        "no scheme": [key],
        "no space": [f"Bearer{key}"],
        "more behind": [f"Bearer {key}X"],
        "a word behind": [f"Bearer {key} x"],
        "more before": [f"Bearer X{key}"],
        "cut": [f"Bearer {key[:-1]}"],
        "capitals": [f"Bearer {key.upper()}"],
        "another scheme": [f"Token {key}"],
        "nearly the scheme": [f"xBearer {key}"],
        "basic": [f"Basic {basic}"],
        "a tab": [f"Bearer\t{key}"],
        "a no-break space": [f"Bearer\xa0{key}"],
        "a pattern": ["Bearer .*"],
        "another pattern": ["Bearer sk-deployctl-[A-Za-z0-9_-]+"],
        "a placeholder": ["Bearer {file./etc/passwd}"],
        "the default": ["default"],
        "wrong then right": ["Bearer wrong", f"Bearer {key}"],
        "right then wrong": [f"Bearer {key}", "Bearer wrong"],
        "right twice": [f"Bearer {key}", f"Bearer {key}"],
        "two in one": [f"Bearer wrong, Bearer {key}"],
        "quoted": [f'Bearer "{key}"'],
        "16 kB of spaces": [f"Bearer{' ' * 16000}x{key}"],
    }


@pytest.mark.parametrize("name", authorizations("key"))
def test_what_is_nearly_a_key_is_none(shared: House, name: str) -> None:
    lines = "".join(f"Authorization: {value}\r\n" for value in authorizations(user(shared))[name])
    with shared.upstreams["ollama"].sees_nothing():
        reply = send(port(shared), f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode("latin-1"))
    assert reply.status == 401
    assert reply.error()["code"] == "invalid_api_key"
    assert reply.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "line", ["Authorization: Bearer KEY\0", "Authorization: Bearer KEY\rX: y", "Authorization : Bearer KEY"]
)
def test_a_header_that_is_malformed_is_no_key(shared: House, line: str) -> None:
    text = f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{line.replace('KEY', user(shared))}\r\n\r\n"
    with shared.upstreams["ollama"].sees_nothing():
        assert send(port(shared), text.encode()).status == 400


@pytest.mark.parametrize(
    "place",
    ["X-Api-Key", "Api-Key", "Proxy-Authorization", "X-Authorization", "Cookie", "X-Forwarded-Authorization", "Token"],
)
def test_a_key_in_another_place_is_none(shared: House, place: str) -> None:
    with shared.upstreams["ollama"].sees_nothing():
        for value in (user(shared), f"Bearer {user(shared)}", f"Authorization={user(shared)}"):
            assert ask(port(shared), "GET", "/v1/models", **{place: value}).status == 401
        assert ask(port(shared), "GET", f"/v1/models?api_key={user(shared)}&Authorization=Bearer+x").status == 401


@pytest.mark.parametrize("value", ["bearer {}", "BEARER {}", "Bearer   {}", "Bearer {}  "])
def test_a_key_is_right_however_its_scheme_is_written(shared: House, value: str) -> None:
    reply = ask(port(shared), "GET", "/v1/models", Authorization=value.format(user(shared)))
    assert (reply.status, reply.body) == (200, CONTENT)
    assert shared.upstreams["ollama"].last.header("authorization") == []


TRICKS = (
    "//api/create",
    "///api/create",
    "/./api/create",
    "/api/./create",
    "/api//create",
    "/v1/../api/create",
    "/v1/..//api/create",
    "/v1/models/../../api/create",
    "/v1/models/x/../../../api/create",
    "/v1/models/..",
    "/v1/models/.",
    "/v1/models/..;/create",
    "/v1/%2e%2e/api/create",
    "/v1/%2E./api/create",
    "/v1/models/%2e%2e/%2e%2e/api/create",
    "/v1/models/..%2f..%2fapi%2fcreate",
    "/v1/models%2f..%2f..%2fapi%2fcreate",
    "/v1/models/%252e%252e%252f%252e%252e%252fapi%252fcreate",
    "/v1/models/..%5c..%5capi%5ccreate",
    "/v1/models/..%c0%af..%c0%afapi%c0%afcreate",
    "/v1/models/%u002e%u002e/api/create",
    "/api%2fcreate",
    "/%61pi/create",
    "/%2fapi/create",
    "/api/create%00",
    "/api/create%00/v1/models",
    "/v1/models%00/../../api/create",
    "/api/create%20",
    "/api/create%0a",
    "/api/create%0d%0aX:%20y",
    "/API/CREATE",
    "/Api/Create",
    "/V1/Models",
    "/api/create/",
    "/api/create.",
    "/api/create;x",
    "/api/create;/v1/models",
    "/v1/models;/../../api/create",
    "/api\\create",
    "\\api\\create",
    "/v1/models/\\..\\..\\api\\create",
    "/api/create?",
    "/api/create?/v1/models",
    "/api/create#/v1/models",
    "/api/create%3f/v1/models",
    "/v1/models/a b",
    "/v1/models/{env.HOME}",
    "/{http.request.header.Authorization}",
    "api/create",
    "*",
    "",
    "?",
    "http://127.0.0.1/api/create",
    "http://127.0.0.1//api/create",
    "http://evil.example/api/create",
    "HTTP://user:pw@127.0.0.1/api/create",
    "https://127.0.0.1/api/create",
    "file:///api/create",
    "//127.0.0.1/api/create",
    "127.0.0.1:443",
)


@pytest.mark.parametrize("target", TRICKS)
def test_a_trick_in_the_path_gets_nowhere(shared: House, target: str) -> None:
    with shared.upstreams["ollama"].sees_nothing():
        for method in ("GET", "POST", "DELETE"):
            assert ask(port(shared), method, target).status in {400, 401}
            assert refused(ask(port(shared), method, target, user(shared)))


BYTES = st.binary(max_size=12).map(lambda data: data.translate(None, b"\r\n "))
PARTS = st.sampled_from([b"/", b"..", b".", b"%2e", b"%2f", b"//", b"\\", b";", b"?", b"#", b"%00", b"\0", b"http://a"])
ROUTE_PARTS = st.sampled_from([b"api", b"v1", b"models", b"create", b"chat", b"completions", b"delete", b"tags"])
TARGETS = st.lists(PARTS | ROUTE_PARTS | BYTES, max_size=9).map(b"".join)
METHODS = st.sampled_from([b"GET", b"POST", b"DELETE", b"HEAD", b"PUT", b"get", b"X", b"CONNECT", b"OPTIONS"])


@bounded
@given(method=METHODS, target=TARGETS)
def test_whatever_the_target_only_what_the_table_allows_gets_through(
    shared: House, method: bytes, target: bytes
) -> None:
    engine = shared.upstreams["ollama"]
    rest = b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
    with engine.sees_nothing():
        assert refused(send(port(shared), method + b" " + target + rest + b"\r\n", method.decode()))
    before = len(engine.seen)
    key = f"Authorization: Bearer {user(shared)}\r\n\r\n".encode()
    send(port(shared), method + b" " + target + rest + key, method.decode())
    for seen in engine.seen[before:]:
        assert re.fullmatch(pattern("ollama", "user"), f"{seen.method} {seen.target.partition('?')[0]}")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "OPTIONS", "PRI", "get", "PROPFIND", "G\tET", "", "GET GET"])
def test_a_method_that_no_route_has_gets_nowhere(shared: House, method: str) -> None:
    with shared.upstreams["ollama"].sees_nothing():
        for target in ("/v1/models", "/", "*", "127.0.0.1:11434"):
            if (method, target) == ("OPTIONS", "*"):
                continue  # what the server can do at all: Go answers it by itself, with an empty 200
            assert refused(ask(port(shared), method, target, user(shared)))
            assert refused(ask(port(shared), method, target))


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]
)
def test_a_header_that_asks_for_another_method_or_path_changes_nothing(shared: House, name: str) -> None:
    value = "/api/delete" if "URL" in name else "DELETE"
    with shared.upstreams["ollama"].sees_nothing():
        assert ask(port(shared), "POST", "/api/delete", user(shared), b"{}", **{name: value}).status == 403
        assert ask(port(shared), "GET", "/v1/models", **{name: value}).status == 401
    assert ask(port(shared), "POST", "/api/show", user(shared), b"{}", **{name: value}).status == 200
    last = shared.upstreams["ollama"].last
    assert (last.method, last.target) == ("POST", "/api/show")


def test_who_forges_where_he_comes_from_is_not_believed(shared: House) -> None:
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https"}
    inside = {"X-Real-IP": "127.0.0.1", "Forwarded": "for=127.0.0.1;host=localhost", "X-Forwarded-User": "admin"}
    with shared.upstreams["ollama"].sees_nothing():
        assert ask(port(shared), "GET", "/v1/models", **forged, **inside).status == 401
        assert ask(port(shared), "POST", "/api/create", user(shared), b"{}", **forged, **inside).status == 403
    assert ask(port(shared), "GET", "/v1/models", user(shared), **forged, **inside).status == 200
    last = shared.upstreams["ollama"].last
    told = [last.header(name) for name in ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")]
    assert told == [["127.0.0.1"], ["127.0.0.1"], ["http"]]


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1:1", "[::1]", "ollama.com"])
def test_the_engine_hears_its_own_name_whatever_the_client_says(shared: House, host: str) -> None:
    """Ollama answers 403 to names that it does not know."""
    assert ask(port(shared), "GET", "/v1/models", user(shared), Host=host).status == 200
    engine = shared.upstreams["ollama"]
    assert engine.last.header("host") == [f"127.0.0.1:{engine.port}"]


@pytest.mark.parametrize("lines", ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: a\0b\r\n"])
def test_a_request_without_one_plain_host_is_refused(shared: House, lines: str) -> None:
    text = f"GET /v1/models HTTP/1.1\r\n{lines}Authorization: Bearer {user(shared)}\r\n\r\n"
    with shared.upstreams["ollama"].sees_nothing():
        assert send(port(shared), text.encode()).status == 400


SMUGGLED = b"GET /api/tags?smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
FRAMINGS = {
    "both": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "both, the other way": b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED))
    + SMUGGLED,
    "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a list of lengths": b"Content-Length: 0, %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a negative length": b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a signed length": b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "a length in hex": b"Content-Length: 0x10\r\n\r\n" + SMUGGLED,
    "a length beyond numbers": b"Content-Length: 99999999999999999999\r\n\r\n" + SMUGGLED,
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n\r\n" + SMUGGLED,
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a list of codings": b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a tab after the coding": b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "an escaped line end": b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a huge chunk": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n" + SMUGGLED,
    "a negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + SMUGGLED,
    "a chunk's extension": b"Transfer-Encoding: chunked\r\n\r\n0;\nx\r\n\r\n" + SMUGGLED,
    "bare line feeds": b"Transfer-Encoding: chunked\n\n0\n\n" + SMUGGLED,
    "no length at all": b"\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/create"])
@pytest.mark.parametrize("name", FRAMINGS)
def test_nothing_is_smuggled_in_behind_a_request(shared: House, name: str, path: str) -> None:
    """Whichever of two lengths counts: what comes behind is either body, or a request that needs a key of its own."""
    engine = shared.upstreams["ollama"]
    before = len(engine.seen)
    mark = f"{path}?{list(FRAMINGS).index(name)}"  # what came before may arrive late
    head = f"POST {mark} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user(shared)}\r\n".encode()
    statuses = []
    with connection(port(shared)) as client:
        client.send(head + FRAMINGS[name])
        while (reply := client.reply("POST")).status:
            statuses.append(reply.status)
            if reply.headers.get("connection") == "close" or len(statuses) == 2:
                break
    assert statuses[0] in {200, 400, 403, 413, 501, 502}
    assert statuses[1:] in ([], [401], [400])
    came = [seen.target for seen in engine.seen[before:] if seen.target == mark or "smuggled" in seen.target]
    assert came in ([], [mark] if path == "/v1/chat/completions" else [])


def test_a_key_opens_one_request_and_not_the_connection(shared: House) -> None:
    with connection(port(shared)) as client:
        client.send(request("GET", "/v1/models", user(shared)) + request("GET", "/v1/models"))
        assert [client.reply().status, client.reply().status] == [200, 401]
        client.send(request("GET", "/v1/models", user(shared)))
        assert client.reply().status == 200


BOMBS = {
    "one long header": {"X": "y" * 1_000_000},
    "a long key": {"Authorization": f"Bearer {'k' * 1_000_000}"},
    "many headers": {f"X-{number}": "y" for number in range(20_000)},
    "a long name": {"X" * 1_000_000: "y"},
    "a long cookie": {"Cookie": "a=b; " * 200_000},
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_headers_is_not_taken(shared: House, name: str) -> None:
    with shared.upstreams["ollama"].sees_nothing():
        assert ask(port(shared), "GET", "/v1/models", user(shared), **BOMBS[name]).status in {0, 431}
    assert ask(port(shared), "GET", "/v1/models", user(shared)).status == 200


def test_a_long_target_is_not_taken(shared: House) -> None:
    with shared.upstreams["ollama"].sees_nothing():
        for target in ("/v1/models/" + "x" * 1_000_000, "/v1/models?" + "x" * 1_000_000):
            assert ask(port(shared), "GET", target, user(shared)).status in {0, 431}


def test_a_body_of_100_mb_is_refused_before_the_engine_hears_of_it(shared: House) -> None:
    head = request("POST", "/v1/chat/completions", user(shared), Content_Length="100000000")
    with shared.upstreams["ollama"].sees_nothing():
        reply = send(port(shared), head + b"x" * 100_000_000, "POST")
        assert send(port(shared), head.replace(b"Bearer", b"Nobody") + b"x" * 1_000_000).status == 401
    assert reply.status == 413
    assert reply.error()["code"] == "request_too_large"


def test_a_body_that_does_not_say_its_length_is_cut_at_the_limit(shared: House) -> None:
    engine = shared.upstreams["ollama"]
    before = len(engine.seen)
    with connection(port(shared)) as client:
        client.send(request("POST", "/v1/chat/completions", user(shared), Transfer_Encoding="chunked"))
        for _ in range(100):
            client.send(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
        reply = client.reply("POST")
    assert reply.status == 413
    assert reply.error()["code"] == "request_too_large"
    assert [seen.body for seen in engine.seen[before:]] in ([], [None]), "never a whole request"


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 200), (MAX_BODY + 1, 413)])
def test_the_limit_is_as_told(shared: House, size: int, status: int) -> None:
    assert ask(port(shared), "POST", "/v1/chat/completions", user(shared), b"x" * size).status == status
    if status == 200:
        assert len(shared.upstreams["ollama"].last.body or b"") == size


@pytest.mark.parametrize("version", ["0.9", "1.0", "1.1", "1.2", "2.0", "3.0", "9.9", "x"])
def test_a_version_of_http_is_no_way_around(shared: House, version: str) -> None:
    with shared.upstreams["ollama"].sees_nothing():
        data = f"GET /v1/models HTTP/{version}\r\nHost: x\r\n\r\n".encode()
        assert refused(send(port(shared), data))
        assert refused(send(port(shared), b"GET /v1/models\r\n\r\n"))
    if version in ("1.0", "1.1"):
        data = request("GET", "/v1/models", user(shared), version=version)
        assert send(port(shared), data).status == 200


def test_http_2_without_tls_is_judged_alike(shared: House) -> None:
    """Caddy speaks it to who begins with it."""
    curl = ["--http2-prior-knowledge", f"http://127.0.0.1:{port(shared)}"]
    with shared.upstreams["ollama"].sees_nothing():
        assert by_curl(*curl, "/v1/models")[:2] == ("2", 401)
        assert by_curl(*curl, "/api/create", user(shared), "-X", "POST")[:2] == ("2", 403)
        assert by_curl(*curl, "/v1/../api/tags", user(shared), "--path-as-is")[:2] == ("2", 400)
        assert by_curl(*curl, "//v1/models", user(shared), "--path-as-is")[:2] == ("2", 400)
    assert by_curl(*curl, "/v1/models", user(shared)) == ("2", 200, CONTENT)


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
def test_no_request_turns_the_connection_into_another(shared: House, protocol: str) -> None:
    """An engine that agreed would be spoken to behind the gateway's back."""
    switch = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": protocol,
        "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
    }
    with shared.upstreams["ollama"].sees_nothing():
        assert ask(port(shared), "GET", "/v1/models", **switch).status == 401
    assert ask(port(shared), "GET", "/v1/models", user(shared), **switch).status == 200
    assert shared.upstreams["ollama"].last.header("upgrade") == []


def test_placeholders_in_a_request_are_only_text(shared: House) -> None:
    target = "/v1/models?a={env.HOME}&b={file./etc/passwd}&c=%7Bsystem.hostname%7D"
    assert ask(port(shared), "GET", target, user(shared), X_Asked="{system.hostname}").status == 200
    assert shared.upstreams["ollama"].last.target == target
    assert shared.upstreams["ollama"].last.header("x-asked") == ["{system.hostname}"]

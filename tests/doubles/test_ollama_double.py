"""The facts of the Ollama page, asked of the double, or of the real one when DEPLOYCTL_TEST_OLLAMA names its archive.

The real one also wants DEPLOYCTL_TEST_GGUF: a small model that can count on and has a chat template.
"""

import hashlib
import os

import pytest

from .ollama.archive import make_archive
from .ollama.running import sha256


@pytest.mark.parametrize("format", ["tar.zst", "tgz"])
def test_the_archive_is_the_same_bytes_every_time(tmp_path, format):
    first, second = (make_archive(tmp_path / name, format=format) for name in ("a", "b"))
    assert first.sha256 == second.sha256 == sha256(first.path)
    assert make_archive(tmp_path / "c", format=format, version="0.34.0").sha256 != first.sha256


def test_empty_server(server):
    root = server.call("GET", "/")
    assert (root.status, root.body) == (200, b"Ollama is running")
    assert root.kind.startswith("text/plain")
    assert server.call("HEAD", "/").status == 200
    assert list(server.call("GET", "/api/version").json()) == ["version"]
    assert server.call("GET", "/api/status").json() == {"cloud": {"disabled": True, "source": "env"}}
    assert server.call("GET", "/api/tags").json() == {"models": []}
    assert server.call("GET", "/api/ps").json() == {"models": []}
    assert server.call("GET", "/v1/models").body.strip() == b'{"object":"list","data":null}'


@pytest.mark.parametrize("path", ["/health", "/metrics", "/api/nothing"])
def test_unknown_path(server, path):
    reply = server.call("GET", path)
    assert (reply.status, reply.body) == (404, b"404 page not found")


def test_wrong_method(server):
    reply = server.call("GET", "/api/generate")
    assert (reply.status, reply.body) == (405, b"405 method not allowed")


@pytest.mark.parametrize("header", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_foreign_host_or_origin(server, header):
    reply = server.call("GET", "/api/version", **header)
    assert (reply.status, reply.body) == (403, b"")


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/generate", {"model": "nope", "prompt": "x"}, 404, "model 'nope' not found"),
        ("/api/generate", {"model": "nope", "prompt": "x", "stream": False}, 404, "model 'nope' not found"),
        ("/api/chat", {"model": "nope", "messages": [{"role": "user", "content": "x"}]}, 404, "model 'nope' not found"),
        ("/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
        ("/api/generate", {"prompt": "x"}, 404, "model '' not found"),
        ("/api/generate", {"model": "Bad Name!!", "prompt": "x"}, 400, "invalid model name"),
        ("/api/create", {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
    ],
)
def test_errors_of_the_native_api(server, path, body, status, message):
    reply = server.call("POST", path, body)
    assert (reply.status, reply.json()) == (status, {"error": message})


def test_bad_json(server):
    reply = server.call("POST", "/api/generate", b"bad")
    assert reply.status == 400
    assert reply.json()["error"].startswith("invalid character 'b' looking")
    assert server.call("POST", "/v1/chat/completions", b"bad").json()["error"]["type"] == "invalid_request_error"


def test_errors_of_the_openai_api(server):
    expected = {"message": "model 'nope' not found", "type": "not_found_error", "param": None, "code": None}
    messages = [{"role": "user", "content": "x"}]
    reply = server.call("POST", "/v1/chat/completions", {"model": "nope", "messages": messages})
    assert (reply.status, reply.json()) == (404, {"error": expected})
    reply = server.call("POST", "/v1/completions", {"model": "nope", "prompt": "x"})
    assert (reply.status, reply.json()) == (404, {"error": expected})
    reply = server.call("POST", "/v1/chat/completions", {"model": "nope", "messages": []})
    assert (reply.status, reply.json()["error"]["message"]) == (400, "[] is too short - 'messages'")
    assert server.call("GET", "/v1/models/nope").json()["error"]["message"] == "model 'nope:latest' not found"
    assert server.call("DELETE", "/api/delete", {"model": "nope"}).json() == {"error": "model 'nope' not found"}


def test_blobs(server, gguf):
    digest = sha256(gguf)
    path = f"/api/blobs/sha256:{digest}"
    assert server.call("HEAD", path).status == 404
    assert server.call("HEAD", "/api/blobs/sha256:xyz").status == 400
    assert server.call("POST", path, gguf.read_bytes()).status == 201
    assert server.call("HEAD", path).status == 200
    assert server.call("POST", path, b"other bytes").status == 200, "what lies under the name is not looked at"
    assert sha256(server.blob(digest)) == digest


def test_wrong_digest_is_refused_and_kept_under_the_right_one(server):
    wrong, right = "1" * 64, hashlib.sha256(b"content").hexdigest()
    reply = server.call("POST", f"/api/blobs/sha256:{wrong}", b"content")
    assert reply.status == 400
    assert reply.json() == {"error": f'digest mismatch, expected "sha256:{wrong}", got "sha256:{right}"'}
    assert server.blob(right).read_bytes() == b"content"
    assert not server.blob(wrong).exists()


def test_create_by_content_keeps_one_copy(server, gguf, tmp_path):
    digest = sha256(gguf)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(gguf.read_bytes())
    os.link(copy, server.blob(digest))
    body = {"model": "linked", "files": {"x.gguf": f"sha256:{digest}"}, "stream": False}
    reply = server.call("POST", "/api/create", body)
    assert (reply.status, reply.json()) == (200, {"status": "success"})
    assert server.blob(digest).stat().st_ino == copy.stat().st_ino
    assert sorted(server.models.glob("blobs/COPY*")) == []


def test_create_streams_its_steps(server, gguf):
    digest = sha256(gguf)
    server.call("POST", f"/api/blobs/sha256:{digest}", gguf.read_bytes())
    body = {"model": "tiny", "files": {"x.gguf": f"sha256:{digest}"}, "parameters": {"num_ctx": 512}}
    steps = [line["status"] for line in server.call("POST", "/api/create", body).lines()]
    assert steps[:3] == ["parsing GGUF", "verifying conversion", f"using existing layer sha256:{digest}"]
    assert steps[3].startswith("creating new layer sha256:")
    assert steps[4:] == ["writing manifest", "success"]


def test_create_failures_are_lines_of_a_200_unless_the_stream_is_off(server):
    server.call("POST", f"/api/blobs/sha256:{hashlib.sha256(b'text').hexdigest()}", b"text")
    body = {"model": "x", "files": {"x.gguf": f"sha256:{hashlib.sha256(b'text').hexdigest()}"}}
    reply = server.call("POST", "/api/create", body)
    assert (reply.status, reply.lines()[-1]) == (200, {"error": "supplied file was not in GGUF format"})
    reply = server.call("POST", "/api/create", {**body, "stream": False})
    assert (reply.status, reply.json()) == (400, {"error": "supplied file was not in GGUF format"})
    missing = {"model": "x", "files": {"x.gguf": "sha256:" + "2" * 64}, "stream": False}
    assert server.call("POST", "/api/create", missing).status == 500
    assert server.call("POST", "/api/create", {"model": "x", "from": "nope", "stream": False}).status == 500


def test_the_api_takes_any_parameter_and_generation_refuses_it(model):
    reply = model.call("POST", "/api/create", {"model": "odd", "from": "tiny", "parameters": {"num_ctx": "abc"}})
    assert reply.lines()[-1] == {"status": "success"}
    reply = model.call("POST", "/api/generate", {"model": "odd", "prompt": "x"})
    assert (reply.status, reply.json()) == (500, {"error": 'option "num_ctx" must be of type integer'})


def test_files_and_lists_of_a_model(model, gguf):
    manifest = model.models / "manifests/registry.ollama.ai/library/tiny/latest"
    [tag] = model.call("GET", "/api/tags").json()["models"]
    assert tag["digest"] == sha256(manifest)
    assert tag["name"] == tag["model"] == "tiny:latest"
    assert tag["size"] > gguf.stat().st_size
    assert tag["details"]["format"] == "gguf"
    assert b'"application/vnd.ollama.image.model"' in manifest.read_bytes()
    assert b'"application/vnd.ollama.image.params"' in manifest.read_bytes()
    [card] = model.call("GET", "/v1/models").json()["data"]
    assert (card["id"], card["object"], card["owned_by"]) == ("tiny:latest", "model", "library")
    assert model.call("GET", "/v1/models/tiny").json()["id"] == "tiny"


def test_show(model, gguf):
    shown = model.call("POST", "/api/show", {"model": "tiny"}).json()
    assert f"# FROM tiny:latest\n\nFROM {model.blob(sha256(gguf))}\n" in shown["modelfile"]
    assert shown["modelfile"].endswith("PARAMETER num_ctx 512\n")
    assert shown["parameters"] == "num_ctx                        512"
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None
    assert shown["model_info"]["general.parameter_count"] > 0
    assert {"name", "type", "shape"} == set(shown["tensors"][0])


def test_the_same_content_has_the_same_id_even_after_rm(model, gguf):
    [before] = model.call("GET", "/api/tags").json()["models"]
    assert model.run("rm", "tiny").returncode == 0
    assert not model.blob(sha256(gguf)).exists()
    assert model.create("tiny", f"FROM {gguf}\nPARAMETER num_ctx 512\n").returncode == 0
    [after] = model.call("GET", "/api/tags").json()["models"]
    assert after["digest"] == before["digest"]

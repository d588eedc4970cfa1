"""`deployctl bench` as a user has it, against a server over HTTP."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.bench_room.server import DONE, Server, answer, delta
from tests.cli.run import Ran, deployctl
from tests.docs.schemas import closed
from tests.doubles.ollama.running import free_port

CANARY = "sk-canary-4711"
QUICK = ("--concurrency", "1,2", "--requests", "2", "--output-tokens", "3")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.txt"
    path.write_text(f"{CANARY}\n")
    return path


def document(ran: Ran, name: str = "deployctl.bench/1") -> dict[str, Any]:
    jsonschema.validate(ran.document, closed(name))
    return ran.document


def test_a_url_is_measured_and_told(server: Server, tmp_path: Path):
    ran = deployctl("bench", server.url, *QUICK, cwd=tmp_path)
    assert ran.status == 0, ran.err
    assert "tiny at http://127.0.0.1" in ran.out and "FIRST TOKEN ms" in ran.out
    rows = re.findall(r"^ +([12])  +2  +0  ", ran.out, re.MULTILINE)
    assert rows == ["1", "2"]
    assert len(re.findall(r"generator \d+% of a core, its loop late by [\d.]+ ms", ran.out)) == 2


def test_run_may_be_said_or_not(server: Server, tmp_path: Path):
    assert deployctl("bench", "run", server.url, *QUICK, "--json", cwd=tmp_path).status == 0
    assert deployctl("bench", *QUICK, "--json", server.url, cwd=tmp_path).status == 0


def test_the_document_is_as_its_schema_says(server: Server, tmp_path: Path):
    found = document(deployctl("bench", server.url, *QUICK, "--seed", "7", "--json", cwd=tmp_path))
    (measured,) = found["measurements"]
    assert measured["load"]["seed"] == 7 and [level["output_tokens"] for level in measured["levels"]] == [6, 6]


def test_the_key_is_used_and_shown_nowhere(server: Server, tmp_path: Path, key_file: Path):
    server.key = CANARY
    out = tmp_path / "report"
    server.reply = lambda body: answer(body) if len(server.seen) < 4 else (500, f"no: {CANARY}")
    ran = deployctl(
        "bench", server.url, *QUICK, "--key-file", str(key_file), "--out", str(out), cwd=tmp_path, HOME=str(tmp_path)
    )
    assert ran.status == 0 and "1 failed, http 500: no: ***" in ran.out
    assert CANARY not in ran.out + ran.err
    assert not any(CANARY.encode() in path.read_bytes() for path in out.iterdir())
    assert "Unauthorized" in deployctl("bench", server.url, *QUICK, cwd=tmp_path).err


def test_two_are_compared_in_one_report(server: Server, tmp_path: Path):
    with Server().running() as other:
        words = ("bench", "compare", server.url, other.url, *QUICK, "--json")
        ran = deployctl(*words, cwd=tmp_path, HOME=str(tmp_path))  # the plots keep a list of fonts there
    found = document(ran, "deployctl.bench.compare/1")
    assert [measured["target"] for measured in found["measurements"]] == [server.url, other.url]
    assert found["files"] == [f"benchmark/report.{kind}" for kind in ("html", "png", "json")]
    report = json.loads((tmp_path / "benchmark" / "report.json").read_text())
    assert report["measurements"] == found["measurements"]


def test_one_that_is_down_does_not_keep_the_other_from_being_measured(server: Server, tmp_path: Path):
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    ran = deployctl("bench", nobody, server.url, *QUICK, "--model", "tiny", "--json", cwd=tmp_path)
    found = document(ran)
    assert ran.status == 1 and len(found["measurements"]) == 1 and len(found["errors"]) == 1


def test_an_endpoint_that_fails_under_load_alone_fails_the_command(server: Server, tmp_path: Path):
    server.reply = lambda body: answer(body) if len(server.seen) < 3 else [delta("x"), DONE][:1]
    ran = deployctl("bench", server.url, *QUICK, cwd=tmp_path)
    assert ran.status == 1 and "answered no request of the load" in ran.err and "2 failed, cut" in ran.out


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_checked_and_a_ca_of_ones_own_may_be_named(tmp_path: Path):
    names = ["-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1"]
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*words, "-keyout", "key.pem", "-out", "ca.pem"], cwd=tmp_path, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    with Server().running(tls) as server:
        refused = deployctl("bench", server.url, *QUICK, cwd=tmp_path)
        assert refused.status == 1 and "certificate" in refused.err and "--ca-file" in refused.err
        trusted = deployctl("bench", server.url, *QUICK, "--ca-file", "ca.pem", cwd=tmp_path)
    assert trusted.status == 0, trusted.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["http://x/v1", "--requests", "1", "--duration", "1"], "exclude each other"),
        (["http://x/v1", "--gate", "10%"], "--gate needs deployments"),
        (["vllm", "--key-file", "k"], "--key-file is for URLs"),
        (["vllm", "--model", "k"], "--model is for URLs"),
        (["ftp://x/v1"], "a target is a deployment, or a URL"),
        (["http://me:secret@x/v1"], "a key goes into --key-file"),
        (["http://[::1/v1"], "a target is a deployment, or a URL"),
        (["http://x:99999/v1"], "a target is a deployment, or a URL"),
        (["http://x/v1", "--ca-file", "/nonexistent"], "there is no file"),
        (["http://x/v1", "--key-file", "/nonexistent"], "cannot read the key"),
        (["http://x/v1", "--concurrency", "0"], "--concurrency"),
        (["http://x/v1", "--concurrency", "1,,2"], "--concurrency"),
        (["http://x/v1", "--concurrency", "9999"], "--concurrency"),
        (["http://x/v1", "--gate", "fast"], "--gate"),
        (["http://x/v1", "--timeout", "nan"], "--timeout"),
        (["compare", "vllm", "vllm"], "compared with itself"),
        (["compare", "a", "b", "--host", "x", "--host", "y"], "on one host"),
        (["compare", "a"], "takes 2 values"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(words: list[str], says: str, tmp_path: Path):
    ran = deployctl("bench", *words, cwd=tmp_path, guarded=True)
    assert ran.status == 2 and says in ran.err and "secret" not in ran.err, ran.err


def test_a_key_file_without_a_key(server: Server, tmp_path: Path):
    for content in (b"", b"two words\n", b"\xff\xfe", b"a\nb"):
        (tmp_path / "key").write_bytes(content)
        assert deployctl("bench", server.url, "--key-file", str(tmp_path / "key"), cwd=tmp_path).status == 2


@pytest.mark.parametrize("words", [["bench", "vllm"], ["parity", "ollama", "vllm"], ["bench"]])
def test_what_is_not_deployed_is_told(words: list[str], tmp_path: Path):
    ran = deployctl(*words, "--user", cwd=tmp_path, HOME=str(tmp_path))
    assert ran.status == 4 and ("is not deployed" in ran.err or "nothing is deployed" in ran.err)

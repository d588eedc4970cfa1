"""What the page says about commands, Modelfiles and the process; see test_ollama_double.py for the two ways to run."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from .gguf import write_gguf
from .ollama.running import OFFICIAL, Ollama, children, sha256

double_only = pytest.mark.skipif(bool(OFFICIAL), reason="needs a knob that only the double has")
COMMANDS = (
    '"from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message", '
    'or "requires"'
)


def wait_gone(pid: int) -> None:
    """Return when the process has ended; a process that stays fails the test by its time limit."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists() and ") Z " not in stat.read_text():
        time.sleep(0.02)


def test_create_says_nothing_on_stdout(server, gguf):
    created = server.create("tiny", f"FROM {gguf}\n")
    assert (created.returncode, created.stdout) == (0, "")
    assert "success" in created.stderr


def test_from_is_relative_to_the_modelfile(server, gguf):
    shutil.copy(gguf, server.home / "here.gguf")
    assert server.create("tiny", "FROM ./here.gguf\n").returncode == 0


@pytest.mark.parametrize(
    ("modelfile", "message"),
    [
        ("", "no FROM line"),
        ("# nothing\n", "no FROM line"),
        ("FROM x\nBOGUS y\n", f"(line 2): command must be one of {COMMANDS}"),
        ("FROM {gguf}\nPARAMETER num_ctx abc\n", "invalid int value [abc]"),
        ("FROM {gguf}\nPARAMETER bogus 1\n", "unknown parameter 'bogus'"),
        ("FROM {gguf}\nPARAMETER num_ctx\n", "unexpected EOF: num_ctx"),
        ('FROM {gguf}\nSYSTEM """open\n', "unexpected EOF"),
        ("FROM {gguf}\nTEMPLATE {{ .Prompt\n", "template error: template: :1: unclosed action"),
        ("FROM {gguf}\nMESSAGE foo hi\n", '(line 2): message role must be one of "system", "user", or "assistant"'),
        ("FROM ./missing.gguf\n", "400 Bad Request: invalid model name"),
    ],
)
def test_bad_modelfile(server, gguf, modelfile, message):
    created = server.create("tiny", modelfile.replace("{gguf}", str(gguf)))
    assert created.returncode == 1
    assert f"Error: {message}" in created.stderr.splitlines()[-1]
    assert server.call("GET", "/api/tags").json() == {"models": []}


def test_create_without_a_modelfile_or_with_a_bad_name(server, gguf):
    missing = server.run("create", "tiny", "-f", str(server.home / "nothing"))
    assert (missing.returncode, missing.stderr.splitlines()[-1]) == (
        1,
        "Error: no Modelfile or safetensors files found",
    )
    named = server.create("Bad@@Name!!", f"FROM {gguf}\n")
    assert "Error: invalid model name: Bad@@Name!!" in named.stderr


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('"""two\nlines with "quotes" """', 'two\nlines with "quotes" '),
        ('"in quotes"', "in quotes"),
        ("plain  text # no comment", "plain  text # no comment"),
    ],
)
def test_values_of_a_modelfile(server, gguf, written, kept):
    assert server.create("tiny", f"FROM {gguf}\nSYSTEM {written}\n").returncode == 0
    assert server.call("POST", "/api/show", {"model": "tiny"}).json()["system"] == kept


def test_derived_model_keeps_what_it_does_not_replace(model):
    derived = model.create("derived", 'FROM tiny\nPARAMETER num_ctx 256\nPARAMETER stop "<end>"\n')
    assert derived.returncode == 0
    shown = model.call("POST", "/api/show", {"model": "derived"}).json()
    assert "num_ctx                        256" in shown["parameters"]
    assert 'stop                           "<end>"' in shown["parameters"]


def damaged(content: bytes, kind: str) -> bytes:
    half = len(content) // 2
    return {
        "empty": b"",
        "text": b"not a model",
        "header": content[:2000],
        "tensors": content[: len(content) - 1000],
        "middle": content[:half] + b"\xff" * 4096 + content[half + 4096 :],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "supplied file was not in GGUF format"),
        ("text", "supplied file was not in GGUF format"),
        ("header", "unexpected EOF"),
        ("tensors", r'tensor "\S+" offset\+size \(\d+\) exceeds file size \(\d+\)'),
        ("middle", "failed to validate GGUF with llama-quantize without compatibility patches: llama-quantize failed"),
    ],
)
def test_damaged_gguf_is_found_by_create_and_its_blob_stays(server, tmp_path, kind, message):
    content = write_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged(content, kind))
    created = server.create("tiny", f"FROM {path}\n")
    assert created.returncode == 1
    assert re.search(message, created.stderr)
    assert server.call("GET", "/api/tags").json() == {"models": []}
    assert server.blob(sha256(path)).exists()


def test_lists_and_lifecycle_of_a_model(model):
    digest = model.call("GET", "/api/tags").json()["models"][0]["digest"]
    listed = model.run("list").stdout.splitlines()
    assert listed[0].split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert listed[1].split()[:2] == ["tiny:latest", digest[:12]]
    assert model.run("cp", "tiny", "copy").returncode == 0
    assert model.create("short", "FROM tiny\nPARAMETER num_predict 4\n").returncode == 0
    assert model.run("run", "short", "Hello").returncode == 0
    row = model.run("ps").stdout.splitlines()[1]
    assert re.search(r"short:latest +[0-9a-f]{12} +\d+(\.\d)? [KM]B +100% CPU +512 +4 minutes from now", row)
    assert model.run("stop", "short").returncode == 0
    assert len(model.run("ps").stdout.splitlines()) == 1
    assert "FROM " in model.run("show", "--modelfile", "tiny").stdout
    assert model.run("rm", "copy", "nope", "tiny").returncode == 1
    left = [found["name"] for found in model.call("GET", "/api/tags").json()["models"]]
    assert sorted(left) == ["short:latest", "tiny:latest"], "rm stops at the first unknown name"


def test_without_a_server(ollama):
    listed = ollama.run("list")
    message = "Error: could not connect to ollama server, run 'ollama serve' to start it"
    assert (listed.returncode, listed.stderr.strip()) == (1, message)
    version = ollama.run("--version")
    assert version.returncode == 0
    assert "Warning: could not connect to a running Ollama instance" in version.stdout + version.stderr


def test_logs(server):
    with closing(HTTPConnection("127.0.0.1", server.port)) as connection:
        for _ in range(2):  # a connection's second answer comes after the line about its first
            connection.request("GET", "/api/version")
            connection.getresponse().read()
    out = (server.home / "stdout.log").read_text()
    err = (server.home / "stderr.log").read_text()
    assert out.startswith(f"Couldn't find '{server.home}/.ollama/id_ed25519'. Generating new private key.\n")
    assert re.search(r'^\[GIN\] \S+ - \S+ \| +200 \| +\S+ \| +127\.0\.0\.1 \| GET +"/api/version"$', out, re.MULTILINE)
    assert re.search(rf'msg="Listening on 127\.0\.0\.1:{server.port} \(version \S+\)"', err)
    assert f"OLLAMA_HOST:http://127.0.0.1:{server.port}" in err


def fail_to_serve(ollama: Ollama, **environment: str) -> str:
    variables = {key: value for key, value in ollama.environment(**environment).items() if value}
    done = subprocess.run([ollama.program, "serve"], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_port_in_use(ollama):
    with socket.create_server(("127.0.0.1", ollama.port)):
        last = fail_to_serve(ollama)
    assert last == f"Error: listen tcp 127.0.0.1:{ollama.port}: bind: address already in use"
    assert not ollama.models.exists()


def test_a_port_above_65535_means_the_default_port(ollama):
    default = 11434
    with ExitStack() as stack:
        with suppress(OSError):  # something listens there already: as good
            stack.enter_context(socket.create_server(("127.0.0.1", default)))
        last = fail_to_serve(ollama, OLLAMA_HOST="127.0.0.1:70000")
    assert last == f"Error: listen tcp 127.0.0.1:{default}: bind: address already in use"


def test_bad_addresses_and_folders(ollama):
    assert fail_to_serve(ollama, OLLAMA_HOST="192.0.2.1:1").endswith("bind: cannot assign requested address")
    expected = "Error: mkdir /proc/nope: no such file or directory: ensure path elements are traversable"
    assert fail_to_serve(ollama, OLLAMA_MODELS="/proc/nope") == expected
    assert fail_to_serve(ollama, HOME="").startswith("Error: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_server_and_child_with_0(ollama, gguf, number):
    with ollama.serve() as process:
        ollama.create("tiny", f"FROM {gguf}\n")
        ollama.call("POST", "/api/generate", {"model": "tiny"})
        [child] = children(process.pid)
        process.send_signal(number)
        assert process.wait() == 0
        wait_gone(child)


def test_sigkill_leaves_an_orphan(ollama, gguf):
    with ollama.serve() as process:
        ollama.create("tiny", f"FROM {gguf}\n")
        ollama.call("POST", "/api/generate", {"model": "tiny"})
        [child] = children(process.pid)
        try:
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert ") Z " not in Path(f"/proc/{child}/stat").read_text()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(("environment", "kept"), [({}, False), ({"OLLAMA_NOPRUNE": "1"}, True)])
def test_start_prunes_unused_blobs_older_than_an_hour(ollama, environment, kept):
    old, young = ollama.blob("a" * 64), ollama.blob("b" * 64)
    old.parent.mkdir(parents=True)
    for blob in (old, young):
        blob.write_bytes(b"unused")
    past = time.time() - 4000
    os.utime(old, (past, past))
    with ollama.serve(**environment):
        ollama.call("GET", "/api/tags")
        assert (old.exists(), young.exists()) == (kept, True)


def test_binary_without_its_library_serves_and_cannot_generate(model, tmp_path):
    bare = tmp_path / "bare" / "bin" / "ollama"
    bare.parent.mkdir(parents=True)
    shutil.copy(model.program, bare)
    other = Ollama(bare, model.home)
    with other.serve():
        assert other.call("GET", "/api/tags").status == 200
        reply = other.call("POST", "/api/generate", {"model": "tiny", "prompt": "Hello", "stream": False})
        assert "llama-server binary not found (checked: " in reply.json()["error"]
        created = other.create("again", f"FROM {model.blob(blob_of(model))}\n")
        assert "llama-quantize binary not found" in created.stderr


def blob_of(ollama: Ollama) -> str:
    """The hex of the largest blob, which is the model."""
    largest = max((ollama.models / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    return largest.name.removeprefix("sha256-")


@double_only
def test_an_unused_model_is_unloaded_after_keep_alive(ollama, gguf):
    with ollama.serve(OLLAMA_KEEP_ALIVE="50ms") as process:
        ollama.create("tiny", f"FROM {gguf}\n")
        ollama.call("POST", "/api/generate", {"model": "tiny"})
        for child in children(process.pid):
            wait_gone(child)
        while ollama.call("GET", "/api/ps").json() != {"models": []}:
            time.sleep(0.01)


@double_only
def test_a_server_that_never_listens(ollama):
    environment = ollama.environment(DOUBLE_OLLAMA_LISTEN_SECONDS="1000")
    with subprocess.Popen([ollama.program, "serve"], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("Couldn't find")
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", ollama.port)) != 0
        process.terminate()
        assert process.wait() == 0


@double_only
def test_a_model_that_never_loads(ollama, gguf):
    with ollama.serve(DOUBLE_OLLAMA_LOAD_SECONDS="1000") as process:
        ollama.create("tiny", f"FROM {gguf}\n")
        with socket.create_connection(("127.0.0.1", ollama.port)) as client:
            body = b'{"model":"tiny","prompt":"Hello"}'
            client.sendall(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.sendall(body)
            while not children(process.pid):
                time.sleep(0.02)
            [child] = children(process.pid)
            assert ollama.call("GET", "/api/version").status == 200
            process.terminate()
            assert process.wait() == 0
            assert client.recv(65536) == b""
        wait_gone(child)


@double_only
def test_sigterm_cuts_a_stream(ollama, gguf):
    with ollama.serve(DOUBLE_OLLAMA_TOKEN_SECONDS="0.2") as process:
        ollama.create("tiny", f"FROM {gguf}\n")
        with socket.create_connection(("127.0.0.1", ollama.port)) as client:
            body = b'{"model":"tiny","prompt":"1, 2, 3,"}'
            client.sendall(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.sendall(body)
            received = client.recv(65536)
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
            while piece := client.recv(65536):
                received += piece
        assert received.startswith(b"HTTP/1.1 200")
        assert b'"done":true' not in received

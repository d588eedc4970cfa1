"""A port of this machine that leads to what a host sees: over a real sshd, to servers on its loopback."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from orchestrator.bench.measure import measure
from orchestrator.bench.result import Load
from orchestrator.bench.target import Target
from orchestrator.errors import RefusedError
from orchestrator.hosts.local import LocalHost
from orchestrator.hosts.ssh import SSHHost
from orchestrator.progress import Quiet
from tests.bench_room.server import Server
from tests.hosts_room.conftest import free_port, start_sshd, stop_sshd


@contextmanager
def echo() -> Iterator[int]:
    """A server that sends back what it gets, and ends when the other side has."""

    def serve(server: socket.socket) -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(line,), daemon=True).start()

    def answer(line: socket.socket) -> None:
        with line:
            while data := line.recv(65536):
                line.sendall(data)

    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def through(where: tuple[str, int], data: bytes) -> bytes:
    """Send it all, say that this is the end, and read what comes back."""
    with socket.create_connection(where, 30) as line:
        sender = threading.Thread(target=lambda: (line.sendall(data), line.shutdown(socket.SHUT_WR)))
        sender.start()
        found = bytearray()
        while piece := line.recv(65536):
            found += piece
        sender.join()
        return bytes(found)


def test_bytes_come_through_both_ways_and_so_does_the_end(box):
    data = os.urandom(20_000_000)
    with echo() as port, box.forward("127.0.0.1", port) as where:
        assert where[0] == "127.0.0.1" and where[1] != port
        assert hashlib.sha256(through(where, data)).digest() == hashlib.sha256(data).digest()
        assert through(where, b"") == b""


def test_many_connections_at_once_while_scripts_run(box):
    with echo() as port, box.forward("127.0.0.1", port) as where, ThreadPoolExecutor(60) as pool:
        answers = [pool.submit(through, where, bytes([number]) * 10_000) for number in range(60)]
        assert box.run("echo beside").stdout == "beside\n"
        assert [answer.result() for answer in answers] == [bytes([number]) * 10_000 for number in range(60)]


def test_the_port_is_closed_with_the_block(box):
    with echo() as port:
        with box.forward("127.0.0.1", port) as where:
            assert through(where, b"x") == b"x"
        with pytest.raises(ConnectionRefusedError):
            through(where, b"x")


def test_nobody_listens_there(box):
    with pytest.raises(RefusedError) as failure, box.forward("127.0.0.1", free_port()):
        pass
    assert "nothing listens on 127.0.0.1:" in failure.value.what and failure.value.host == "box"


def test_who_goes_away_meanwhile_is_seen_as_an_end(box):
    server = socket.create_server(("127.0.0.1", 0))
    with box.forward("127.0.0.1", server.getsockname()[1]) as where:
        server.close()
        assert through(where, b"") == b""


def test_a_cut_connection_ends_what_goes_through_it(sshd):
    host = SSHHost(sshd.entry(), known_hosts=sshd.known_hosts)
    with echo() as port, host.forward("127.0.0.1", port) as where, socket.create_connection(where, 30) as line:
        line.sendall(b"x")
        assert line.recv(1) == b"x"
        sshd.cut()
        assert line.recv(1) == b""
    host.close()


def test_an_sshd_that_forwards_nothing_is_told_with_the_remedy(tmp_path, client_key):
    strict = start_sshd(tmp_path / "strict", client_key, more="AllowTcpForwarding no\n")
    host = SSHHost(strict.entry(), known_hosts=strict.known_hosts)
    try:
        with echo() as port, pytest.raises(RefusedError) as failure, host.forward("127.0.0.1", port):
            pass
        assert "AllowTcpForwarding" in failure.value.remedy
    finally:
        host.close()
        stop_sshd(strict)


def test_this_machine_needs_no_way():
    with LocalHost().forward("127.0.0.1", 5000) as where:
        assert where == ("127.0.0.1", 5000)


def test_a_load_goes_through_and_what_the_tunnel_takes_is_counted(box):
    with Server().running() as server:
        load = Load(concurrency=(1, 20), requests=20, output_tokens=30, prompts="stories/1")
        found = measure(Target("it", server.url, "tiny", host=box), load, by="me", progress=Quiet())
    assert found.way == "ssh" and found.host == "box" and found.url == server.url
    for level in found.levels:
        assert (level.succeeded, level.output_tokens, level.errors) == (20, 600, {})
        assert level.client.tunnel_cpu is not None and level.client.tunnel_cpu > 0
    assert found.gpu_note == "the host has no nvidia-smi"

"""`make bench-gateway`: what the gateway adds to latency and takes from throughput, against the engine directly.

The engine only answers, so that nothing but the way to it is measured. The ways take turns, request by request or
round by round, so that a busy moment of the machine meets all of them. Prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import socket
import ssl
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from tests.gateway.gate import Gate, gate

STREAMS = 50
AIM_ADDED_MS, AIM_LOST = 2.0, 0.03
ANSWER = b'{"object":"list","data":[]}'
CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": " token"}}],
}
TOKEN = f"data: {json.dumps(CHUNK)}\n\n".encode()


@dataclass(frozen=True)
class Way:
    """One way to the engine."""

    name: str
    port: int
    key: str = ""
    tls: ssl.SSLContext | None = None

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The bytes of a request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def main() -> int:
    """Measure and print; says whether the aims are met, and does not fail for them."""
    options = _options()
    with _engine() as port, gate() as made:
        ways = _ways(made, port)
        _say(_about())
        _latency(ways, options.requests)
        for pause, what in ((0.02, "a token every 20 ms from each"), (0.0, "as fast as they can")):
            _throughput(made, ways, what, options.rounds, options.tokens, pause)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="small requests on each way")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of streams on each way, after one that is not counted"
    )
    parser.add_argument("--tokens", type=int, default=200, help="tokens of a stream")
    return parser.parse_args()


def _ways(made: Gate, port: int) -> list[Way]:
    plain, secure = made.add("plain", "vllm", port), made.add("secure", "vllm", port, tls="internal")
    for site in (plain, secure):
        made.make_keys(site)
    made.start()
    trust = ssl.create_default_context(cafile=str(made.root_certificate(secure, "localhost")))
    return [
        Way("direct", port),
        Way("gateway", plain.port, plain.secrets["user"]),
        Way("gateway, TLS", secure.port, secure.secrets["user"], trust),
    ]


# latency


def _latency(ways: Sequence[Way], requests: int) -> None:
    """One small request after another on connections that are kept, on each way in turn."""
    times: dict[str, list[float]] = {way.name: [] for way in ways}
    open_ways = [(way, _connect(way)) for way in ways]
    for number in range(requests + 100):
        for way, connection in open_ways:
            began = time.perf_counter()
            connection.sendall(way.request("GET", "/v1/models"))
            _whole(connection)
            if number >= 100:  # the first ones warm up
                times[way.name].append(1000 * (time.perf_counter() - began))
    for _, connection in open_ways:
        connection.close()
    p50 = {name: statistics.median(found) for name, found in times.items()}
    p99 = {name: statistics.quantiles(found, n=100)[98] for name, found in times.items()}
    _say(f"\n### Latency: {requests} small requests on each way, one after another\n")
    _say("|  | p50 | p99 | added p50 | added p99 | p50 to direct |\n|---|---:|---:|---:|---:|---:|")
    for name in times:
        added = f"{p50[name] - p50['direct']:.2f} ms | {p99[name] - p99['direct']:.2f} ms"
        _say(f"| {name} | {p50[name]:.2f} ms | {p99[name]:.2f} ms | {added} | {p50[name] / p50['direct']:.1f}x |")
    _judge(f"p50 added below {AIM_ADDED_MS:g} ms", p50["gateway"] - p50["direct"] < AIM_ADDED_MS)


def _connect(way: Way) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", way.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return way.tls.wrap_socket(connection, server_hostname="localhost") if way.tls else connection


def _whole(connection: socket.socket) -> None:
    data = b""
    while not data.endswith(ANSWER):
        part = connection.recv(65536)
        assert part, f"broken off after {data!r}"
        data += part


# throughput


def _throughput(made: Gate, ways: Sequence[Way], what: str, rounds: int, tokens: int, pause: float) -> None:
    """Fifty streams at once, on each way in turn."""
    rates: dict[str, list[float]] = {way.name: [] for way in ways}
    spent: dict[str, float] = dict.fromkeys(rates, 0.0)
    for number in range(rounds + 1):
        for way in ways:
            before = _cpu(made)
            rate = asyncio.run(_round(way, tokens, pause))
            if number:
                rates[way.name].append(rate)
                spent[way.name] += _cpu(made) - before
    middle = {name: statistics.median(found) for name, found in rates.items()}
    _say(f"\n### Throughput: {STREAMS} streams of {tokens} tokens, {what}\n")
    _say("|  | tokens/s, median | slowest to fastest round | to direct | gateway's CPU per token |")
    _say("|---|---:|---:|---:|---:|")
    for name, found in rates.items():
        cpu = f"{1e6 * spent[name] / (rounds * STREAMS * tokens):.0f} µs"
        share = middle[name] / middle["direct"]
        _say(f"| {name} | {middle[name]:.0f} | {min(found):.0f} to {max(found):.0f} | {share:.3f}x | {cpu} |")
    if pause:
        _judge(f"throughput within {AIM_LOST:.0%}", middle["gateway"] >= middle["direct"] * (1 - AIM_LOST))


async def _round(way: Way, tokens: int, pause: float) -> float:
    """Tokens per second of all streams together."""
    body = json.dumps({"tokens": tokens, "pause": pause}).encode()
    name = "localhost" if way.tls else None
    opened = [
        await asyncio.open_connection("127.0.0.1", way.port, ssl=way.tls, server_hostname=name) for _ in range(STREAMS)
    ]

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(way.request("POST", "/v1/chat/completions", body))
        got = b""
        count = 0
        while not got.endswith(b"0\r\n\r\n"):
            part = await reader.read(65536)
            assert part, "broken off"
            count += (got[-5:] + part).count(b"data:") - got[-5:].count(b"data:")
            got = got[-5:] + part
        writer.close()
        return count

    began = time.perf_counter()
    counts = await asyncio.gather(*(stream(*pair) for pair in opened))
    took = time.perf_counter() - began
    assert counts == [tokens] * STREAMS, counts
    return sum(counts) / took


def _cpu(made: Gate) -> float:
    """Seconds of processor time that the gateway has used."""
    assert made.process
    fields = Path(f"/proc/{made.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# the engine, a process of its own


@contextmanager
def _engine() -> Iterator[int]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _serve(told: Connection) -> None:
    async def run() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=256)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            _, _, rest = head.partition(b"content-length:")
            body = await reader.readexactly(int(rest.partition(b"\r\n")[0] or 0))
            if head.startswith(b"post"):
                await _tokens(writer, **json.loads(body))
            else:
                kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(kind % len(ANSWER) + ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _tokens(writer: asyncio.StreamWriter, tokens: int, pause: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(tokens):
        if pause:
            await asyncio.sleep(began + number * pause - loop.time())
        writer.write(b"%x\r\n%s\r\n" % (len(TOKEN), TOKEN))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


# telling


def _about() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    machine = f"{os.cpu_count()} cores, {memory_gib} GiB, shared by client, gateway and engine"
    when = f"{datetime.now(UTC):%Y-%m-%d}; {machine}; Python {platform.python_version()}"
    return f"Measured on {when}; load average at the start {os.getloadavg()[0]:.1f}."


def _judge(aim: str, met: bool) -> None:
    _say(f"\nAim: {aim}: {'met' if met else 'MISSED'}.")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

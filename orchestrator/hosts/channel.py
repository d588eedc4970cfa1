"""One command on one SSH channel: fed, read on both streams without deadlock, limited in time."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING

from orchestrator.hosts.base import UNKNOWN, Result
from orchestrator.hosts.output import Output

if TYPE_CHECKING:
    from paramiko import Channel

GONE = (OSError, EOFError)
"""What paramiko raises at whoever sends where nobody listens: the second when the connection is cut at that moment."""

_TICK = 1.0  # seconds; looked at only while nothing comes
_READ = 256 * 1024  # bytes


def converse(
    channel: "Channel", feed: Iterator[bytes], *, limit: float, on_line: Callable[[str], None] | None
) -> Result:
    """Feed a started command and read it to its end, ``limit`` seconds at most; the channel is closed then.

    ``exited`` is UNKNOWN when the connection was lost or the limit passed. What ``feed`` raises is raised here,
    with the command's input cut off without an end of file, so that half a file is not taken for a whole one.
    """
    deadline = time.monotonic() + limit
    channel.settimeout(_TICK)
    out, err = Output(on_line), Output()
    faults: list[OSError] = []
    helpers = [
        Thread(target=_feed, args=(channel, feed, faults), daemon=True),
        Thread(target=_drain, args=(channel, channel.recv_stderr, err, deadline), daemon=True),
    ]
    for helper in helpers:
        helper.start()
    try:
        _drain(channel, channel.recv, out, deadline)
        channel.status_event.wait(max(0.0, deadline - time.monotonic()))
        exited = channel.exit_status if channel.status_event.is_set() else UNKNOWN
        if exited != UNKNOWN:
            helpers[1].join()
    finally:
        with suppress(*GONE):
            channel.close()
        for helper in helpers:
            helper.join()
    if faults:
        raise faults[0]
    return Result(exited, out.finish(), err.finish())


def _drain(channel: "Channel", receive: Callable[[int], bytes], output: Output, deadline: float) -> None:
    """Read to the end of the stream, or until an ended command's children keep it open in silence."""
    while time.monotonic() < deadline:
        try:
            chunk = receive(_READ)
        except TimeoutError:
            if channel.exit_status_ready():
                return
            continue
        if not chunk:
            return
        output.add(chunk)


def _feed(channel: "Channel", feed: Iterator[bytes], faults: list[OSError]) -> None:
    while True:
        try:
            chunk = next(feed, b"")
        except OSError as fault:
            faults.append(fault)
            channel.close()
            return
        try:
            if not chunk:
                channel.shutdown_write()
                return
            _send(channel, chunk)
        except GONE:
            return  # it did not want all of it, which is its own business; or nobody is there any more


def _send(channel: "Channel", chunk: bytes) -> None:
    while chunk:
        try:
            chunk = chunk[channel.send(chunk) :]
        except TimeoutError:
            if channel.exit_status_ready():
                raise BrokenPipeError from None

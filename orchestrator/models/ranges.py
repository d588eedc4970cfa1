"""The beginning of a file on the Hub, read as far as it is needed and no further."""

import time
from collections.abc import Callable, Mapping

from orchestrator.errors import DeployError
from orchestrator.hosts.secret import Secret
from orchestrator.models.resolved import ModelFile

_TIMEOUT = 30.0  # seconds
_LONGEST = 120.0  # seconds for one part, however it trickles
_LARGEST_STEP = 4 << 20  # bytes: what is read in vain at the end is less than this


class Head:
    """Reads a file from its beginning, by requests for parts that follow on one another; none is asked for twice.

    ``fetch`` returns the bytes from a start to before a stop. The first request is for ``first`` bytes; what has been
    read is doubled by each, in steps of 4 MiB at most.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes], *, first: int) -> None:
        self._size = size
        self._fetch = fetch
        self._first = first
        self._part = memoryview(b"")
        self.read_bytes = 0

    def read(self, count: int, /) -> bytes:
        """The next bytes: at least one and at most ``count``, none at the end of the file."""
        if not self._part and self.read_bytes < self._size:
            step = min(max(self._first, self.read_bytes), _LARGEST_STEP)
            stop = min(self.read_bytes + step, self._size)
            self._part = memoryview(self._fetch(self.read_bytes, stop))
            self.read_bytes = stop
        found = bytes(self._part[:count])
        self._part = self._part[count:]
        return found


def get_range(file: ModelFile, start: int, stop: int, token: Secret | None, *, longest: float = _LONGEST) -> bytes:
    """The bytes from ``start`` to before ``stop``. The token goes to no other place that is redirected to.

    ``longest`` is in seconds.
    Raises DeployError for an answer that is anything but these bytes, and what huggingface_hub raises for failures.
    """
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public by its documentation
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    headers = build_hf_headers(token=token.reveal() if token else False)
    headers |= {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    with get_session().stream("GET", file.url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as response:
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        _check(response.status_code, response.headers, file, start, stop)
        body, began = bytearray(), time.monotonic()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > stop - start:
                break
            if time.monotonic() - began > longest:
                raise _wrong(file, f"it sent {len(body)} bytes in {longest:.0f} s")
    if len(body) != stop - start:
        raise _wrong(file, f"it sent {len(body)} bytes in place of {stop - start}")
    return bytes(body)


def _check(status: int, headers: Mapping[str, str], file: ModelFile, start: int, stop: int) -> None:
    if status != 206:
        raise _wrong(file, f"it answered HTTP {status} to a request for a part")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise _wrong(file, "it compressed a part")
    expected = f"bytes {start}-{stop - 1}/{file.size}"
    if (found := headers.get("Content-Range", "")) != expected:
        raise _wrong(file, f"it was asked for {expected!r} and sent {found[:100]!r}")


def _wrong(file: ModelFile, why: str) -> DeployError:
    return DeployError(
        f"{file.path} cannot be read in part from where it lies",
        why=why,
        remedy="Set HF_ENDPOINT to a mirror that answers to ranges, or download the model and name its path.",
    )

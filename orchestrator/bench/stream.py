"""A streamed chat completion, read event by event. Pure: bytes and moments in, a record out."""

import json
from collections.abc import Iterator
from typing import Any

from orchestrator.bench.wire import Record

_LONGEST = 8 * 1024 * 1024  # bytes of one event; whatever sends more is no chat completion
_PARTS = ("content", "reasoning", "reasoning_content", "tool_calls")
DETAIL = 300
"""Characters of a server's own words that are kept."""


class NotAStreamError(ValueError):
    """What came is not what a streamed chat completion looks like."""


class Events:
    """Server-sent events out of bytes, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The data of every event that is whole now. Raises NotAStreamError for an endless line."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST:
            raise NotAStreamError("an event without an end")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip().decode("utf-8", "replace")


class Tally:
    """One answer as it comes in."""

    def __init__(self, began: float) -> None:
        self.record = Record(began=began)
        self._last: float | None = None
        self._opened: float | None = None
        self._done = False

    def add(self, data: str, at: float) -> None:
        """Count one event that came at a moment. Raises NotAStreamError."""
        if data == "[DONE]":
            self._done = True
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            raise NotAStreamError(f"an event that is not JSON: {data[:80]}") from None
        if not isinstance(event, dict):
            raise NotAStreamError("an event that is not an object")
        if "error" in event or event.get("object") == "error":
            self.fail("engine", complaint(data))
            return
        self._count(event.get("usage"))
        for choice in event.get("choices") or ():
            if isinstance(choice, dict):
                self._choice(choice, at)

    def fail(self, kind: str, detail: str) -> None:
        """Remember the first thing that went wrong."""
        if not self.record.error:
            self.record.error, self.record.detail = kind, detail[:DETAIL]

    def end(self, at: float) -> Record:
        """The answer is over."""
        record = self.record
        record.ended = at
        if not self._done:
            self.fail("cut", "the stream ended without [DONE]")
        if record.first is None:  # tokens without text: a model with random weights does that
            record.first = self._opened
        if not record.counted:
            record.tokens = record.pieces
        if record.tokens == 0:
            self.fail("empty", "it answered with no token")
        return record

    def _choice(self, choice: dict[str, Any], at: float) -> None:
        record, delta = self.record, choice.get("delta")
        self._opened = at if self._opened is None else self._opened
        if isinstance(choice.get("finish_reason"), str):
            record.finish = choice["finish_reason"]
        if not isinstance(delta, dict) or not any(delta.get(part) for part in _PARTS):
            return
        record.pieces += 1
        if self._last is None:
            record.first = at
        else:
            record.gaps.append(round(at - self._last, 6))
        self._last = at

    def _count(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if isinstance(prompt, int) and isinstance(answer, int):
            self.record.prompt_tokens, self.record.tokens, self.record.counted = prompt, answer, True


def complaint(text: str) -> str:
    """What a server says went wrong, in its own words."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(text.split())[:DETAIL]
    error = found.get("error", found) if isinstance(found, dict) else found
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join((message if isinstance(message, str) else text).split())[:DETAIL]

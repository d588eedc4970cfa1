"""JSON and times as Go writes them, and the errors that the routes answer."""

import json
from datetime import UTC, datetime
from typing import Any


class Answer(Exception):
    """An error that the client gets: a status and a text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def go_json(value: object) -> str:
    """Compact JSON with ``<``, ``>`` and ``&`` escaped, as Go's encoder does."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def go_load(content: bytes) -> Any:
    """The parsed JSON; ValueError with Go's words when it is none."""
    text = content.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()):
            raise ValueError("unexpected EOF" if text.strip() else "EOF") from None
        found = text[error.pos]
        place = {
            "Expecting value": "looking for beginning of value",
            "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
            "Expecting ':' delimiter": "after object key",
            "Extra data": "after top-level value",
        }.get(error.msg, "after object key:value pair")
        raise ValueError(f"invalid character {found!r} {place}") from None


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 with nine digits in UTC, for now or for `moment`."""
    moment = moment or datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}000Z"


def human_count(number: int) -> str:
    """A parameter count such as ``268.10M``."""
    for unit, size, digits in (("B", 10**9, 1), ("M", 10**6, 2)):
        if number >= size:
            return f"{number / size:.0f}{unit}" if number % size == 0 else f"{number / size:.{digits}f}{unit}"
    return f"{number / 1000:.0f}K" if number >= 1000 else str(number)


def human_bytes(number: int) -> str:
    """A size in powers of 1000, such as ``253 MB``."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if number >= size:
            value = number / size
            return f"{value:.0f} {unit}" if value >= 10 or value == int(value) else f"{value:.1f} {unit}"
    return f"{number} B"

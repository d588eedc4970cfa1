"""What a command prints: bytes in, whole lines and text out."""

from collections.abc import Callable


class Output:
    """Collects one stream; tells each line as soon as it is whole (and the last one at the end)."""

    def __init__(self, on_line: Callable[[str], None] | None = None) -> None:
        self._on_line = on_line
        self._kept: list[bytes] = []
        self._line = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take bytes as they come. Lines are cut as bytes, so a character cut in two comes out whole."""
        self._kept.append(chunk)
        if self._on_line is None:
            return
        self._line += chunk
        *whole, rest = bytes(self._line).split(b"\n")
        self._line = bytearray(rest)
        for line in whole:
            self._on_line(line.decode("utf-8", "replace"))

    def finish(self) -> str:
        """Everything, decoded as UTF-8 with replacement."""
        if self._on_line is not None and self._line:
            self._on_line(self._line.decode("utf-8", "replace"))
            self._line.clear()
        return b"".join(self._kept).decode("utf-8", "replace")

"""Time, as something that tests can hold in their hands."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells and passes time, in seconds."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        time.sleep(seconds)  # the one place that really waits: everything else takes a Clock

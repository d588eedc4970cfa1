"""Waiting with a deadline, in pauses that grow."""

from orchestrator.health.clock import Clock

_FIRST_S = 0.5
_LONGEST_S = 5.0
_GROWTH = 1.5


class Wait:
    """One deadline, ``deadline_s`` seconds from now, and the pauses until then."""

    def __init__(self, clock: Clock, deadline_s: float) -> None:
        self._clock = clock
        self._began = clock.now()
        self._deadline_s = deadline_s
        self._next_s = _FIRST_S

    def spent(self) -> float:
        """Seconds since the wait began."""
        return self._clock.now() - self._began

    def left(self) -> float:
        """Seconds until the deadline; 0 when it is over."""
        return max(0.0, self._deadline_s - self.spent())

    def pause(self) -> bool:
        """Let the next pause pass, never beyond the deadline. False, at once, when the deadline is over."""
        left = self.left()
        if left <= 0:
            return False
        self._clock.sleep(min(self._next_s, left))
        self._next_s = min(self._next_s * _GROWTH, _LONGEST_S)
        return True

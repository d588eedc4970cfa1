"""Numbers of a stranger's header, brought within bounds."""

import math
from collections.abc import Mapping, Sequence

from orchestrator.fit.shape import MOST, MOST_LAYERS
from orchestrator.spec.problems import printable


class Reading:
    """Looks values up and remembers in ``doubts`` what was no sensible number."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self.doubts: list[str] = []

    def has(self, key: str) -> bool:
        """Whether there is a value, sensible or not."""
        return self._values.get(key) is not None

    def count(self, key: str, default: int = 0, most: int = MOST) -> int:
        """A whole number from 0 to ``most``; the largest one where an array is given."""
        value = self._values.get(key)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return max((self._whole(key, item, most) for item in value[:MOST_LAYERS]), default=default)
        return default if value is None else self._whole(key, value, most)

    def first(self, *keys: str, default: int = 0) -> int:
        """The number under the first of the keys that there is."""
        for key in keys:
            if self.has(key):
                return self.count(key)
        return default

    def of_layers(self, key: str, layers: int, default: int = 0) -> tuple[int, ...]:
        """A number for each of the layers, from one number or from one for each."""
        value = self._values.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return (self.count(key, default),) * layers
        given = tuple(self._whole(key, item, MOST) for item in value[:layers])
        if len(given) < layers:
            self.doubts.append(f"{key} names {len(given)} of {layers} layers")
        return given + (max(given, default=default),) * (layers - len(given))

    def flags(self, key: str, layers: int) -> tuple[bool, ...] | None:
        """A yes or no for each of the layers, or None where the value is no such list."""
        value = self._values.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) < layers:
            return None
        return tuple(bool(item) for item in value[:layers])

    def text(self, key: str) -> str:
        """A text that may be shown on a terminal, empty where there is none."""
        value = self._values.get(key)
        return printable(value) if isinstance(value, str) else ""

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty where there is none."""
        value = self._values.get(key)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return ()
        return tuple(item if isinstance(item, str) else "" for item in value[:MOST_LAYERS])

    def layers(self, key: str) -> int:
        """How many layers there are; more than any model has are cut off."""
        return self.count(key, most=MOST_LAYERS)

    def _whole(self, key: str, value: object, most: int) -> int:
        known = isinstance(value, int | float) and math.isfinite(value)
        number = int(value) if known and isinstance(value, int | float) else -1
        if not 0 <= number <= most:
            self.doubts.append(f"{key} is no sensible number")
        return min(max(number, 0), most)

"""The KEY/VALUE lines with which a script that observes a host answers."""


class Answers:
    """Read by key; what a host does not say, or says wrongly, is nothing."""

    def __init__(self, text: str) -> None:
        cut = (line.partition("\t") for line in text.splitlines() if "\t" in line)
        self.pairs = [(key, value) for key, _, value in cut]

    def one(self, key: str, default: str = "") -> str:
        """The first value of a key."""
        return next((value for name, value in self.pairs if name == key), default)

    def all(self, key: str) -> list[str]:
        """All values of a key, in order."""
        return [value for name, value in self.pairs if name == key]

    def number(self, key: str) -> int:
        """A whole number; 0 where there is none."""
        value = self.one(key)
        return int(value) if value.isdecimal() else 0

    def limit(self, key: str) -> int | None:
        """A limit; None where there is none ("unlimited", or nothing said)."""
        value = self.one(key)
        return int(value) if value.isdecimal() else None

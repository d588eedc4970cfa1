"""The prompts of the load: the same for the same seed, each request's its own, padded to a length by words.

How many tokens a word is, only the endpoint's own tokenizer knows: whoever wants a length in tokens asks it
(``calibrate``), and no tokenizer has to be downloaded.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random


@dataclass(frozen=True)
class Stories:
    """The prompt set that is shipped."""

    name: str
    sentence: str
    padding: str
    parts: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @property
    def many(self) -> int:
        """How many different stories there are."""
        traits, heroes, things, places = (len(part) for part in self.parts)
        return traits * heroes * things * places


@cache
def stories() -> Stories:
    """Read the prompt set."""
    found = tomllib.loads(files(__package__).joinpath("stories.toml").read_text(encoding="utf-8"))
    parts = tuple(tuple(found[name]) for name in ("traits", "heroes", "things", "places"))
    return Stories(found["name"], found["sentence"], found["padding"], parts, tuple(found["notes"].split()))


def prompt(seed: int, index: int, words: int) -> str:
    """The prompt of request ``index``, with ``words`` words of padding. Its own part comes first.

    An engine that keeps computed prefixes can therefore reuse nothing of one prompt for another.
    """
    mine = stories()
    number = (index * _stride(seed, mine.many) + seed) % mine.many
    chosen = []
    for part in mine.parts:
        number, which = divmod(number, len(part))
        chosen.append(part[which])
    trait, hero, thing, place = chosen
    sentence = mine.sentence.format(trait=trait, hero=hero, thing=thing, place=place)
    if not words:
        return sentence
    turned = [mine.notes[(index + position) % len(mine.notes)] for position in range(words)]
    return f"{sentence} {mine.padding}\n{' '.join(turned)}"


@cache
def _stride(seed: int, many: int) -> int:
    """A step that comes by all stories before it meets one again: prime to their number, which has only 2 and 5."""
    return Random(seed).randrange(many // 10) * 10 + 3  # noqa: S311  (order, not secrecy)


def calibrated(wanted: int, bare: int, tried: int, counted: int) -> int:
    """Words of padding for ``wanted`` prompt tokens, when none gave ``bare`` tokens and ``tried`` words ``counted``."""
    if wanted <= bare or counted <= bare:
        return 0
    return max(1, round(tried * (wanted - bare) / (counted - bare)))

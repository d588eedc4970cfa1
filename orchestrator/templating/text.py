"""What every quoting filter begins with: a value as text, or a refusal that does not repeat the value."""

import unicodedata
from collections.abc import Container


class Unsayable(ValueError):
    """The value cannot be written in this format without changing its meaning. The message never holds the value."""


def text_of(value: object) -> str:
    """A string, integer, float or boolean as text. Raises Unsayable for all else and for what UTF-8 cannot hold."""
    match value:
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case int():
            text = str(value)
        case float() if value - value == 0:  # neither infinite nor NaN
            text = repr(value)
        case _:
            raise Unsayable(f"a {type(value).__name__} is not a text or a finite number")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Unsayable("a lone surrogate is not valid Unicode text")
    return text


def line_of(value: object, *, place: str) -> str:
    """Text that stays on one line: control characters other than the tab are refused with ``place`` in the message."""
    text = text_of(value)
    refuse_controls(text, allowed="\t", place=place)
    return text


def refuse_controls(text: str, *, allowed: Container[str], place: str) -> None:
    """Raise Unsayable for ASCII control characters (a newline among them) that are not in ``allowed``."""
    for character in text:
        if (character < " " or character == "\x7f") and character not in allowed:
            name = {"\n": "a newline", "\r": "a carriage return", "\0": "a NUL"}.get(
                character, f"the control character U+{ord(character):04X}"
            )
            raise Unsayable(f"{name} cannot be written in {place}")


def absolute(value: object) -> str:
    """The value when it is an absolute path. A relative one would be read against an unknown folder."""
    text = text_of(value)
    if not text.startswith("/"):
        raise Unsayable("the path must be absolute")
    return text


def plain_name(value: object) -> str:
    """The value when it is letters, digits, ``.``, ``_`` and ``-``, not ``-`` or ``.`` first: safe in every format."""
    text = text_of(value)
    allowed = text.isascii() and all(c.isalnum() or c in "._-" for c in text)
    if not text or not allowed or text[0] in ".-":
        raise Unsayable("a name is made of letters, digits, '.', '_' and '-', and begins with a letter, digit or '_'")
    return text


def arguments(values: object) -> list[str]:
    """The values of one option: at least one, none empty, and none that would be read as another option.

    vLLM turns the lists of its ``--config`` file into command-line arguments; an empty list of keys would mean no key.
    """
    texts = [text_of(value) for value in values] if isinstance(values, (list, tuple)) else []
    if not texts or any(not text or text.startswith("-") for text in texts):
        raise Unsayable("the values of an option are one or more, none of them empty or beginning with '-'")
    return texts


def variable_name(value: object) -> str:
    """The value when it is the name of an environment variable, as POSIX has it."""
    text = text_of(value)
    if not text.isascii() or not text.isidentifier():
        raise Unsayable("a variable's name is made of letters, digits and '_', and does not begin with a digit")
    return text


def comment(value: object) -> str:
    """The value as one ``#`` comment line; breaks and control characters become spaces."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text_of(value))
    return " ".join(["#", *shown.split()])

'''Quoting for Ollama's Modelfile, after its parser (``parser/parser.go``, ParseFile and unquote).

The rules, which no document states in full: a value runs to the first newline at which the text so far, trimmed,
is not an open quote. It may be bare, ``"..."`` or ``"""..."""``; there are **no escapes**; the outermost quotes
are taken off and what is between is kept, quotes included. So a value is told apart from the next directive
only by *where a line ends after a quote*, and that is what is tried here. Characters that Go does not call
printable vanish silently, other than space, tab, newline and carriage return.
'''

import re

from orchestrator.templating.text import Unsayable, text_of

_BARE = re.compile(r"[A-Za-z0-9._/:@+-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_DIRECTIVES = frozenset(
    ("model", "license", "template", "system", "adapter", "draft", "renderer", "parser", "message", "requires")
)
_TRIMMED = " \t\r\n"


def modelfile(value: object) -> str:
    """The value of FROM, PARAMETER, SYSTEM, TEMPLATE or MESSAGE."""
    text = text_of(value)
    if not all(character.isprintable() or character in "\t\r\n" for character in text):
        raise Unsayable("Ollama drops characters of a Modelfile that do not print")
    if _BARE.fullmatch(text):
        return text
    marks = ('"""', '"') if "\n" in text else ('"', '"""')
    for mark in marks:
        written = f"{mark}{text}{mark}"
        if _read(written) == text:
            return written
    raise Unsayable("a line of a Modelfile's value cannot end in the quotes that enclose the value")


def modelfile_parameter(name: object) -> str:
    """A PARAMETER's name. One that is a directive's would become that directive (``PARAMETER model x`` is FROM)."""
    text = text_of(name)
    if not _NAME.fullmatch(text) or text.lower() in _DIRECTIVES:
        raise Unsayable("a parameter's name is made of letters, digits and '_', and is not a directive's")
    return text


def _read(written: str) -> str | None:
    """What Ollama reads when ``written`` is followed by a newline; None when the value ends elsewhere."""
    for end, character in enumerate(written):
        if character in "\r\n" and _unquoted(written[:end].strip(_TRIMMED)) is not None:
            return None
    return _unquoted(written.strip(_TRIMMED))


def _unquoted(text: str) -> str | None:
    for mark in ('"""', '"'):
        if text.startswith(mark):
            closed = len(text) >= 2 * len(mark) and text.endswith(mark)
            return text[len(mark) : -len(mark)] if closed else None
    return text

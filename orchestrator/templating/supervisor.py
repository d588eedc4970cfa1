"""Quoting for supervisord's ini files, after the parser of supervisor 4.3.0 (``options.py``, ``datatypes.py``).

That parser knows no escapes, but it expands ``%(name)s`` as Python does, and ``%(here).0s`` expands to nothing
wherever expansion happens. Put between two characters, it keeps them from being read together:

* ``;`` or ``#`` after white space begins a comment, even inside quotes;
* ``%(here)s`` is replaced in included files *before* ``%%`` is undone, so ``%%(here)s`` would be torn apart.
"""

import re
import shlex
from collections.abc import Iterable

from orchestrator.templating.text import Unsayable, absolute, line_of, variable_name

_NOTHING = "%(here).0s"
_JOINTS = re.compile(r"(?<=\s)(?=[;#])|(?<=%%)(?=\(here\)s)")


def supervisor(value: object) -> str:
    """A value read as it stands. Applied twice, it suits ``stdout_logfile``, which supervisord expands twice."""
    text = line_of(value, place="a supervisord file")
    if text != text.strip():
        raise Unsayable("supervisord would drop the space at the beginning or the end")
    return _JOINTS.sub(lambda _: _NOTHING, text.replace("%", "%%"))


def supervisor_path(value: object) -> str:
    """An absolute path read as it stands."""
    return supervisor(absolute(value))


def supervisor_log(value: object) -> str:
    """The absolute path of ``stdout_logfile``, which is expanded twice."""
    return supervisor(supervisor(absolute(value)))


def supervisor_pattern(value: object) -> str:
    """One pattern of ``[include] files``, a list that is split at white space and cannot be quoted."""
    text = supervisor(value)
    if not text or any(character.isspace() for character in text):
        raise Unsayable("an include pattern of supervisord cannot be empty or hold white space")
    return text


def supervisor_exec(words: Iterable[object]) -> str:
    """A command line: expanded, then split as by ``shlex``."""
    texts = [line_of(word, place="a supervisord file") for word in words]
    if not texts:
        raise Unsayable("the command is empty")
    return supervisor(shlex.join(texts))


def supervisor_env(pairs: Iterable[tuple[object, object]]) -> str:
    """All of ``environment``: ``NAME="value",...``.

    Quotes hold everything but themselves, and supervisord strips *both* kinds from the ends of a value.
    """
    return ",".join(f"{variable_name(name)}={_quoted(value)}" for name, value in pairs)


def _quoted(value: object) -> str:
    text = line_of(value, place="a supervisord file")
    if text[:1] in ('"', "'") or text[-1:] in ('"', "'"):
        raise Unsayable("supervisord strips a quote at the beginning or the end of a variable's value")
    if '"' in text and "'" in text:
        raise Unsayable("supervisord cannot hold both kinds of quotes in a variable's value")
    quote = "'" if '"' in text else '"'
    return supervisor(f"{quote}{text}{quote}")

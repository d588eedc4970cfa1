"""Quoting for systemd unit files, as systemd.syntax(7), systemd.service(5) and systemd.unit(5) define it.

What they say, and the code of systemd 252 confirms: a line ends at LF, CR or NUL; a line that ends in a backslash
goes on; ``%`` begins a specifier everywhere; ``$`` begins a variable in ExecStart only, and not in its first word;
quoted words take C escapes; a line that is not UTF-8 without noncharacters is dropped with a mere warning.
"""

import re
from collections.abc import Iterable

from orchestrator.templating.text import Unsayable, absolute, line_of, variable_name

_SAFE_WORD = re.compile(r"[A-Za-z0-9_@+=:,./-]+", re.ASCII)
_HOMES = ("/home", "/root", "/run/user")


def systemd_value(value: object) -> str:
    """A setting that is read as it stands (Description=, User=, WorkingDirectory=, EnvironmentFile=)."""
    text = _line(value)
    if text != text.strip(" \t"):
        raise Unsayable("systemd would drop the space at the beginning or the end")
    if text.endswith("\\"):
        raise Unsayable("a backslash at the end would join the next line to this one")
    return text.replace("%", "%%")


def systemd_word(value: object) -> str:
    """One word of ExecStart= after the first."""
    return _quoted(_line(value).replace("$", "$$"))


def systemd_exec(words: Iterable[object]) -> str:
    """A whole ExecStart= command line. In its first word, a path, systemd allows no quote, backslash or ``$``."""
    program, *arguments = [*words] or [""]
    path = absolute(_line(program))
    if path.endswith("/") or any(character in "\"'\\$" for character in path):
        raise Unsayable("a program's path cannot hold a quote, a backslash or '$', or end in '/'")
    return " ".join([_quoted(path), *map(systemd_word, arguments)])


def systemd_env(name: object, value: object) -> str:
    """One assignment of Environment=; ``$`` means itself there."""
    return _quoted(f"{variable_name(name)}={_line(value)}", always=True)


def systemd_path(value: object) -> str:
    """One path of a list (ReadWritePaths=, ReadOnlyPaths=), where escapes differ between versions: hence none."""
    path = absolute(_line(value))
    if any(character in "\"'\\" for character in path):
        raise Unsayable("a path in a systemd list cannot hold a quote or a backslash")
    return _quoted(path)


def systemd_protect_home(paths: Iterable[object]) -> str:
    """The strictest ProtectHome= under which the service still reaches its paths.

    ``yes`` hides the home directories whole, so ReadWritePaths= inside them would fail; ``read-only`` lets it pass.
    """
    texts = [absolute(path) for path in paths]
    inside = any(path == home or path.startswith(f"{home}/") for path in texts for home in _HOMES)
    return "read-only" if inside else "yes"


def _line(value: object) -> str:
    text = line_of(value, place="a systemd unit")
    if any(ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF for c in text):
        raise Unsayable("systemd drops a line that holds a Unicode noncharacter")
    return text


def _quoted(text: str, *, always: bool = False) -> str:
    if not always and _SAFE_WORD.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'

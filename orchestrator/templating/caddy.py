"""Values in a Caddyfile.

Caddy replaces ``{…}`` in most values when it runs, of environment variables and files too, and no quoting keeps it
from doing so: a value with a brace is refused, as is all that would end a token. Format:
https://caddyserver.com/docs/caddyfile/concepts
"""

import re

from orchestrator.templating.text import Unsayable, line_of, plain_name, text_of

_UNSAYABLE = re.compile(r'[{}"`\\<>$]')
_ADDRESS = re.compile(r"[a-z0-9.-]+|\[[0-9a-fA-F:.]+\]")


def caddy(value: object) -> str:
    """One token, in quotes where it needs them."""
    text = line_of(value, place="a Caddyfile")
    if _UNSAYABLE.search(text) or "\t" in text:
        raise Unsayable("a brace, quote, backslash, dollar, angle bracket or tab cannot be written in a Caddyfile")
    if not text:
        raise Unsayable("the value is empty")
    return f'"{text}"' if re.search(r"[^A-Za-z0-9_./:@|*\[\]-]", text) else text


def caddy_name(value: object) -> str:
    """The name of a snippet."""
    return f"deployctl-{plain_name(value)}"


def caddy_pattern(value: object) -> str:
    """A regular expression in an expression between backticks, as a raw string."""
    text = line_of(value, place="a Caddyfile")
    if re.search(r'["`{}\t]', text):
        raise Unsayable("a brace, quote, backtick or tab cannot be written in this pattern")
    return f'r"{text}"'


def caddy_addresses(values: object, scheme: str, port: int) -> str:
    """The addresses of a site, from names and numbers of hosts."""
    names = [text_of(value) for value in values] if isinstance(values, (list, tuple)) else []
    if not names or any(_ADDRESS.fullmatch(name) is None for name in names):
        raise Unsayable("a site's addresses are names of hosts, or numbers")
    return ", ".join(f"{plain_name(scheme)}://{name}:{int(port)}" for name in names)

"""Every filter a template may use, by name. Each writes the value right for its format or raises Unsayable.

The formats that need more than a few lines have modules of their own beside this one.
"""

import json as json_text
import re
import shlex
from collections.abc import Callable, Mapping

from orchestrator.templating.caddy import caddy, caddy_addresses, caddy_name, caddy_pattern
from orchestrator.templating.modelfile import modelfile, modelfile_parameter
from orchestrator.templating.supervisor import (
    supervisor,
    supervisor_env,
    supervisor_exec,
    supervisor_log,
    supervisor_path,
    supervisor_pattern,
)
from orchestrator.templating.systemd import (
    systemd_env,
    systemd_exec,
    systemd_path,
    systemd_protect_home,
    systemd_value,
    systemd_word,
)
from orchestrator.templating.text import (
    Unsayable,
    absolute,
    arguments,
    comment,
    line_of,
    plain_name,
    text_of,
    variable_name,
)

_SAFE_ENV = re.compile(r"[A-Za-z0-9_@%+=:,./-]*", re.ASCII)
_SPECIAL_ENV = re.compile(r'(["\\`$])')


def json(value: object, indent: int | None = None) -> str:
    """Any JSON value; keys keep their order, text stays readable. NaN and infinities are refused."""
    try:
        text = json_text.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unsayable("the value cannot be written as JSON") from error
    return text_of(text)


def yaml(value: object) -> str:
    """Any JSON value as YAML 1.2, on one line: JSON, with what YAML calls unprintable escaped."""
    return "".join(c if c.isprintable() else _yaml_escape(c) for c in json(value))


def shell(value: object) -> str:
    """One word of a POSIX shell."""
    text = text_of(value)
    if "\0" in text:
        raise Unsayable("a NUL cannot be passed to a shell")
    return shlex.quote(text)


def envfile(value: object) -> str:
    """A value of an EnvironmentFile= of systemd, which a POSIX shell can source too.

    A value of safe characters is bare, so that Docker's env files, which know no quotes, read it the same.
    """
    text = line_of(value, place="an environment file")
    if _SAFE_ENV.fullmatch(text):
        return text
    return '"' + _SPECIAL_ENV.sub(r"\\\1", text) + '"'


def _yaml_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


FILTERS: Mapping[str, Callable[..., object]] = {
    function.__name__: function
    for function in (
        absolute,
        arguments,
        caddy,
        caddy_addresses,
        caddy_name,
        caddy_pattern,
        comment,
        envfile,
        json,
        modelfile,
        modelfile_parameter,
        plain_name,
        shell,
        supervisor,
        supervisor_env,
        supervisor_exec,
        supervisor_log,
        supervisor_path,
        supervisor_pattern,
        systemd_env,
        systemd_exec,
        systemd_path,
        systemd_protect_home,
        systemd_value,
        systemd_word,
        variable_name,
        yaml,
    )
}

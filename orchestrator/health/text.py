"""Log text made plain: no colours, no control characters, no prefixes that differ from line to line."""

import re

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PREFIX = re.compile(
    r"""^(?:[\w.-]{1,64}\s+\|\ )?                                # deployctl logs of several hosts, docker compose
        (?:[A-Z][a-z]{2}\ [\d ]\d\ [\d:]{8}\ \S+\ [\w.@-]+\[\d+\]:\s)?   # journalctl
        (?:\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)\s+)?       # docker logs --timestamps
        (?:\([\w.\- ]+\s+pid=\d+\)\s*)?                           # (EngineCore pid=123)
        (?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)                  # ERROR 11-23 21:44:07 [core.py:1]
           \s+\d\d-\d\d\s+[\d:.]+\s+\[[^\]]+\]\s?)?
    """,
    re.VERBOSE,
)


def plain(text: str) -> str:
    """The text without terminal escapes and control characters. A carriage return ends a line, as in a progress bar."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(_CONTROL.sub("", line) for line in lines)


def unprefixed(text: str) -> str:
    """The text without what vLLM, Docker and journald put before each line: a message of several lines reads as one."""
    return "\n".join(_PREFIX.sub("", line, count=1) for line in text.split("\n"))


def tail(text: str, lines: int) -> str:
    """The last ``lines`` lines that are not empty."""
    return "\n".join([line for line in text.split("\n") if line.strip()][-lines:])


def shorten(text: str, limit: int) -> str:
    """The text on one line, cut to ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

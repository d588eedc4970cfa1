"""An HTTP request as a shell script around curl, and its answer read back. Pure text.

The whole request travels in here-documents, so that no header, URL or body shows in a process list.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from orchestrator.hosts.base import HttpAnswer, HttpRequest, Result

MISSING = 127
"""Exit status of the script when the host has no curl."""

# Body and statuses come back in base64: a Result is text, a body need not be.
_BEGIN = """\
command -v curl >/dev/null 2>&1 || exit 127
said() { base64 -d | tail -n 2 | tr '\\n' ' '; }
"""
_ONE = """\
answer=$({{
base64 -d <<'BODY' | curl -q -K /dev/fd/3 3<<'CONFIG'
{body}
BODY
{config}
CONFIG
printf '\\n%s' "$?"
}} | base64)
printf '%s\\n{end}\\n' "$answer"
case "$(printf '%s\\n' "$answer" | said)" in '200 0'*) ;; *) exit 0 ;; esac
"""
_END = "."  # no character of base64
_LINE = 4000  # characters of base64
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACE = re.compile(r"([0-9a-zA-Z.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def fault(request: HttpRequest) -> str:
    """Why the request cannot be sent at all, or nothing. Never repeats a value."""
    if _scheme(request.url) not in ("http", "https"):
        return "the URL is not an http or https URL"
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in request.url):
        return "the URL holds a space or a control character"
    if not _TOKEN.fullmatch(request.method):
        return "the method is not an HTTP method"
    if request.connect and not _PLACE.fullmatch(request.connect):
        return "the address to connect to is not ADDRESS:PORT"
    for name, value in request.headers.items():
        if not _TOKEN.fullmatch(name) or set(value) & set("\r\n\0"):
            return "a header holds a line break, or its name is not a header's name"
    return ""


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def is_loopback(url: str) -> bool:
    """Whether the URL means the machine itself, which no proxy can reach."""
    name = urlsplit(url).hostname or ""
    return name in ("localhost", "::1") or name.startswith("127.")


def script(requests: Sequence[HttpRequest]) -> str:
    """The script, which ends with the first request that is not answered with 200; give its Result to `answers`."""
    return _BEGIN + "".join(map(_one, requests))


def _one(request: HttpRequest) -> str:
    encoded = base64.b64encode(request.body or b"").decode()
    body = "\n".join(encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE))
    config = "\n".join(f'{key} = "{value.translate(_ESCAPES)}"' for key, value in _options(request))
    switches = "silent\nshow-error\ngloboff" + ("\nhead" if request.method == "HEAD" else "")
    switches += "" if request.verify else "\ninsecure"
    return _ONE.format(body=body, config=f"{config}\n{switches}", end=_END)


def _options(request: HttpRequest) -> list[tuple[str, str]]:
    options = [
        ("url", request.url),
        ("proto", "=http,https"),
        ("max-time", f"{max(request.timeout, 0.001):.3f}"),
        ("output", "/dev/null" if request.method == "HEAD" else "-"),
        ("write-out", "\\n%{http_code}"),
    ]
    if is_loopback(request.url) or request.connect:
        options.append(("noproxy", "*"))
    if request.connect:
        options.append(("connect-to", f"::{request.connect}"))
    if request.body is not None:
        options.append(("data-binary", "@-"))
    # An empty value is said with a semicolon; a bare colon takes away what curl adds by itself.
    options += [("header", f"{name}: {value}" if value else f"{name};") for name, value in request.headers.items()]
    given = {name.lower() for name in request.headers}
    options += [("header", f"{name}:") for name in ("Content-Type", "Expect") if name.lower() not in given]
    if request.method != "HEAD":
        options.append(("request", request.method))
    return options


def answers(result: Result) -> list[HttpAnswer]:
    """Read what the script printed: at least one answer, where nothing came at all with the reason for it."""
    texts = result.stdout.split(f"\n{_END}\n")[:-1]
    return [_answer(text, result.stderr) for text in texts or [""]]


def _answer(text: str, stderr: str) -> HttpAnswer:
    """The body, the HTTP status, curl's exit status."""
    try:
        body, code, exited = base64.b64decode(text).rsplit(b"\n", 2)
        status, failed = int(code), int(exited)
    except (ValueError, binascii.Error):
        return HttpAnswer(0, error=stderr.strip() or "curl gave no answer")
    if failed:
        return HttpAnswer(0, error=stderr.strip().split(") ", 1)[-1] or f"curl exited {failed}")
    return HttpAnswer(status, body)

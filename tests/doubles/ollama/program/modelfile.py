"""Modelfiles: the CLI's parser, state for state, and the parameters' types.

Values are quoted with ``"…"`` or ``\"\"\"…\"\"\"``; an unquoted value ends at the line's end.
"""

from dataclasses import dataclass, field
from pathlib import Path

from .settings import Failure

_COMMANDS = (
    "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message",
    "requires",
)  # fmt: skip
_ROLES = ("system", "user", "assistant")
_INTS = {
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "seed", "num_predict", "top_k",
    "repeat_last_n",
}  # fmt: skip
_FLOATS = {
    "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty",
}  # fmt: skip


@dataclass
class CreateRequest:
    """What ``ollama create`` asks of the server; ``files`` maps a file's name to its path here."""

    model: str
    origin: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    fields: dict[str, object] = field(default_factory=dict)
    parameters: dict[str, object] = field(default_factory=dict)


def _line_error(line: int, what: str, choices: tuple[str, ...]) -> Failure:
    quoted = [f'"{choice}"' for choice in choices]
    return Failure(f"(line {line}): {what} must be one of {', '.join(quoted[:-1])}, or {quoted[-1]}")


def _unquote(text: str) -> str | None:
    for mark in ('"""', '"'):
        if text.startswith(mark):
            closed = len(text) >= 2 * len(mark) and text.endswith(mark)
            return text[len(mark) : -len(mark)] if closed else None
    return text


class _Parser:
    """One pass over the characters; ``commands`` grows with (name, value)."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []
        self.state = "nil"
        self.buffer = ""
        self.name = ""
        self.role = ""
        self.line = 1

    def feed(self, char: str) -> None:
        if char in "\r\n":
            self.line += 1
        following, kept = self._next(char)
        if following != self.state:
            if self.state == "name":
                following = self._named()
            elif self.state == "parameter":
                self.name = self.buffer
            elif self.state == "message":
                self._check_role()
                self.role = self.buffer
            elif self.state == "value" and not self._finish(char):
                self.buffer += char
                return
            self.buffer = ""
            self.state = following
        if kept.isprintable():
            self.buffer += kept

    def end(self) -> None:
        if self.state in ("nil", "comment"):
            return
        if self.state != "value" or not self._finish("\n"):
            raise Failure("unexpected EOF")

    def _next(self, char: str) -> tuple[str, str]:
        """The next state, and what of `char` belongs to it."""
        blank, newline = char in " \t", char in "\r\n"
        word = char.isascii() and (char.isalpha() or (self.state == "parameter" and (char.isdigit() or char == "_")))
        if self.state == "nil":
            return ("comment", "") if char == "#" else ("nil", "") if blank or newline else ("name", char)
        if self.state == "comment":
            return ("nil", "") if newline else ("comment", "")
        if self.state == "value":
            return ("nil", char) if blank or newline else ("value", char)
        if word:
            return self.state, char
        if blank:
            return "value", ""
        if self.state == "parameter":
            raise Failure(f"unexpected EOF: {self.buffer}")
        if self.state == "message":
            raise _line_error(self.line, "message role", _ROLES)
        raise _line_error(self.line, "command", _COMMANDS)

    def _named(self) -> str:
        name = self.buffer.lower()
        if name not in _COMMANDS:
            raise _line_error(self.line, "command", _COMMANDS)
        self.name = name
        return name if name in ("parameter", "message") else "value"

    def _check_role(self) -> None:
        if self.buffer not in _ROLES:
            raise _line_error(self.line, "message role", _ROLES)

    def _finish(self, char: str) -> bool:
        value = _unquote(self.buffer.strip())
        if value is None or char in " \t":
            return False
        self.commands.append((self.name, f"{self.role}: {value}" if self.role else value))
        self.role = ""
        return True


def parse(text: str) -> list[tuple[str, str]]:
    """The commands of a Modelfile in order; Failure with Ollama's words when it is wrong."""
    parser = _Parser()
    for char in text.removeprefix("\ufeff"):
        parser.feed(char)
    parser.end()
    if not any(name == "from" for name, _ in parser.commands):
        raise Failure("no FROM line")
    return parser.commands


def typed_parameter(name: str, value: str) -> object:
    """A PARAMETER's value in its type; Failure for an unknown name or a wrong value."""
    if name == "stop":
        return [value]
    kind = int if name in _INTS else float if name in _FLOATS else bool if name == "use_mmap" else None
    if kind is None:
        raise Failure(f"unknown parameter '{name}'")
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[value.lower()]
        return kind(value)
    except (ValueError, KeyError):
        raise Failure(f"invalid {kind.__name__} value [{value}]") from None


def create_request(model: str, text: str, folder: Path) -> CreateRequest:
    """The request for `text`, whose relative paths start at `folder`."""
    request = CreateRequest(model)
    messages = []
    for name, value in parse(text):
        if name == "from":
            path = folder / Path(value).expanduser()
            if path.is_file():
                request.files[path.name] = path
            else:
                request.origin = value
        elif name == "message":
            role, _, content = value.partition(": ")
            messages.append({"role": role, "content": content})
        elif name in _COMMANDS:
            request.fields[name] = value
        else:
            typed = typed_parameter(name, value)
            earlier = request.parameters.get(name)
            request.parameters[name] = (
                earlier + typed if isinstance(earlier, list) and isinstance(typed, list) else typed
            )
    if messages:
        request.fields["messages"] = messages
    return request

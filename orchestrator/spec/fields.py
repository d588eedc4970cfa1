"""The kinds of values a spec is made of. Every check says what was expected."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, Strict
from pydantic import GetJsonSchemaHandler as JsonHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from orchestrator.spec.secrets import secret_name, secret_value
from orchestrator.spec.tokens import human_tokens


class Section(BaseModel):
    """A part of the spec: a frozen value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Matching:
    """Text that matches a pattern as a whole; ``expected`` is what a user is told otherwise."""

    pattern: str
    expected: str

    def check(self, text: str) -> str:
        """The text itself. Raises ValueError."""
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise ValueError(self.expected)
        return text

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: JsonHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, eq=False)  # hashed by identity, since a schema is a dict
class Reading:
    """Reads a value that may be written in several ways; its JSON Schema is given, since a function has none."""

    read: Callable[[Any], Any]
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: JsonHandler) -> dict[str, Any]:
        return dict(self.schema)


def inside(path: tuple[str | int, ...], got: object, expected: str) -> PydanticCustomError:
    """The error of one value inside the mapping or list that is checked; ``path`` leads to it from there."""
    return PydanticCustomError("inside", "{expected}", {"path": path, "got": got, "expected": expected})


def contradiction(path: tuple[str | int, ...], got: object, expected: str) -> PydanticCustomError:
    """The error of a value that is fine alone but not beside another; ``path`` as for ``inside``."""
    return PydanticCustomError("contradiction", "{expected}", {"path": path, "got": got, "expected": expected})


def _line(text: str) -> str:
    if any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} for char in text):
        raise ValueError("text on one line, without control characters")
    return text


def _text(text: str) -> str:
    if any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in text):
        raise ValueError("text without control characters (line breaks and tabs are fine)")
    return text


def _word(text: str) -> str:
    if not text.strip() or text.startswith("-"):
        raise ValueError("text that is not empty and does not begin with a dash")
    return text


def _bind(text: str) -> str:
    if text != "localhost":
        try:
            ip_address(text)
        except ValueError:
            raise ValueError("an IP address such as 127.0.0.1 or 0.0.0.0, or localhost") from None
        if "%" in text:
            raise ValueError("an IP address without a zone")
    return text


def _url(text: str) -> str:
    if re.fullmatch(r"https?://[^\s/@]+(/\S*)?", text) is None:
        raise ValueError("a URL that begins with http:// or https:// and holds no user or password")
    return text.rstrip("/")


def without_user(text: str) -> str:
    """A URL or path, refused when it is a URL with a user or password in it. Raises ValueError."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*@", text):
        raise ValueError("a URL without a user and password in it")
    return text


def read_tokens(value: object) -> int:
    """A number of tokens, at least 1. Raises ValueError."""
    number = human_tokens(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 2**31:
        raise ValueError("a number of tokens, at least 1, such as 24576, 24k (24000) or 24K (24576)")
    return number


def _env(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        if re.fullmatch(r"[A-Z_][A-Z0-9_]*", name, re.ASCII) is None:
            raise inside((name,), value, "names of variables in capitals, digits and underscores")
        if secret_name(name) or secret_value(value):
            raise inside(
                (name,),
                value,
                "no secret here: a spec is shared. Keys reach engines through a root-only file on the host",
            )
    return variables


_OUR_FOLDERS = frozenset(("caddy", "deployments", "gateway", "log", "models", "opt", "supervisor", "supervisord"))
"""Folders and files that all deployments of a host share: one of such a name would own them, and take them away."""


def _free(name: str) -> str:
    if name in _OUR_FOLDERS:
        raise ValueError(f"another name: {name} is a folder that all deployments share")
    return name


TOKENS_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9.]+[kKmMgGtT]?$"}]}

Line = Annotated[str, AfterValidator(_line)]
Text = Annotated[str, AfterValidator(_text)]
Word = Annotated[Line, AfterValidator(_word)]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]
Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
Bind = Annotated[str, AfterValidator(_bind)]
Url = Annotated[Line, AfterValidator(_url)]
Tokens = Annotated[int, Reading(read_tokens, TOKENS_SCHEMA)]
Env = Annotated[dict[str, Line], AfterValidator(_env)]
Name = Annotated[
    str,
    Matching(r"[a-z0-9][a-z0-9-]{1,39}", "2 to 40 small letters, digits and dashes, and no dash at the beginning"),
    AfterValidator(_free),
]
Sha256 = Annotated[str, Matching(r"[0-9a-f]{64}", "64 hexadecimal digits in small letters"), Line]
Version = Annotated[
    str,
    BeforeValidator(lambda value: value.removeprefix("v") if isinstance(value, str) else value),
    Matching(r"[0-9]+(\.[0-9]+)*[0-9A-Za-z.+-]*", "a version such as 0.32.0"),
]
MemorySize = Annotated[str, Matching(r"[1-9][0-9]{0,14}[bkmgBKMG]?", "a size such as 512m or 10g (Docker's units)")]

"""The arguments of ``vllm serve``, checked against the chosen release before anything is installed (DESIGN 5.4).

The tables come from the real parsers (``spec/catalogue_data/vllm-serve-*.json``); the rules here are those of vLLM's
FlexibleArgumentParser: dashes and underscores are equal, unique beginnings of long names do, ``--x.key value`` fills a
JSON option, ``-O3`` is a level of optimization. Pure.
"""

import difflib
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import UsageError
from orchestrator.spec.catalogue import DATA, catalogue

Takes = Literal["none", "one", "many", "maybe"]
Kind = Literal["str", "int", "float", "size", "size-or-auto", "json", "json-or-str"]

REMOVED = {
    "--swap-space": "--kv-offloading-size (GiB)",
    "--disable-log-requests": "nothing: requests are not logged unless --enable-log-requests is given",
    "--task": "--runner and --convert",
    "--log-config-file": "--logging-config",
    "--guided-decoding-backend": "--structured-outputs-config.backend",
    "--speculative-model": "--speculative-config",
    "--num-speculative-tokens": "--speculative-config.num_speculative_tokens",
    "--rope-scaling": "--hf-overrides",
    "--rope-theta": "--hf-overrides",
    "--device": "deployctl's --device",
    "--use-v2-block-manager": "nothing: there is no other",
    "--num-scheduler-steps": "nothing: scheduling is asynchronous by itself",
    "--worker-use-ray": "--distributed-executor-backend ray",
    "--max-seq-len-to-capture": "--max-cudagraph-capture-size",
    "--enable-reasoning": "--reasoning-parser",
}
"""Options of older releases, and what stands in for them. A release that still has one accepts it."""

OWNED = {
    "--host": "--bind",
    "--port": "--port",
    "--uds": "--bind and --port",
    "--model": "--model",
    "--served-model-name": "--served-name",
    "--api-key": "deployctl keys: a key in arguments shows in the process list",
    "--hf-token": "the environment variable HF_TOKEN: a token in arguments shows in the process list",
    "--config": "--extra-arg for each of its options: deployctl writes a configuration file of its own",
    "--gpu-memory-utilization": "--gpu-mem",
    "--max-model-len": "--max-model-len",
    "--max-num-seqs": "--max-num-seqs",
    "--max-num-batched-tokens": "--max-num-batched-tokens",
    "--dtype": "--dtype",
    "--kv-cache-dtype": "--kv-cache-dtype",
    "--tensor-parallel-size": "--tensor-parallel",
    "--device-ids": "--gpus",
    "--generation-config": "`sampling:` in the spec",
    "--headless": "a deployment per host: each serves by itself",
    "--grpc": "its HTTP endpoint",
    "--help": "deployctl up vllm --help",
}
"""Options that deployctl sets itself, and what the user turns instead."""


class Option(BaseModel):
    """One option of a release: its names (the first is the full one), how many values it takes, and of what kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...]
    takes: Takes
    kind: Kind = "str"
    none: bool = False
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The full name."""
        return next(name for name in self.names if name.startswith("--"))


class Argument(BaseModel):
    """One argument as given: the option under its full name, the key below it (``--x.key``), and its values."""

    model_config = ConfigDict(frozen=True)

    name: str
    key: str = ""
    values: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """As vLLM reads it, whatever form it was given in."""
        name = f"{self.name}.{self.key}" if self.key else self.name
        if len(self.values) == 1:
            return (f"{name}={self.values[0]}",)
        return (name, *self.values)


def validate(args: Sequence[str], version: str) -> None:
    """Check the user's extra arguments. Raises UsageError: the argument, the version, and what to write instead."""
    normalise(args, version)


def normalise(args: Sequence[str], version: str) -> tuple[str, ...]:
    """The user's extra arguments under their full names. Raises UsageError as ``validate`` does."""
    found = parse(args, version)
    for argument in found:
        owned = next((name for name in _spellings(argument.name, version) if name in OWNED), None)
        if owned:
            raise UsageError(f"{argument.name} is set by deployctl itself", remedy=f"use {OWNED[owned]}")
    return tuple(word for argument in found for word in argument.words)


def parse(args: Sequence[str], version: str) -> tuple[Argument, ...]:
    """Read arguments as vLLM of that version would (those after the model). Raises UsageError."""
    table = options(version)
    found: list[Argument] = []
    rest = _expand_levels(list(args))
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            raise _stray(word, found[-1].name if found else "", version)
        head, equals, inline = word.partition("=")
        name, dot, key = head.partition(".")
        full = _full_name(name, table, version)
        option = table[full]
        values = [inline] if equals else _take(option, rest, dotted=bool(dot))
        _check_count(option, full, values, equals=bool(equals), dotted=bool(dot), version=version)
        key = _check_key(option, full, key, version) if dot else ""
        if not dot:
            for value in values:
                _check_value(option, full, value, version)
        shown = full if option.takes == "none" and full.startswith("--") else option.name
        found.append(Argument(name=shown, key=key, values=tuple(values)))
    return tuple(found)


@cache
def options(version: str) -> dict[str, Option]:
    """All options of a release by each of their names. A release without a table is read by its nearest neighbour's."""
    known = [release.version for release in catalogue().vllm]
    nearest = min(known, key=lambda one: (abs(_minor(one) - _minor(version)), one != version))
    table = json.loads((DATA / f"vllm-serve-{nearest}.json").read_text(encoding="utf-8"))
    return {name: option for row in table["options"] if (option := Option(**row)) for name in option.names}


def _minor(version: str) -> int:
    numbers = re.findall(r"\d+", version, re.ASCII)[:2]
    return int(numbers[0]) * 1000 + int(numbers[1]) if len(numbers) == 2 else 10**6


def _expand_levels(words: list[str]) -> list[str]:
    """``-O3``, ``-O=3`` and ``-O 3`` are the option --optimization-level."""
    expanded = []
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word.startswith("-O") and word != "-O":
            expanded.append("--optimization-level=" + word[2:].removeprefix("="))
        elif word == "-O" and following in ("0", "1", "2", "3"):
            expanded.append("--optimization-level")
        else:
            expanded.append(word)
    return expanded


def _is_option(word: str) -> bool:
    """Whether argparse takes a word for an option, not for a value. A negative number is a value."""
    return (
        len(word) > 1 and word[0] == "-" and not re.fullmatch(r"-\d+|-\d*\.\d+", word) and " " not in word.split("=")[0]
    )


def _dashed(name: str) -> str:
    return name.replace("_", "-") if name.startswith("--") else name


def _full_name(name: str, table: dict[str, Option], version: str) -> str:
    """The name in the table: this one, or the only one that begins with it."""
    dashed = _dashed(name)
    if dashed in table:
        return dashed
    if dashed in REMOVED:
        raise UsageError(f"vLLM {version} has no argument {dashed} any more", remedy=f"use {REMOVED[dashed]}")
    longer = sorted(one for one in table if one.startswith(dashed)) if len(dashed) > 2 and dashed[:2] == "--" else []
    if len(longer) == 1:
        return longer[0]
    if longer:
        raise UsageError(f"{name} is ambiguous in vLLM {version}", why=f"it begins {', '.join(longer[:6])}")
    close = difflib.get_close_matches(dashed, list(table), n=1, cutoff=0.75)
    remedy = f"did you mean {close[0]}?" if close else f"see `vllm serve --help=all` of {version}"
    raise UsageError(f"vLLM {version} has no argument {name}", remedy=remedy)


def _take(option: Option, rest: list[str], *, dotted: bool) -> list[str]:
    """The values that follow an option, taken off the rest."""
    limit = {"none": 0, "one": 1, "maybe": 1, "many": len(rest)}[option.takes]
    taken: list[str] = []
    while rest and len(taken) < (1 if dotted else limit) and (dotted or not _is_option(rest[0])):
        taken.append(rest.pop(0))
    return taken


def _check_count(option: Option, name: str, values: list[str], *, equals: bool, dotted: bool, version: str) -> None:
    if option.takes == "none" and equals:
        other = next((one for one in option.names if one.startswith("--no-")), "")
        remedy = f"write {name}, or {other} to turn it off" if other else f"write {name} alone"
        raise UsageError(f"{name} of vLLM {version} takes no value", remedy=remedy)
    if not values and (option.takes in ("one", "many") or dotted):
        raise UsageError(f"{name} of vLLM {version} needs a value", remedy=f"write {name}=VALUE")


def _check_key(option: Option, name: str, key: str, version: str) -> str:
    if not option.kind.startswith("json"):
        raise UsageError(f"{name} of vLLM {version} has no keys", remedy=f"write {name}=VALUE, without .{key}")
    if not all(part.strip() for part in key.removesuffix("+").split(".")):
        raise UsageError(f"{name}.{key} of vLLM {version} names no key", remedy=f"write {name}.KEY=VALUE")
    return key


def _check_value(option: Option, name: str, value: str, version: str) -> None:
    if option.none and value in ("", "None"):
        return
    if option.choices and value not in option.choices:
        close = difflib.get_close_matches(value, option.choices, n=1, cutoff=0.5)
        remedy = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(option.choices)}"
        raise UsageError(f"{name} of vLLM {version} does not know {value!r}", remedy=remedy)
    if not _FORMS[option.kind](value):
        raise UsageError(f"{name} of vLLM {version} wants {_WANTED[option.kind]}, not {value!r}")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_size(value: str) -> bool:
    """Decimal units may have a fraction, binary ones (capital letters) may not: ``25.6k``, ``24K``."""
    return _is_int(value) or re.fullmatch(r"\d+(\.\d+)?[kmgt]|\d+[KMGT]", value.strip(), re.ASCII) is not None


def _is_int(value: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", value.strip(), re.ASCII) is not None


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


_FORMS: dict[Kind, Callable[[str], bool]] = {
    "str": lambda value: True,
    "int": _is_int,
    "float": _is_number,
    "size": _is_size,
    "size-or-auto": lambda value: _is_size(value) or value.strip().lower() in ("auto", "-1"),
    "json": _is_json,
    "json-or-str": lambda value: _is_json(value) or not value.strip().startswith("{"),
}

_WANTED: dict[Kind, str] = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "size": "a whole number such as 24576 or 24k",
    "size-or-auto": "a whole number such as 24576 or 24k, or auto",
    "json": "JSON",
    "json-or-str": "JSON or a text",
}


def _spellings(name: str, version: str) -> tuple[str, ...]:
    option = options(version).get(name)
    return option.names if option else (name,)


def _stray(word: str, after: str, version: str) -> UsageError:
    """A value that belongs to no option."""
    if word.startswith("-") and " " in word:
        option, _, value = word.partition(" ")
        return UsageError(f"{word!r} is one word to vLLM {version}, not two", remedy=f"write {option}={value}")
    place = f" after {after}" if after else ""
    return UsageError(f"{word!r}{place} belongs to no argument of vLLM {version}", remedy="the model is set by --model")

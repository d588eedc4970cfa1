"""The table from the text of a failure to its cause and remedy: data, read from ``diagnoses/*.toml``.

One file per subject. An entry has an id, a regular expression for the original text, the cause, and the remedy; both
may name the pattern's groups ("--max-model-len {estimated}"). ``since`` and ``before`` bound the engine's versions that
say it so, or that the remedy is right for.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.health.endpoint import Runtime

Rank = Literal["cause", "symptom", "degraded"]
"""A symptom is a consequence, and counts only where no cause is found. What is degraded serves nevertheless."""

RANKS: tuple[Rank, ...] = ("cause", "symptom", "degraded")
SUBJECTS = ("ollama", "vllm", "hub", "gpu", "docker", "systemd", "ssh", "machine")
"""The files of the table, from the most specific to what all engines have beneath them."""


class Entry(BaseModel):
    """One row of the table. Versions are those of the engine: from ``since`` on, up to but without ``before``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    subject: str
    engines: frozenset[Runtime]
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    rank: Rank = "cause"
    since: str = ""
    before: str = ""

    def fits(self, runtime: Runtime | None, version: str) -> bool:
        """Whether it is about this engine in this version; what is not known excludes nothing."""
        if runtime is not None and runtime not in self.engines:
            return False
        found = _numbers(version)
        if not found:
            return True
        return not (self.since and found < _numbers(self.since)) and not (
            self.before and found >= _numbers(self.before)
        )

    @property
    def versions(self) -> str:
        """The versions in words; empty for all."""
        return " ".join([f"≥ {self.since}"] * bool(self.since) + [f"< {self.before}"] * bool(self.before))


@cache
def table() -> tuple[Entry, ...]:
    """All entries, in order."""
    folder = resources.files("orchestrator.health") / "diagnoses"
    return tuple(entry for subject in SUBJECTS for entry in _read(subject, folder / f"{subject}.toml"))


def _read(subject: str, item: Traversable) -> Iterator[Entry]:
    document: dict[str, Any] = tomllib.loads(item.read_text("utf-8"))
    for row in document["entry"]:
        pattern = re.compile(row["pattern"], re.MULTILINE)
        given = {"subject": subject, "engines": document["engines"]}
        yield Entry.model_validate(given | row | {"pattern": pattern})


_VERSIONS: dict[Runtime, re.Pattern[str]] = {
    "vllm": re.compile(r"version (\d+(?:\.\d+)+)\S*$|LLM engine \(v(\d+(?:\.\d+)+)", re.MULTILINE),
    "ollama": re.compile(r"Listening on \S+ \(version (\d+(?:\.\d+)+)"),
}
_TRAITS: dict[Runtime, re.Pattern[str]] = {
    "vllm": re.compile(r"\bvllm\b|\(EngineCore|\(APIServer|max_model_len", re.IGNORECASE),
    "ollama": re.compile(r"\bollama\b|llama-server|\[GIN\]", re.IGNORECASE),
}


def version_in(text: str, runtime: Runtime | None) -> str:
    """The engine's version as its log tells it; empty where it does not."""
    for name, pattern in _VERSIONS.items():
        found = pattern.search(text) if runtime in (None, name) else None
        if found:
            return next(value for value in found.groups() if value)
    return ""


def engine_in(text: str) -> Runtime | None:
    """Whose log it is, by the words in it; None where it may be either's."""
    said = {name: len(pattern.findall(text)) for name, pattern in _TRAITS.items()}
    if said["vllm"] == said["ollama"]:
        return None
    return "vllm" if said["vllm"] > said["ollama"] else "ollama"


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()

"""What a client of ``/v1`` gets from an engine that it tells nothing: sampling, ends of an answer, system prompt.

Pure: what the engines and their files say goes in. The defaults are the engines' own: Ollama's ``api/types.go`` and
``openai/openai.go``, vLLM's ``SamplingParams``.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)

_OLLAMA = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 40.0,
    "min_p": 0.0,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
_OVER_V1 = ("temperature", "top_p")
"""What Ollama sets to 1 for a request to ``/v1`` that does not say it, whatever the Modelfile says."""
_VLLM = {**_OLLAMA, "top_k": 0.0, "repetition_penalty": 1.0}
_FLAG = "--override-generation-config"


@dataclass(frozen=True)
class Settings:
    """What one engine does with a request that sets nothing.

    ``said`` is what was written down for the engine, which is not always what counts. ``stop`` are texts and ``eos``
    token numbers that end an answer. ``template`` is the engine's own text, ``rendered`` what the model gets to read of
    a question, where the engine tells it.
    """

    sampling: Mapping[str, float]
    said: Mapping[str, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    eos: tuple[int, ...] = ()
    system: str = ""
    template: str = ""
    rendered: str = ""
    penalty_window: str = ""


def of_ollama(shown: Mapping[str, Any], rendered: str = "") -> Settings:
    """From the answer of ``/api/show``."""
    parameters: dict[str, str] = {}
    stop: list[str] = []
    for name, value in _parameters(str(shown.get("parameters") or "")):
        if name == "stop":
            stop.append(value)
        parameters["repetition_penalty" if name == "repeat_penalty" else name] = value
    said = {name: number for name in SAMPLING if (number := _number(parameters.get(name))) is not None}
    heard = {name: value for name, value in said.items() if name not in _OVER_V1}
    info = shown.get("model_info")
    eos = info.get("tokenizer.ggml.eos_token_id") if isinstance(info, dict) else None
    last = _number(parameters.get("repeat_last_n"))
    return Settings(
        sampling={**_OLLAMA, **heard},
        said=said,
        stop=tuple(stop),
        eos=(eos,) if isinstance(eos, int) else (),
        system=str(shown.get("system") or ""),
        template=str(shown.get("template") or ""),
        rendered=rendered,
        penalty_window=f"the last {64 if last is None else int(last)} tokens",
    )


def of_vllm(config: Mapping[str, Any], overrides: Mapping[str, Any], template: str, rendered: str = "") -> Settings:
    """From its generation_config.json, what its arguments override, and its chat template."""
    both = {**config, **overrides}
    said = {name: number for name in SAMPLING if (number := _number(both.get(name))) is not None}
    eos = both.get("eos_token_id")
    listed = eos if isinstance(eos, list) else [eos]
    return Settings(
        sampling={**_VLLM, **said},
        said=said,
        eos=tuple(token for token in listed if isinstance(token, int)),
        template=template,
        rendered=rendered,
        penalty_window="prompt and answer",
    )


def overridden(resource: object) -> dict[str, Any]:
    """What ``--override-generation-config`` says, wherever in a service's description its words are."""
    for words in _word_lists(resource):
        if _FLAG in words[:-1]:
            try:
                found = json.loads(words[words.index(_FLAG) + 1])
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _word_lists(value: object) -> Iterator[list[str]]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _word_lists(inner)
    elif isinstance(value, list | tuple):
        yield [item for item in value if isinstance(item, str)]
        for inner in value:
            yield from _word_lists(inner)
    elif isinstance(value, str) and _FLAG in value:
        for line in value.splitlines():
            if _FLAG in line:
                yield _split(line)


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # no line of words
        return []


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    """The lines of ``ollama show --parameters``: a name, then a value, which may be a JSON string."""
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value.strip('"')
        if name:
            yield name, value


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None

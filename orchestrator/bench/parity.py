"""Where two engines differ, why that matters, and what to do. Pure."""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.bench.settings import SAMPLING, Settings

Kind = Literal["sampling", "end", "system", "template", "prompt"]


GREETING = "Hello!"
"""What is asked to see what the model gets to read of a question."""


class Differs(BaseModel):
    """One thing that is not the same on both sides; ``first`` and ``second`` are the two in words."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    name: str
    first: str
    second: str
    why: str
    remedy: str


class Answered(BaseModel):
    """One question, and what both said. ``common`` is how many characters they agree on from the start.

    Prompt tokens are None where an engine does not tell them.
    """

    model_config = ConfigDict(frozen=True)

    question: str
    first: str
    second: str
    same: bool
    common: int
    first_prompt_tokens: int | None = None
    second_prompt_tokens: int | None = None


def answered(question: str, first: "Said", second: "Said") -> Answered:
    """Put two answers side by side."""
    one, other = first.text, second.text
    common = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return Answered(
        question=question,
        first=one,
        second=other,
        same=one == other,
        common=common,
        first_prompt_tokens=first.prompt_tokens,
        second_prompt_tokens=second.prompt_tokens,
    )


class Said(BaseModel):
    """One answer."""

    model_config = ConfigDict(frozen=True)

    text: str
    prompt_tokens: int | None = None


_SAMPLING_REMEDY = {
    "temperature": "send `temperature` with every request",
    "top_p": "send `top_p` with every request",
}


def differences(first: Settings, second: Settings, asked: tuple[Answered, ...]) -> list[Differs]:
    """All that differs, what weighs most first."""
    return [
        *_system(first, second),
        *_prompt(first, second, asked),
        *_end(first, second),
        *_sampling(first, second),
    ]


def _system(first: Settings, second: Settings) -> Iterator[Differs]:
    if first.system.strip() != second.system.strip():
        yield Differs(
            kind="system",
            name="system prompt",
            first=first.system or _none(first),
            second=second.system or _none(second),
            why="one model is told who it is before every question, the other is not: nothing changes answers more",
            remedy="send a system message with every request (it takes the place of Ollama's own), or deploy without: "
            "--set system=null",
        )


def _none(side: Settings) -> str:
    """No system prompt of its own; but a chat template may bring one."""
    before = side.rendered.partition(GREETING)[0]
    return f"none; its chat template begins with {before!r}" if before else "none"


def _prompt(first: Settings, second: Settings, asked: tuple[Answered, ...]) -> Iterator[Differs]:
    """Templates are in two languages; what comes out of them can be compared, by text or at least by length."""
    if first.rendered and second.rendered:
        if first.rendered != second.rendered:
            yield Differs(
                kind="template",
                name="what the model reads",
                first=first.rendered,
                second=second.rendered,
                why="the chat templates put other text around the same question",
                remedy="deploy Ollama with a template of its own that writes what vLLM's writes: --templates DIR",
            )
        return
    counts = [(item.first_prompt_tokens, item.second_prompt_tokens) for item in asked]
    off = [(one, other) for one, other in counts if one is not None and other is not None and one != other]
    if off:
        yield Differs(
            kind="prompt",
            name="length of the same prompt",
            first=f"{off[0][0]} tokens",
            second=f"{off[0][1]} tokens",
            why="chat templates or system prompts put other text around the same question, or tokenizers differ",
            remedy="compare `template` of both in --json; --templates DIR gives Ollama one of your own",
        )


def _end(first: Settings, second: Settings) -> Iterator[Differs]:
    if set(first.stop) != set(second.stop):
        yield Differs(
            kind="end",
            name="stop words",
            first=_listed(first.stop),
            second=_listed(second.stop),
            why="an answer ends at a word of one engine, and goes on in the other; vLLM has none of its own",
            remedy="send `stop` with every request",
        )
    if first.eos and second.eos and not set(first.eos) & set(second.eos):
        yield Differs(
            kind="end",
            name="end-of-text tokens",
            first=_listed(first.eos),
            second=_listed(second.eos),
            why="no token ends an answer in both: one of them runs on, or stops early",
            remedy="set the model's own: --set tokens.eos=…, see its generation_config.json",
        )


def _sampling(first: Settings, second: Settings) -> Iterator[Differs]:
    for name in SAMPLING:
        one, other = first.sampling[name], second.sampling[name]
        if one != other:
            yield Differs(
                kind="sampling",
                name=name,
                first=_effective(name, first),
                second=_effective(name, second),
                why=_why(name, first, second),
                remedy=_SAMPLING_REMEDY.get(name, f"set it for both: --set sampling.{name}=…"),
            )
    penalized = first.sampling["repetition_penalty"] == second.sampling["repetition_penalty"] != 1.0
    if penalized and first.penalty_window != second.penalty_window:
        yield Differs(
            kind="sampling",
            name="repetition_penalty looks at",
            first=first.penalty_window,
            second=second.penalty_window,
            why="the same number punishes other tokens, even where the likeliest token is always taken",
            remedy="--set sampling.repetition_penalty=1.0 for both",
        )


def _why(name: str, first: Settings, second: Settings) -> str:
    unheard = [side for side in (first, second) if name in side.said and side.said[name] != side.sampling[name]]
    if unheard:
        return (
            f"Ollama takes {name} 1 for every request to /v1 that does not say it, and never hears what its Modelfile "
            f"says ({unheard[0].said[name]:g})"
        )
    return "one was told, or has another default of its own"


def _effective(name: str, side: Settings) -> str:
    value = f"{side.sampling[name]:g}"
    if name not in side.said:
        return f"{value} (its default)"
    said = side.said[name]
    return value if said == side.sampling[name] else f"{value} (told {said:g})"


def _listed(values: tuple[object, ...]) -> str:
    return ", ".join(str(value) for value in values) or "none"

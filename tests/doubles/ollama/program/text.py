"""The "model": it counts on, knows one capital, and speaks ChatML garbage when no template tells it how to chat."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(r" ?[A-Za-z]+|[ ]?\d+|<\|\w+\|>|\s+|[^\w\s]|\w")
_COUNTING = re.compile(r"(\d+)\s*,\s*(\d+)\s*,?\s*\.{0,3}\s*$")
_STORY = (
    " The answer depends on what you want to do, and there is more than one way to do it well."
    " Start with the smallest thing that works, look at the result, and improve it from there."
)
_GARBAGE = "<|im_end|>\n" * 64


def tokens(text: str) -> list[str]:
    """The tokens of `text`; joined they are `text` again."""
    return _TOKEN.findall(text)


def count(prompt: str) -> int:
    """Tokens of a prompt, with the one that starts every prompt."""
    return len(tokens(prompt)) + 1


def chat_prompt(messages: list[dict[str, object]], *, templated: bool) -> str:
    """One prompt from messages: their text, or ChatML around it when nothing says how to format them."""
    if templated:
        return "\n".join(map(_content, messages))
    wrapped = (f"<|im_start|>{m.get('role', 'user')}\n{_content(m)}<|im_end|>\n" for m in messages)
    return "".join(wrapped) + "<|im_start|>assistant\n"


def answer(prompt: str, *, sane: bool) -> str:
    """The text that follows `prompt`, always the same one."""
    if not sane:
        return _GARBAGE
    counting = _COUNTING.search(prompt)
    if counting and int(counting[2]) == int(counting[1]) + 1:
        following = int(counting[2])
        return " " + ", ".join(str(number) for number in range(following + 1, following + 41)) + "."
    if re.search(r"capital of (the country of )?France", prompt, re.IGNORECASE):
        return " The capital of France is Paris, on the river Seine."
    return _STORY


def stopped(pieces: list[str], stops: list[str], limit: int) -> tuple[list[str], str]:
    """The pieces that are sent and why they end: at `limit` tokens (negative: none), or at a stop text."""
    whole = "".join(pieces)
    ends = [whole.find(stop) for stop in stops if stop and stop in whole]
    if ends:
        pieces = list(_cut(pieces, min(ends)))
    if 0 <= limit < len(pieces):
        return pieces[:limit], "length"
    return pieces, "stop"


def _content(message: dict[str, object]) -> str:
    content = message.get("content") or ""
    if isinstance(content, list):  # OpenAI's parts
        return "".join(str(part.get("text", "")) for part in content)
    return str(content)


def _cut(pieces: list[str], end: int) -> Iterator[str]:
    for piece in pieces:
        if end <= 0:
            return
        yield piece[:end]
        end -= len(piece)

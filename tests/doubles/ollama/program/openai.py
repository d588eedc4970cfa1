"""The OpenAI-shaped routes, ``/v1/…``. They read ``max_tokens`` and never ``max_completion_tokens``."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import names, text
from .engine import Completion, Engine
from .http import Request, Response, answer_json
from .store import Model
from .wire import Answer, go_json

_OPTIONS = {"max_tokens": "num_predict", "temperature": "temperature", "top_p": "top_p", "stop": "stop", "seed": "seed"}


class OpenAI:
    """The routes; each method takes a request and returns a response, or raises Answer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def models(self, request: Request) -> Response:
        """Every stored model; ``null`` when there is none."""
        found = [_card(model, model.name.shortest) for model in self.engine.store.models()]
        return answer_json({"object": "list", "data": found or None})

    def model(self, request: Request) -> Response:
        """One model, under the name that was asked for."""
        asked = request.path.removeprefix("/v1/models/")
        name = names.parse(asked)
        return answer_json(_card(self.engine.find(asked, shown=name.shortest if name else asked), asked))

    def chat(self, request: Request) -> Response:
        """Chat completions."""
        body = request.json()
        messages = body.get("messages") or []
        if not messages:
            raise Answer(400, "[] is too short - 'messages'")

        def prompt(sane: bool) -> str:
            return text.chat_prompt(messages, templated=sane)

        return self._respond(body, prompt, chat=True)

    def completions(self, request: Request) -> Response:
        """Text completions."""
        body = request.json()
        return self._respond(body, lambda _: str(body.get("prompt") or ""), chat=False)

    def embeddings(self, request: Request) -> Response:
        """A completion model has no embeddings."""
        self.engine.find(str(request.json().get("model") or ""))
        raise Answer(501, "This server does not support embeddings. Start it with `--embeddings`")

    def _respond(self, body: dict[str, Any], prompt: Callable[[bool], str], *, chat: bool) -> Response:
        if body.get("stream"):
            return Response(200, self._events(body, prompt, chat=chat), "text/event-stream")
        name = str(body.get("model") or "")
        keep_alive = self.engine.settings.keep_alive
        with self.engine.complete(name, _options(body), keep_alive, prompt, chat=chat, strict=chat) as completion:
            whole = "".join(completion.stream())
            said: dict[str, object] = {"message": {"role": "assistant", "content": whole}} if chat else {"text": whole}
            choice = {"index": 0, **said, "finish_reason": completion.reason}
            head = _head(name, chat=chat, chunk=False)
            return answer_json({**head, "choices": [choice], "usage": _usage(completion)})

    def _events(self, body: dict[str, Any], prompt: Callable[[bool], str], *, chat: bool) -> Iterator[bytes]:
        name = str(body.get("model") or "")
        keep_alive = self.engine.settings.keep_alive
        head = _head(name, chat=chat, chunk=True)
        with self.engine.complete(name, _options(body), keep_alive, prompt, chat=chat, strict=chat) as completion:
            for piece in completion.stream():
                yield _event({**head, "choices": [_delta(piece, None, chat=chat)]})
            yield _event({**head, "choices": [_delta("", completion.reason, chat=chat)]})
            if (body.get("stream_options") or {}).get("include_usage"):
                yield _event({**head, "choices": [], "usage": _usage(completion)})
            yield b"data: [DONE]\n\n"


def _card(model: Model, shown: str) -> dict[str, object]:
    created = int(model.modified.timestamp())
    return {"id": shown, "object": "model", "created": created, "owned_by": model.name.namespace}


def _options(body: dict[str, Any]) -> dict[str, object]:
    return {ours: body[theirs] for theirs, ours in _OPTIONS.items() if body.get(theirs) is not None}


def _head(name: str, *, chat: bool, chunk: bool) -> dict[str, object]:
    kind = ("chat.completion" + (".chunk" if chunk else "")) if chat else "text_completion"
    prefix = "chatcmpl" if chat else "cmpl"
    return {
        "id": f"{prefix}-{random.randrange(1000)}",
        "object": kind,
        "created": int(time.time()),
        "model": name,
        "system_fingerprint": "fp_ollama",
    }


def _delta(piece: str, reason: str | None, *, chat: bool) -> dict[str, object]:
    said: dict[str, object] = {"delta": {"role": "assistant", "content": piece}} if chat else {"text": piece}
    return {"index": 0, **said, "finish_reason": reason}


def _usage(completion: Completion) -> dict[str, int]:
    prompt, answered = completion.prompt_tokens, len(completion.pieces)
    return {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered}


def _event(value: object) -> bytes:
    return b"data: " + go_json(value).encode() + b"\n\n"

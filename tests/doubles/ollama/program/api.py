"""Ollama's own routes, ``/api/…``."""

import re
import time
from collections.abc import Iterator
from typing import Any

from . import names, text
from .create import check_request, create, pull_error
from .engine import Completion, Engine
from .http import NDJSON, TEXT, Request, Response, answer_json
from .store import DigestMismatch, Model
from .version import VERSION
from .views import details, modelfile, parameter_lines
from .wire import Answer, go_json, timestamp

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


def line(value: object) -> bytes:
    """One line of ndjson."""
    return go_json(value).encode() + b"\n"


class Native:
    """The routes; each method takes a request and returns a response, or raises Answer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def root(self, request: Request) -> Response:
        """The one sign of life."""
        return Response(200, b"Ollama is running", TEXT)

    def version(self, request: Request) -> Response:
        """The server's version."""
        return answer_json({"version": VERSION})

    def status(self, request: Request) -> Response:
        """Whether the cloud is off."""
        off = self.engine.settings.no_cloud
        return answer_json({"cloud": {"disabled": off, "source": "env" if off else "none"}})

    def tags(self, request: Request) -> Response:
        """Every stored model, also those whose blobs are damaged."""
        return answer_json({"models": [self._tag(model) for model in self.engine.store.models()]})

    def ps(self, request: Request) -> Response:
        """What is in memory."""
        shown = []
        for loaded in self.engine.scheduler.loaded():
            name = loaded.model.name.shortest
            shown.append(
                {
                    "name": name,
                    "model": name,
                    "size": loaded.size,
                    "digest": loaded.model.digest,
                    "details": details(self.engine.store, loaded.model),
                    "expires_at": timestamp(loaded.expires),
                    "size_vram": 0,
                    "context_length": loaded.context,
                }
            )
        return answer_json({"models": shown})

    def show(self, request: Request) -> Response:
        """All about one model."""
        body = request.json()
        asked = str(body.get("model") or body.get("name") or "")
        if not asked:
            raise Answer(400, "model is required")
        model = self._existing(asked)
        header = self.engine.header(model, asked)
        store = self.engine.store
        info = {**header.metadata, "general.parameter_count": header.parameters}
        shown = {
            "modelfile": modelfile(store, model),
            "parameters": parameter_lines(store.parameters(model.layer("params"))),
            "template": store.text(model.layer("template")),
            "system": store.text(model.layer("system")),
            "license": store.text(model.layer("license")),
        }
        always = {
            "details": details(store, model),
            "model_info": dict(sorted(info.items())),
            "tensors": [{"name": t.name, "type": t.kind, "shape": list(t.shape)} for t in header.tensors],
            "capabilities": ["completion"],
            "modified_at": timestamp(model.modified),
        }
        return answer_json({key: value for key, value in shown.items() if value} | always)

    def generate(self, request: Request) -> Response:
        """Text after a prompt; without a prompt only a load or an unload."""
        body = request.json()
        prompt = str(body.get("prompt") or "")
        if names.parse(str(body.get("model") or "")) is None and body.get("model"):
            raise Answer(400, "invalid model name")
        idle = self._idle(body, {"response": ""}) if not prompt else None
        return idle or self._answer(body, "response", [{"role": "user", "content": prompt}], chat=False)

    def chat(self, request: Request) -> Response:
        """Text after messages."""
        body = request.json()
        messages = body.get("messages") or []
        idle = None if messages else self._idle(body, {"message": {"role": "assistant", "content": ""}})
        return idle or self._answer(body, "message", messages, chat=True)

    def create(self, request: Request) -> Response:
        """A new model; with a stream (the default) failures are lines of a 200."""
        body = request.json()
        check_request(body)
        for digest in (body.get("files") or {}).values():
            _check_digest(str(digest))
        if body.get("stream") is False:
            for _ in create(self.engine, body):
                pass
            return answer_json({"status": "success"})
        return Response(200, _create_lines(self.engine, body), NDJSON)

    def pull(self, request: Request) -> Response:
        """There is no registry here: every pull fails, in a line of a 200."""
        body = request.json()
        name = names.parse(str(body.get("model") or body.get("name") or ""))
        if name is None:
            raise Answer(400, "invalid model name")
        if body.get("stream") is False:
            raise Answer(500, pull_error(name))
        return Response(200, [line({"status": "pulling manifest"}), line({"error": pull_error(name)})], NDJSON)

    def blob(self, request: Request) -> Response:
        """HEAD: is it there. POST: put it there, unless a file of that name exists, whatever is in it."""
        digest = _check_digest(request.path.removeprefix("/api/blobs/"))
        exists = self.engine.store.blob(digest).exists()
        if request.method == "HEAD":
            return Response(200 if exists else 404, b"", "")
        if exists:
            return Response(200, b"", "")
        try:
            self.engine.store.save_blob(request.chunks, digest)
        except DigestMismatch as error:
            raise Answer(400, str(error)) from None
        return Response(201, b"", "")

    def delete(self, request: Request) -> Response:
        """Remove a model."""
        body = request.json()
        model = self.engine.find(str(body.get("model") or body.get("name") or ""))
        self.engine.store.delete(model)
        return Response(200, b"", "")

    def copy(self, request: Request) -> Response:
        """A second name."""
        body = request.json()
        destination = names.parse(str(body.get("destination") or ""))
        if destination is None:
            raise Answer(400, f'destination "{body.get("destination", "")}" is invalid')
        source = str(body.get("source") or "")
        self.engine.store.copy(self.engine.find(source, shown=source), destination)
        return Response(200, b"", "")

    def embed(self, request: Request) -> Response:
        """A completion model has no embeddings."""
        self.engine.find(str(request.json().get("model") or ""))
        raise Answer(501, "This server does not support embeddings. Start it with `--embeddings`")

    def _existing(self, asked: str) -> Model:
        name = names.parse(asked)
        return self.engine.find(asked, shown=name.shortest if name else asked)

    def _tag(self, model: Model) -> dict[str, object]:
        name = model.name.shortest
        shown = details(self.engine.store, model)
        try:
            header = self.engine.header(model, name)
        except Answer:
            pass
        else:
            for key in ("context_length", "embedding_length"):
                shown[key] = header.number(key)
        return {
            "name": name,
            "model": name,
            "modified_at": timestamp(model.modified),
            "size": model.size,
            "digest": model.digest,
            "details": shown,
            "capabilities": ["completion"],
        }

    def _idle(self, body: dict[str, Any], empty: dict[str, object]) -> Response:
        name = str(body.get("model") or "")
        model = self.engine.find(name)
        keep_alive = self.engine.keep_alive(body.get("keep_alive"))
        if keep_alive == 0:
            self.engine.scheduler.unload(model)
        else:
            self.engine.load(name, body.get("options") or {}, keep_alive)
        reason = "unload" if keep_alive == 0 else "load"
        return answer_json({"model": name, "created_at": timestamp(), **empty, "done": True, "done_reason": reason})

    def _answer(self, body: dict[str, Any], field: str, messages: list[dict[str, object]], *, chat: bool) -> Response:
        lines = self._lines(body, field, messages, chat=chat)
        if body.get("stream") is not False:
            return Response(200, (line(item) for item in lines), NDJSON)
        received = list(lines)
        whole = "".join(item["response"] if field == "response" else item["message"]["content"] for item in received)
        return answer_json({**received[-1], field: _shape(field, whole)})

    def _lines(
        self, body: dict[str, Any], field: str, messages: list[dict[str, object]], *, chat: bool
    ) -> Iterator[dict[str, Any]]:
        started = time.monotonic()
        name = str(body.get("model") or "")
        keep_alive = self.engine.keep_alive(body.get("keep_alive"))

        def prompt(sane: bool) -> str:
            return text.chat_prompt(messages, templated=sane)

        with self.engine.complete(name, body.get("options") or {}, keep_alive, prompt, chat=chat) as completion:
            for piece in completion.stream():
                yield {"model": name, "created_at": timestamp(), field: _shape(field, piece), "done": False}
            done = {"model": name, "created_at": timestamp(), field: _shape(field, ""), "done": True}
            yield {**done, "done_reason": completion.reason, **_counters(completion, started, context=not chat)}


def _shape(field: str, content: str) -> object:
    return content if field == "response" else {"role": "assistant", "content": content}


def _counters(completion: Completion, started: float, *, context: bool) -> dict[str, object]:
    nanoseconds = int((time.monotonic() - started) * 1e9)
    tokens = {"context": list(range(completion.prompt_tokens + len(completion.pieces)))} if context else {}
    return {
        **tokens,
        "total_duration": nanoseconds,
        "load_duration": int(completion.load_seconds * 1e9) or 1,
        "prompt_eval_count": completion.prompt_tokens,
        "prompt_eval_duration": nanoseconds // 10 or 1,
        "eval_count": len(completion.pieces),
        "eval_duration": nanoseconds // 2 or 1,
    }


def _check_digest(digest: str) -> str:
    match = _DIGEST.fullmatch(digest)
    if not match:
        raise Answer(400, "invalid digest format")
    return "sha256:" + match[1]


def _create_lines(engine: Engine, body: dict[str, Any]) -> Iterator[bytes]:
    try:
        for status in create(engine, body):
            yield line({"status": status})
    except Answer as error:
        yield line({"error": error.message})

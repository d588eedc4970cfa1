"""From a request to text: find the model, check it, load it, and answer."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from . import text
from .gguf import GGUFError, Header, read_header
from .log import info
from .runner import Scheduler
from .settings import Settings, parse_duration
from .store import BrokenManifest, Model, NotFound, Store
from .wire import Answer

_INTEGERS = ("num_ctx", "num_predict", "seed", "top_k", "num_keep", "repeat_last_n", "num_batch", "num_gpu")


@dataclass
class Completion:
    """An answer in the making; counts in tokens, `load_seconds` is 0 when the model was in memory."""

    prompt_tokens: int
    pieces: list[str]
    reason: str
    load_seconds: float
    token_seconds: float

    def stream(self) -> Iterator[str]:
        """The pieces, as slowly as the knob says."""
        for piece in self.pieces:
            if self.token_seconds:
                time.sleep(self.token_seconds)
            yield piece


class Engine:
    """The store and the loaded models, and what a generation needs of both."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.models)
        self.scheduler = Scheduler(settings)

    def find(self, name: str, *, shown: str | None = None) -> Model:
        """The stored model; Answer 404 with `shown` (default: the name as given), 500 when its manifest is broken."""
        try:
            return self.store.find(name)
        except NotFound:
            raise Answer(404, f"model '{name if shown is None else shown}' not found") from None
        except BrokenManifest as error:
            raise Answer(500, str(error)) from None

    def header(self, model: Model, name: str) -> Header:
        """The GGUF header; Answer 404 when the blob is gone, 500 when it is damaged."""
        layer = model.layer("model")
        blob = self.store.blob(layer.digest) if layer else None
        if blob is None or not blob.exists():
            raise Answer(404, f'model "{name}" not found, try pulling it first')
        try:
            return read_header(blob)
        except GGUFError as error:
            raise Answer(500, str(error)) from None

    def keep_alive(self, value: object) -> float:
        """Seconds from a request's keep_alive; the server's own when it has none."""
        if value is None:
            return self.settings.keep_alive
        try:
            return parse_duration(value)
        except ValueError as error:
            raise Answer(400, str(error)) from None

    @contextmanager
    def complete(
        self,
        name: str,
        options: dict[str, object],
        keep_alive: float,
        prompt: Callable[[bool], str],
        *,
        chat: bool,
        strict: bool = False,
    ) -> Iterator[Completion]:
        """Load and answer. `prompt` gets whether a template exists; `strict` refuses a prompt that is too long."""
        model = self.find(name)
        header = self.header(model, name)
        merged = {**self.store.parameters(model.layer("params")), **options}
        for key in _INTEGERS:
            if not isinstance(merged.get(key, 0), int | float) or isinstance(merged.get(key), bool):
                raise Answer(500, f'option "{key}" must be of type integer')
        sane = not chat or header.has_chat_template or model.layer("template") is not None
        if not sane:
            info("server.go:377", "model is missing tokenizer.chat_template; chat may not work", level="WARN")
        context = self._context(merged, header)
        layer = model.layer("model")
        blob = self.store.blob(layer.digest if layer else "")
        with self.scheduler.use(model, header, blob, context, keep_alive) as loaded:
            if self.settings.knobs.fail:
                raise Answer(500, self.settings.knobs.fail)
            asked = prompt(sane)
            count = text.count(asked)
            if count > context and strict and not sane:
                raise Answer(400, _too_long(count, context))
            answer = self.settings.knobs.text or text.answer(asked, sane=sane)
            pieces, reason = text.stopped(text.tokens(answer), _stops(merged), _limit(merged))
            seconds = self.settings.knobs.token_seconds
            yield Completion(min(count, context), pieces, reason, loaded.load_seconds, seconds)

    def load(self, name: str, options: dict[str, object], keep_alive: float) -> None:
        """Bring a model into memory without asking it anything."""
        with self.complete(name, options, keep_alive, lambda _: "", chat=False):
            return

    def _context(self, options: dict[str, object], header: Header) -> int:
        wanted = options.get("num_ctx") or self.settings.context_length
        longest = header.number("context_length")
        context = int(wanted) if isinstance(wanted, int | float) else self.settings.context_length
        return min(context, longest) if longest else context


def _stops(options: dict[str, object]) -> list[str]:
    stop = options.get("stop") or []
    return [stop] if isinstance(stop, str) else [str(item) for item in stop] if isinstance(stop, list) else []


def _limit(options: dict[str, object]) -> int:
    limit = options.get("num_predict")
    return int(limit) if isinstance(limit, int | float) and limit > 0 else -1


def _too_long(count: int, context: int) -> str:
    return (
        f'{{"error":{{"code":400,"message":"request ({count} tokens) exceeds the available context size'
        f' ({context} tokens), try increasing it","type":"exceed_context_size_error",'
        f'"n_prompt_tokens":{count},"n_ctx":{context}}}}}'
    )

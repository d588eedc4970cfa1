"""Ask an engine, on its host, what it does: its settings, and its answers to the questions."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from orchestrator.bench.parity import GREETING, Said
from orchestrator.bench.settings import Settings, of_ollama, of_vllm, overridden
from orchestrator.bench.target import Target
from orchestrator.errors import DeployError
from orchestrator.health.mask import mask
from orchestrator.health.probe import chat_text, complaint
from orchestrator.health.text import plain, shorten
from orchestrator.hosts.base import Host, HttpAnswer, HttpRequest, quote

_SMALL_S = 30.0
_ANSWER_S = 300.0
_TEMPLATE_FILES = ("chat_template.jinja", "tokenizer_config.json")


@cache
def questions() -> tuple[tuple[str, ...], int]:
    """The questions, and how many tokens an answer may have."""
    found = tomllib.loads(resources.files(__package__).joinpath("questions.toml").read_text(encoding="utf-8"))
    return tuple(found["questions"]), found["output_tokens"]


@dataclass(frozen=True)
class Side:
    """One deployment. ``resources`` are the JSON forms of what was applied for it; ``config`` its file, if vLLM's."""

    target: Target
    host: Host
    resources: tuple[Mapping[str, Any], ...]

    def settings(self) -> Settings:
        """What it does with a request that sets nothing. Raises DeployError."""
        return self._ollama() if self.target.runtime == "ollama" else self._vllm()

    def say(self, question: str) -> Said:
        """Its greedy answer: as a client asks that sets the temperature and nothing else. Raises DeployError."""
        body = {"max_tokens": questions()[1], "temperature": 0, "stream": False}
        answer = self._post("/v1/chat/completions", {**body, **_asked(question)}, _ANSWER_S)
        if answer.status != 200:
            raise self._failed("answers no question", answer)
        usage = _object(answer).get("usage")
        count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return Said(text=plain(chat_text(answer)), prompt_tokens=count if isinstance(count, int) else None)

    def _ollama(self) -> Settings:
        answer = self._post("/api/show", {}, _SMALL_S)
        if answer.status != 200:
            raise self._failed("does not show its model", answer)
        # Renders without generating; an Ollama that does not know the word generates the one token that it may.
        asked = {"_debug_render_only": True, "stream": False, "options": {"num_predict": 1}, **_asked(GREETING)}
        debug = _object(self._post("/api/chat", asked, _ANSWER_S)).get("_debug_info")
        rendered = debug.get("rendered_template") if isinstance(debug, dict) else ""
        return of_ollama(_object(answer), rendered if isinstance(rendered, str) else "")

    def _vllm(self) -> Settings:
        tokens = _object(self._post("/tokenize", _asked(GREETING), _SMALL_S)).get("tokens")
        shown = _object(self._post("/detokenize", {"tokens": tokens}, _SMALL_S)).get("prompt") if tokens else ""
        rendered = shown if isinstance(shown, str) else ""
        return of_vllm(self._generation_config(), overridden(list(self.resources)), self._template(), rendered)

    def _generation_config(self) -> dict[str, Any]:
        files = (str(item.get("path", "")) for item in self.resources)
        paths = [path for path in files if path.endswith("/generation_config.json")]
        if not paths:
            return {}
        read = self.host.run(f"cat -- {quote(paths[0])}")
        if not read:
            raise DeployError(
                f"the sampling defaults of {self.target.title} cannot be read",
                host=self.host.name,
                why=read.tail(),
                remedy="deployctl status",
            )
        return _json(read.stdout)

    def _template(self) -> str:
        """The chat template beside the model; empty where it is within a GGUF, which vLLM reads itself."""
        kinds = ("converted-model", "model-files")
        folders = [str(item["path"]) for item in self.resources if item.get("kind") in kinds]
        for folder in reversed(folders):
            for name in _TEMPLATE_FILES:
                read = self.host.run(f"cat -- {quote(f'{folder}/{name}')} 2>/dev/null")
                found = read.stdout if name.endswith(".jinja") else _json(read.stdout).get("chat_template")
                if read and isinstance(found, str) and found:
                    return found
        return ""

    def _post(self, path: str, body: Mapping[str, object], timeout: float) -> HttpAnswer:
        target, key = self.target, self.target.key.reveal()
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        data = json.dumps({"model": target.model, **body}).encode()
        base = target.url.removesuffix("/v1")
        return self.host.http(HttpRequest(f"{base}{path}", "POST", headers=headers, body=data, timeout=timeout))

    def _failed(self, what: str, answer: HttpAnswer) -> DeployError:
        said = mask(plain(complaint(answer)), (self.target.key.reveal(),))
        title = self.target.title
        why = shorten(said if answer.status == 0 else f"{answer.status} {said}", 300)
        return DeployError(f"{title} {what}", host=self.host.name, why=why, remedy=f"deployctl logs {title}")


def _asked(question: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}]}


def _object(answer: HttpAnswer) -> dict[str, Any]:
    return _json(answer.body) if answer.status == 200 else {}


def _json(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

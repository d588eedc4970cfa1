"""The requests that the ladder makes, and what their answers say. Pure: nothing here touches a machine.

Both engines read ``max_tokens``; only vLLM reads ``max_completion_tokens`` (DESIGN 5.17).
"""

import json
import re
from typing import Any

from orchestrator.health.endpoint import Endpoint
from orchestrator.hosts.base import HttpAnswer, HttpRequest

QUESTION = "What is the capital of France?"
COUNTING = "Continue: 1, 2, 3, 4, 5, 6,"
"""Even a model of 135 million parameters goes on with 7 here; with a longer wording it does not (measured)."""
ANSWER_TOKENS = 32
"""Room for an answer, in tokens: enough for a sentence, little enough for a slow CPU."""

_SEVEN = re.compile(r"(?<![\d.])7(?!\d)|\bseven\b", re.IGNORECASE)


def version_request(endpoint: Endpoint, timeout: float) -> HttpRequest:
    """Ask for the engine's version; needs no key. ``timeout`` in seconds."""
    path = "/api/version" if endpoint.runtime == "ollama" else "/version"
    return HttpRequest(url=_base(endpoint) + path, timeout=timeout)


def models_request(endpoint: Endpoint, key: str, timeout: float) -> HttpRequest:
    """Ask which models are served. ``timeout`` in seconds."""
    return HttpRequest(url=_base(endpoint) + "/v1/models", headers=_headers(key), timeout=timeout)


def chat_request(endpoint: Endpoint, key: str, prompt: str, timeout: float) -> HttpRequest:
    """Ask one greedy question. ``timeout`` in seconds."""
    body: dict[str, object] = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
        "stream": False,
    }
    if endpoint.runtime == "vllm":
        # the deployment's own penalty would forbid to count on (measured: 1.05 turns a right answer into another)
        body["repetition_penalty"] = 1.0
    return HttpRequest(
        url=_base(endpoint) + "/v1/chat/completions",
        method="POST",
        headers=_headers(key) | {"Content-Type": "application/json"},
        body=json.dumps(body).encode(),
        timeout=timeout,
    )


def version(answer: HttpAnswer) -> str:
    """The version in the answer; empty when there is none."""
    found = _object(answer).get("version")
    return found if isinstance(found, str) else ""


def same_version(found: str, expected: str) -> bool:
    """Whether both name one release: a leading ``v`` and a local part ("+cpu") do not count."""
    return _release(found) == _release(expected)


def model_ids(answer: HttpAnswer) -> tuple[str, ...]:
    """The names in the answer. Ollama says ``"data": null`` for none."""
    data = _object(answer).get("data")
    rows = data if isinstance(data, list) else []
    return tuple(str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row)


def lists(ids: tuple[str, ...], model: str) -> bool:
    """Whether a client may send ``model``: by its name, or without the ``:latest`` that Ollama adds."""
    return model in ids or f"{model}:latest" in ids


def chat_text(answer: HttpAnswer) -> str:
    """What the model said, its reasoning where it got no further than that; empty when nothing."""
    choices = _object(answer).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        return ""
    texts = (message.get(field) for field in ("content", "reasoning_content", "reasoning"))
    return next((text.strip() for text in texts if isinstance(text, str) and text.strip()), "")


def counts_on(text: str) -> bool:
    """Whether the text goes on with 7."""
    return _SEVEN.search(text) is not None


def complaint(answer: HttpAnswer) -> str:
    """What an answer that is not 200 says in its own words, or why there was none."""
    if answer.status == 0:
        return answer.error or "no answer"
    error = _object(answer).get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else answer.text.strip()


def _object(answer: HttpAnswer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _release(version: str) -> str:
    return version.strip().removeprefix("v").partition("+")[0]


def _base(endpoint: Endpoint) -> str:
    return endpoint.probe_url.rstrip("/")


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}

"""Secrets never survive in text that is shown; other text does."""

import json

import pytest

from orchestrator.health.mask import mask

CANARY = 'c4n"ary/\\é key'


@pytest.mark.parametrize(
    "text",
    [
        f"said {CANARY} here",
        json.dumps({"x": CANARY}),
        "GET /?k=c4n%22ary%2F%5C%C3%A9%20key",
    ],
)
def test_a_known_secret_goes_in_every_form(text: str) -> None:
    shown = mask(text, [CANARY])
    assert "ary" not in shown
    assert "***" in shown


def test_a_secret_that_holds_another_goes_whole() -> None:
    assert mask("abcdef", ["abc", "abcdef"]) == "***"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer c4nary-token", "Authorization: Bearer ***"),
        ("token hf_c4naryc4nary ok", "token hf_*** ok"),
        ("using sk-proj-c4naryc4nary.", "using sk-***."),
        ("api key=c4nary next", "api key=*** next"),
        ("{'api_key': 'c4nary', 'port': 1}", "{'api_key': ***, 'port': 1}"),
        ("VLLM_API_KEY=c4nary", "VLLM_API_KEY=***"),
        ("HF_TOKEN=c4nary", "HF_TOKEN=***"),
        ("vllm serve m --api-key c4nary --port 1", "vllm serve m --api-key *** --port 1"),
        ("password: c4nary", "password: ***"),
        ("http://user:c4nary@proxy:3128/", "http://***@proxy:3128/"),
        ("https://cdn/x?X-Amz-Signature=c4nary&a=1", "https://cdn/x?X-Amz-Signature=***&a=1"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "max_num_batched_tokens=2048, prompt tokens: 12, token id 5",
        "GPU KV cache size: 643,232 tokens",
        "http://127.0.0.1:8000/v1/models",
        "see the bearer of the ring",
        "task-based risk-free desk-lamp",
        "",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert mask(text, [""]) == text

"""The routes of both engines, and who may use them: the gateway lets nothing else through.

Sources: Ollama's server/routes.go; every router in vLLM's entrypoints, with all switches on. Both lists are recorded in
tests/gateway/recorded/, and a test compares. A ``{}`` in a path stands for one segment.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

Role = Literal["user", "admin", "metrics"]
Access = Literal["user", "admin", "metrics", "closed"]
"""Who may: every key, an admin key, a metrics key (and an admin), or nobody."""


class Route(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    access: Access


def _routes(access: Access, lines: str) -> tuple[Route, ...]:
    """``METHODS PATH`` lines; several methods are joined by commas."""
    pairs = (line.split() for line in lines.strip().splitlines())
    return tuple(Route(method, path, access) for methods, path in pairs for method in methods.split(","))


OLLAMA = (
    *_routes(
        "user",
        """
        GET,HEAD /
        GET,HEAD /api/version
        GET,HEAD /api/tags
        GET /api/ps
        POST /api/show
        POST /api/generate
        POST /api/chat
        POST /api/embed
        POST /api/embeddings
        POST /v1/chat/completions
        POST /v1/completions
        POST /v1/embeddings
        GET /v1/models
        GET /v1/models/{}
        POST /v1/responses
        POST /v1/messages
        POST /v1/images/generations
        POST /v1/images/edits
        POST /v1/audio/transcriptions
        """,
    ),
    *_routes(
        "admin",
        """
        POST /api/create
        POST /api/copy
        POST /api/pull
        POST /api/push
        DELETE /api/delete
        POST,HEAD /api/blobs/{}
        GET /api/status
        """,
    ),
    *_routes(
        "closed",
        """
        POST /api/me
        POST /api/signout
        DELETE /api/user/keys/{}
        POST /api/experimental/web_search
        POST /api/experimental/web_fetch
        GET /debug/pprof/
        GET /debug/pprof/{}
        POST /debug/pprof/symbol
        """,
    ),
)

VLLM = (
    *_routes(
        "user",
        """
        GET /health
        GET,POST /ping
        GET /version
        GET /v1/models
        POST /v1/chat/completions
        POST /v1/completions
        POST /v1/embeddings
        POST /v1/responses
        GET /v1/responses/{}
        POST /v1/responses/{}/cancel
        POST /v1/messages
        POST /v1/messages/count_tokens
        POST /v1/audio/transcriptions
        POST /v1/audio/translations
        POST /v1/score
        POST /v1/rerank
        POST /v2/rerank
        POST /v2/embed
        POST /score
        POST /rerank
        POST /pooling
        POST /classify
        POST /tokenize
        POST /detokenize
        """,
    ),
    *_routes(
        "metrics",
        """
        GET /metrics
        GET /load
        """,
    ),
    *_routes(
        "closed",
        """
        POST /invocations
        POST /inference/v1/generate
        POST /inference/v1/abort_requests
        POST /generative_scoring
        POST /v1/chat/completions/batch
        POST /v1/chat/completions/render
        POST /v1/chat/completions/derender
        POST /v1/completions/render
        POST /v1/completions/derender
        POST /v1/messages/render
        POST /v1/responses/render
        GET /v1/realtime
        POST /v1/systemone
        GET /tokenizer_info
        GET /kv_event_sources
        GET /docs
        GET /docs/oauth2-redirect
        GET /redoc
        GET /openapi.json
        GET /static/{}
        GET /metrics/{}
        POST /adapters
        DELETE /adapters/{}
        POST /scale_elastic_ep
        POST /is_scaling_elastic_ep
        POST /fault_tolerance/apply
        GET /fault_tolerance/status
        POST /v1/load_lora_adapter
        POST /v1/unload_lora_adapter
        POST /start_profile
        POST /stop_profile
        POST /sleep
        POST /wake_up
        GET /is_sleeping
        POST /pause
        POST /resume
        GET /is_paused
        POST /reset_prefix_cache
        POST /reset_mm_cache
        POST /reset_encoder_cache
        POST /collective_rpc
        GET /server_info
        POST /abort_requests
        POST /release_kv_cache_memory
        POST /init_weight_transfer_engine
        POST /shutdown_weight_transfer_engine
        POST /start_weight_update
        POST /start_draft_weight_update
        POST /update_weights
        POST /update_weight_version
        POST /finish_weight_update
        POST /weight_checker
        GET /weight_info
        GET /get_world_size
        """,
    ),
)

ROUTES: dict[str, tuple[Route, ...]] = {"ollama": OLLAMA, "vllm": VLLM}

_OPENS: dict[Role, frozenset[Access]] = {
    "user": frozenset({"user"}),
    "metrics": frozenset({"metrics"}),
    "admin": frozenset({"user", "metrics", "admin"}),
}

_SEGMENT = "[^/]+"


def opens(role: Role, access: Access) -> bool:
    """Whether a key of this role may use a route of this access."""
    return access in _OPENS[role]


def pattern(runtime: str, role: Role) -> str:
    """A regular expression (RE2) over ``METHOD PATH`` that matches exactly what keys of this role may use."""
    allowed = [route for route in ROUTES[runtime] if opens(role, route.access)]
    if not allowed:
        return "^$"
    methods = dict.fromkeys(route.method for route in allowed)
    parts = [f"{method} ({_paths(route.path for route in allowed if route.method == method)})" for method in methods]
    return f"^({'|'.join(parts)})$"


def _paths(paths: Iterable[str]) -> str:
    return "|".join(_SEGMENT.join(re.escape(part) for part in path.split("{}")) for path in paths)

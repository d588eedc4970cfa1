"""What the user wants: the spec and the inventory. Reads files, touches nothing else."""

from orchestrator.spec.inventory import HostEntry, Inventory
from orchestrator.spec.load import DEFAULT_FILE, load_spec
from orchestrator.spec.models import (
    RUNTIMES,
    GatewaySpec,
    HubSpec,
    ModelSpec,
    OllamaSpec,
    Sampling,
    Spec,
    TokenIds,
    VllmSpec,
    engine_port,
    model_for,
    ollama_model_name,
    served_name,
    token_ids,
    with_runtime,
)
from orchestrator.spec.tokens import human_tokens

__all__ = [
    "DEFAULT_FILE",
    "RUNTIMES",
    "GatewaySpec",
    "HostEntry",
    "HubSpec",
    "Inventory",
    "ModelSpec",
    "OllamaSpec",
    "Sampling",
    "Spec",
    "TokenIds",
    "VllmSpec",
    "engine_port",
    "human_tokens",
    "load_spec",
    "model_for",
    "ollama_model_name",
    "served_name",
    "token_ids",
    "with_runtime",
]

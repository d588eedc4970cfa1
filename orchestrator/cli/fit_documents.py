"""The JSON document of ``fit``, as types; see ``documents``."""

from typing import Literal

from typing_extensions import TypedDict

from orchestrator.cli.failure import Failure, Runtime
from orchestrator.fit.memory import Estimate, Largest, Lever, Verdict


class FitModel(TypedDict):
    """A model, as its headers tell."""

    source: str
    commit: str
    format: Literal["gguf", "safetensors"]
    quant: str
    architecture: str
    layers: int
    parameters: int
    bits_per_weight: float
    size_bytes: int
    weights_bytes: int
    training_context_tokens: int
    read_bytes: int
    certain: bool
    doubts: list[str]


class FitCard(TypedDict):
    """A GPU that is observed or assumed."""

    name: str
    total_mib: int
    free_mib: int


class FitOutlook(TypedDict):
    """What one runtime makes of the model."""

    version: str
    estimate: Estimate
    largest: list[Largest]
    levers: list[Lever]


class FitTarget(TypedDict):
    """A machine, and what each runtime makes of the model there."""

    name: str
    cards: list[FitCard]
    ram_total_bytes: int
    ram_free_bytes: int
    outlooks: list[FitOutlook]


class QuantizationOutlook(TypedDict):
    """What one runtime makes of a quantization on one machine."""

    target: str
    runtime: Runtime
    verdict: Verdict
    context_tokens: int


class Quantization(TypedDict):
    """One quantization of a repository."""

    source: str
    quant: str
    size_bytes: int
    bits_per_weight: float
    exact: bool
    outlooks: list[QuantizationOutlook]


class FitDocument(TypedDict):
    """Of ``fit``."""

    schema: str
    exit_code: int
    model: FitModel
    targets: list[FitTarget]
    quantizations: list[Quantization]
    errors: list[Failure]

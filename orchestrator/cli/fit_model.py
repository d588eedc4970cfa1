"""The model that ``deployctl fit`` is asked about, and its other quantizations; headers only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.fit.shape import ModelShape
    from orchestrator.models.headers import Headers
    from orchestrator.models.hub import HubClient
    from orchestrator.models.reference import HubReference, Reference
    from orchestrator.models.resolved import ResolvedModel
    from orchestrator.progress import Progress
    from orchestrator.spec import HubSpec

_PREFERRED = ("Q4_K_M", "Q4_K_S", "UD-Q4_K_XL", "IQ4_XS", "Q4_0", "Q5_K_M", "Q8_0")
"""Whose header is read where none is named: the usual one, else the first of these, else that of middle size."""


@dataclass(frozen=True)
class Sibling:
    """A quantization of the same model. ``exact`` says that its own header was read."""

    source: str
    quant: str
    size: int
    shape: "ModelShape"
    exact: bool


@dataclass(frozen=True)
class Subject:
    """The model, as its headers tell. ``named`` says that one quantization was asked for."""

    source: str
    commit: str
    headers: "Headers"
    shape: "ModelShape"
    siblings: tuple[Sibling, ...] = ()
    named: bool = True


def reference_of(text: str, quant: str | None) -> "Reference":
    """The model as it was typed, with the label of --quant. Raises UsageError."""
    from orchestrator.models.reference import HubQuant, HubRepo, parse

    reference = parse(text)
    if quant is None:
        return reference
    if not isinstance(reference, HubRepo):
        raise UsageError(f"--quant chooses from a repository, and {text} names one model", remedy="leave it out")
    chosen = parse(f"{reference}:{quant}")
    assert isinstance(chosen, HubQuant)
    return chosen


def look_up(reference: "Reference", revision: str | None, hub: "HubSpec", progress: "Progress") -> Subject:
    """Read the headers. Raises UsageError, or DeployError when the Hub does not answer."""
    from orchestrator.fit.headers import shape_of
    from orchestrator.models.headers import read_local
    from orchestrator.models.reference import LocalPath
    from orchestrator.planning.resolve import hub_client

    if isinstance(reference, LocalPath):
        headers = read_local(reference.path)
        return Subject(str(reference), "", headers, shape_of(headers))
    return _on_hub(reference, revision, hub_client(hub), progress)


def _on_hub(reference: "HubReference", revision: str | None, client: "HubClient", progress: "Progress") -> Subject:
    from orchestrator.fit.headers import shape_of
    from orchestrator.models.headers import read_hub
    from orchestrator.models.reference import HubRepo

    with progress.task(f"look up {reference}"):
        listing = client.look_up(reference.repo, revision)
        listed = listing.ggufs
        whole = isinstance(reference, HubRepo) and bool(listed) and not listing.has_safetensors
        model = _preferred(listed) if whole else listing.resolve(reference)
    headers = read_hub(client, model, progress)
    shape = shape_of(headers)
    siblings = _siblings(model, headers, shape, listed) if model.format == "gguf" else ()
    return Subject(_source(model), model.commit, headers, shape, siblings, named=not whole)


def _preferred(models: "Sequence[ResolvedModel]") -> "ResolvedModel":
    for label in _PREFERRED:
        for model in models:
            if model.quant == label:
                return model
    return models[len(models) // 2]


def _source(model: "ResolvedModel") -> str:
    if model.format == "safetensors":
        return f"hf:{model.repo}"
    return f"hf:{model.repo}:{model.quant}" if model.quant else f"hf:{model.repo}/{model.main_file}"


def _siblings(
    model: "ResolvedModel", headers: "Headers", shape: "ModelShape", listed: "Sequence[ResolvedModel]"
) -> tuple[Sibling, ...]:
    """Those of the same model, by its name; a repository may hold several models."""
    from orchestrator.fit.quants import scaled
    from orchestrator.models.select import model_name

    beside = headers.size - headers.tensor_bytes  # the headers themselves, about the same in all of them
    found = []
    for one in listed:
        exact = one.main_file == model.main_file
        if exact or model_name(one.main_file) == model_name(model.main_file):
            its = shape if exact else scaled(shape, one.size - beside)
            found.append(Sibling(_source(one), one.quant, one.size, its, exact))
    return tuple(found)

"""Which model is served, where it comes from and how it reaches the host."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from orchestrator.spec.fields import Matching, Section, Sha256, Word, contradiction

DEFAULT_SOURCE = "hf:lmstudio-community/Qwen2.5-14B-Instruct-GGUF:Q4_K_M"
DEFAULT_BASE = "Qwen/Qwen2.5-14B-Instruct"

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_HUB = re.compile(
    rf"hf:(?P<repo>{_PART}/{_PART})(?::(?P<quant>[A-Za-z0-9][A-Za-z0-9._-]*)|/(?P<file>[^:\s]+))?", re.ASCII
)


def _source(text: str) -> str:
    match = _HUB.fullmatch(text)
    if text.startswith("hf:"):
        file = match["file"] if match else None
        if match is None or (file is not None and {"", ".", ".."} & set(file.split("/"))):
            raise ValueError("hf:OWNER/REPO:QUANT, hf:OWNER/REPO/FILE or hf:OWNER/REPO")
    elif "://" in text:
        raise ValueError("hf:OWNER/REPO:QUANT, hf:OWNER/REPO/FILE, hf:OWNER/REPO or a local path, not a URL")
    return text


def _default_base(data: dict[str, Any]) -> str | None:
    return DEFAULT_BASE if data["source"] == DEFAULT_SOURCE else None


class ModelSpec(Section):
    """A model: a GGUF file, or a repository of safetensors."""

    source: Annotated[Word, AfterValidator(_source)] = Field(
        default=DEFAULT_SOURCE,
        description="Where the weights come from: `hf:OWNER/REPO:QUANT` (a GGUF of that quantization), "
        "`hf:OWNER/REPO/FILE`, `hf:OWNER/REPO` (a repository of safetensors) or a local path.",
        examples=[DEFAULT_SOURCE, "hf:Qwen/Qwen2.5-0.5B-Instruct", "models/tiny.gguf"],
    )
    base: Word | None = Field(
        default_factory=_default_base,
        description="Repository (`OWNER/REPO`) or local folder that holds tokenizer and config, "
        f"which vLLM needs beside a GGUF. `{DEFAULT_BASE}` for the default source, else none.",
        examples=[DEFAULT_BASE],
    )
    revision: Annotated[Word, Matching(r"[^\s:]+", "a branch, a tag or a commit")] = Field(
        default="main",
        description="Branch, tag or commit of the source's repository. What is applied is always pinned to a commit.",
        examples=["main"],
    )
    sha256: Sha256 | None = Field(
        default=None,
        description="Digest that the (single) weights file must have, beyond what the Hub says of it.",
        examples=["0" * 64],
    )
    delivery: Literal["auto", "fetch", "push"] = Field(
        default="auto",
        description="How it reaches the host: the host fetches it, this machine pushes it, or auto: "
        "fetched where the host reaches the Hub, pushed elsewhere.",
        examples=["auto"],
    )

    @property
    def repo(self) -> str | None:
        """``OWNER/REPO`` on the Hub; None for a local path."""
        return self._hub_part("repo")

    @property
    def quant(self) -> str | None:
        """The quantization asked for (``Q4_K_M``)."""
        return self._hub_part("quant")

    @property
    def file(self) -> str | None:
        """The file inside the repository, when the source names one."""
        return self._hub_part("file")

    @property
    def title(self) -> str:
        """A short name without folders, file ending, quantization or ``-GGUF``: ``Qwen2.5-14B-Instruct``."""
        last = PurePosixPath(self.file or self.repo or self.source).name
        last = re.sub(r"\.gguf$", "", last, flags=re.IGNORECASE)
        last = re.sub(r"-[0-9]{5}-of-[0-9]{5}$", "", last)
        last = re.sub(r"[-_.]GGUF$", "", last, flags=re.IGNORECASE)
        return re.sub(r"[-_.](?:I?Q[0-9]_\w+|BF16|F16|F32)$", "", last, flags=re.IGNORECASE).lstrip("-") or "model"

    def _hub_part(self, group: str) -> str | None:
        match = _HUB.fullmatch(self.source)
        return match[group] if match else None


def own_model(model: ModelSpec) -> ModelSpec:
    """A runtime's own model, which must say its source, so that it is never the worked example by accident."""
    if "source" not in model.model_fields_set:
        raise contradiction(("source",), None, "a source: a runtime's own model replaces the spec's as a whole")
    return model

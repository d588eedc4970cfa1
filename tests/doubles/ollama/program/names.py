"""Model names: ``[host/][namespace/]model[:tag]``."""

import re
from dataclasses import dataclass
from pathlib import Path

_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True)
class Name:
    """A complete name; `parse` fills in what was left out."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def path(self) -> Path:
        """Where the manifest lies, below ``manifests/``."""
        return Path(self.host, self.namespace, self.model, self.tag)

    @property
    def shortest(self) -> str:
        """The name as lists show it: without the default host and namespace, with the tag."""
        short = f"{self.model}:{self.tag}"
        if self.host != _HOST:
            return f"{self.host}/{self.namespace}/{short}"
        return short if self.namespace == _NAMESPACE else f"{self.namespace}/{short}"


def parse(text: str) -> Name | None:
    """The name that `text` means, or None when it is not a valid one."""
    rest, separator, tag = text.rpartition(":")
    if not separator or "/" in tag:
        rest, tag, separator = text, _TAG, ""
    parts = rest.split("/")
    if len(parts) > 3:
        return None
    host, namespace, model = ([_HOST, _NAMESPACE][: 3 - len(parts)] + parts)[-3:]
    if not all(_PART.fullmatch(part) for part in (model, tag)) or "." in namespace:
        return None
    if not _PART.fullmatch(namespace) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", host):
        return None
    return Name(host, namespace, model, tag)

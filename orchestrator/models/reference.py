"""Model references, as the user writes them: ``hf:REPO:QUANT``, ``hf:REPO/FILE``, ``hf:REPO``, or a local path."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from orchestrator.errors import UsageError
from orchestrator.models.resolved import has_control, is_inside

FORMS = "hf:OWNER/REPO:QUANT, hf:OWNER/REPO/FILE.gguf, hf:OWNER/REPO, or a path such as ./model.gguf"

# The Hub's own rule for a name: letters, digits, '-', '_' and '.', not at the ends, no '--' nor '..'.
_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_QUANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class HubQuant:
    """The GGUF of a repository with this quantization label, in upper case ("Q4_K_M")."""

    repo: str
    quant: str

    def __str__(self) -> str:
        return f"hf:{self.repo}:{self.quant}"


@dataclass(frozen=True)
class HubFile:
    """One GGUF of a repository, by its path there (any shard stands for a whole split GGUF)."""

    repo: str
    file: str

    def __str__(self) -> str:
        return f"hf:{self.repo}/{self.file}"


@dataclass(frozen=True)
class HubRepo:
    """A whole safetensors repository."""

    repo: str

    def __str__(self) -> str:
        return f"hf:{self.repo}"


@dataclass(frozen=True)
class LocalPath:
    """A GGUF or a folder of safetensors on the controller."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


HubReference = HubQuant | HubFile | HubRepo
Reference = HubReference | LocalPath


def parse(text: str, *, exists: Callable[[Path], bool] = Path.exists) -> Reference:
    """Read a model reference.

    A path is told by how it begins (``/``, ``./``, ``../``, ``~``) or by being there (``exists``).
    Raises UsageError, with what was probably meant, for anything else.
    """
    if not text.strip():
        _refuse("The model is empty", f"Write {FORMS}.")
    if has_control(text):
        _refuse(f"The model {text!r} holds a control character", f"Write {FORMS}.")
    if text.startswith("hf:"):
        return _parse_hub(text)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        _refuse_url(text)
    if text in (".", "..") or text.startswith(("/", "./", "../", "~")):
        return _local(text)
    if exists(Path(text)):
        return _local(text)
    return _refuse_bare(text)


def _local(text: str) -> LocalPath:
    try:
        return LocalPath(Path(text).expanduser().absolute())
    except RuntimeError as error:  # ~nobody-of-that-name
        raise UsageError(f"The path {text} cannot be expanded", why=str(error), remedy="Write it out.") from error


def _parse_hub(text: str) -> HubReference:
    body = text.removeprefix("hf:")
    if "://" in body:
        _refuse_url(body)
    place, colon, quant = body.partition(":")
    owner, _, rest = place.partition("/")
    name, slash, file = rest.partition("/")
    if not owner or not name:
        _refuse(f"{text} names no OWNER/REPO", f"Write {FORMS}.")
    for part in (owner, name):
        if not _NAME.fullmatch(part) or name.endswith(".git"):
            _refuse(f"{part!r} in {text} cannot be a name on the Hub", f"Write {FORMS}.")
    repo = f"{owner}/{name}"
    if colon and slash:
        _refuse(f"{text} names both a file and a quantization", f"Write hf:{repo}:{quant} or hf:{repo}/{file}.")
    if colon:
        if not _QUANT.fullmatch(quant):
            _refuse(f"{text} has no quantization after the last colon", f"Write for example hf:{repo}:Q4_K_M.")
        return HubQuant(repo, quant.upper())
    if slash:
        return HubFile(repo, _check_file(text, repo, file))
    return HubRepo(repo)


def _check_file(text: str, repo: str, file: str) -> str:
    if not file:
        _refuse(f"{text} ends in a slash", f"Write hf:{repo} for the whole repository, or the file's name after it.")
    if not is_inside(file):
        _refuse(f"The file {file!r} does not stay inside the repository", f"Write {FORMS}.")
    if not file.lower().endswith(".gguf"):
        _refuse(f"{file} is not a GGUF file", f"Write hf:{repo} for a whole safetensors repository.")
    return file


def _refuse(what: str, remedy: str) -> NoReturn:
    raise UsageError(what, remedy=remedy)


def _refuse_url(url: str) -> NoReturn:
    """A page of the Hub was pasted: say the reference that it stands for."""
    parts = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    meant = ""
    if len(parts) > 4 and parts[2] in ("blob", "resolve", "raw"):
        meant = "hf:" + "/".join([*parts[:2], *parts[4:]])
        revision = parts[3] if parts[3] != "main" else ""
    elif len(parts) == 2 or (len(parts) > 2 and parts[2] == "tree"):
        meant = "hf:" + "/".join(parts[:2])
        revision = parts[3] if len(parts) > 3 and parts[3] != "main" else ""
    if not meant or has_control(meant):
        _refuse("A model is not given by its address", f"Write {FORMS}.")
    remedy = f"Write {meant}" + (f" with the revision {revision}." if revision else ".")
    _refuse("A model is not given by its address", remedy)


def _refuse_bare(text: str) -> NoReturn:
    if text.lower().endswith(".gguf") and text.count("/") < 2:
        _refuse(f"There is no file {text} here", f"Give its path, or its place on the Hub: {FORMS}.")
    if re.fullmatch(r"(?i:huggingface|hf\.co|hub)[:/].+", text):
        _refuse(f"{text} is no model reference", f"Write hf:{re.split('[:/]', text, maxsplit=1)[1]}.")
    owner, slash, rest = text.partition("/")
    if slash and _NAME.fullmatch(owner) and _NAME.match(rest):
        _refuse(f"{text} is neither a path that exists nor a model reference", f"Did you mean hf:{text}?")
    if ":" in text:
        _refuse(f"{text} is no model reference (names of Ollama's library are not known here)", f"Write {FORMS}.")
    _refuse(f"There is no model {text}", f"Write {FORMS}.")

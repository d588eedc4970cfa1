"""A host and a model that nobody looked at: what ``render`` assumes, so that it touches neither a host nor the Hub."""

from pathlib import Path, PurePosixPath

from orchestrator.errors import UsageError
from orchestrator.facts import Facts, Gpu, Layout, Python
from orchestrator.models import reference as references
from orchestrator.models.hub import DEFAULT_ENDPOINT
from orchestrator.models.resolved import ModelFile, ResolvedFiles, ResolvedModel
from orchestrator.runtimes.deployment import EngineRelease
from orchestrator.spec import Spec, model_for
from orchestrator.spec.catalogue import ollama_release

UNKNOWN_SHA256 = "0" * 64
"""Stands where ``up`` puts the digest that it looks up."""


def nominal_facts(vram_mib: int, *, gpu: bool, systemd: bool) -> Facts:
    """The worked example's machine: Ubuntu, systemd, Docker, one idle card of ``vram_mib`` MiB, logged in as root."""
    card = Gpu(
        index=0,
        uuid="GPU-nominal",
        name=f"an assumed idle card of {vram_mib} MiB",
        memory_total_mib=vram_mib,
        memory_free_mib=vram_mib,
        driver="580.95.05",
        compute_capability=(8, 9),
    )
    return Facts(
        host="render",
        layout=Layout.system(),
        uid=0,
        gid=0,
        user="root",
        group="root",
        home="/root",
        os="an assumed Linux machine",
        arch="amd64",
        cpus=8,
        memory_total=32 << 30,
        memory_available=30 << 30,
        systemd=systemd,
        docker="assumed",
        gpus=(card,) if gpu else (),
        pythons=(Python(path="/usr/bin/python3", version=(3, 12), venv=True),),
        tools=frozenset(("curl", "tar", "zstd", "gzip", "sha256sum")),
    )


def nominal_model(spec: Spec, runtime: str) -> ResolvedModel:
    """The model as its reference names it, not looked up: no size and no digest, and the revision unpinned."""
    wanted = model_for(spec, runtime)
    reference = references.parse(wanted.source, exists=lambda path: True)
    if isinstance(reference, references.LocalPath):
        name = PurePosixPath(str(reference.path)).name
        kind = "gguf" if name.endswith(".gguf") else "safetensors"
        return _model(kind, [ModelFile(path=name, local=str(reference.path), size=0, sha256=UNKNOWN_SHA256)], "", "")
    repo = wanted.repo or ""
    if wanted.quant:
        name = wanted.file or f"{wanted.title}-{wanted.quant}.gguf"
    elif wanted.file:
        name = wanted.file
    else:
        return _model("safetensors", [_file(spec, repo, wanted.revision, "model.safetensors")], repo, wanted.revision)
    return _model("gguf", [_file(spec, repo, wanted.revision, name)], repo, wanted.revision, wanted.quant or "")


def nominal_base(spec: Spec, runtime: str) -> ResolvedFiles | None:
    """Tokenizer and config of the base repository, not looked up."""
    base = model_for(spec, runtime).base
    if base is None:
        return None
    if Path(base).expanduser().is_dir():
        raise UsageError("render cannot show a local base folder", remedy="name a repository with --base OWNER/REPO")
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    return ResolvedFiles(repo=base, commit="main", files=tuple(_file(spec, base, "main", name) for name in names))


def nominal_release(spec: Spec) -> EngineRelease:
    """The pinned Ollama release; its digest where the catalogue knows it."""
    section = spec.for_runtime("ollama")
    known = ollama_release(section.version, "amd64")
    digest = section.archive_sha256 or known.sha256 or UNKNOWN_SHA256
    return EngineRelease(version=known.version, source=section.archive or known.url, sha256=digest, size=0)


def _file(spec: Spec, repo: str, revision: str, path: str) -> ModelFile:
    endpoint = spec.hub.endpoint or DEFAULT_ENDPOINT
    return ModelFile(path=path, url=f"{endpoint}/{repo}/resolve/{revision}/{path}", size=0, sha256=UNKNOWN_SHA256)


def _model(kind: str, files: list[ModelFile], repo: str, commit: str, quant: str = "") -> ResolvedModel:
    return ResolvedModel.model_validate(
        {"repo": repo, "commit": commit, "files": files, "format": kind, "main_file": files[0].path, "quant": quant}
    )

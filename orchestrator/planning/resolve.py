"""What must be looked up before anything can be planned: which files a model is, and which archive an engine."""

import hashlib
import threading
from pathlib import Path

from orchestrator.errors import DeployError, RefusedError
from orchestrator.facts import Facts
from orchestrator.models import reference as references
from orchestrator.models.access import hub_token
from orchestrator.models.headers import Headers, read_hub, read_local
from orchestrator.models.hub import HubClient
from orchestrator.models.local import resolve_local, resolve_local_base
from orchestrator.models.resolved import ResolvedFiles, ResolvedModel
from orchestrator.progress import Progress
from orchestrator.runtimes.deployment import EngineRelease
from orchestrator.spec import HubSpec, ModelSpec, OllamaSpec, Spec, model_for
from orchestrator.spec.catalogue import ollama_release


class Resolver:
    """Looks things up once per run: several hosts share the answers."""

    def __init__(self, spec: Spec, progress: Progress) -> None:
        self._spec = spec
        self._progress = progress
        self._models: dict[ModelSpec, ResolvedModel] = {}
        self._bases: dict[ModelSpec, tuple[ResolvedFiles | None, dict[str, object]]] = {}
        self._headers: dict[ModelSpec, Headers | DeployError] = {}
        self._releases: dict[str, EngineRelease] = {}
        self._lock = threading.Lock()

    def model(self, runtime: str) -> ResolvedModel:
        """The files of the model that a runtime serves. Raises UsageError, DeployError."""
        wanted = model_for(self._spec, runtime)
        with self._lock:
            if wanted not in self._models:
                with self._progress.task(f"look up {wanted.source}"):
                    self._models[wanted] = self._model(wanted)
            return self._models[wanted]

    def _model(self, wanted: ModelSpec) -> ResolvedModel:
        reference = references.parse(wanted.source)
        if isinstance(reference, references.LocalPath):
            found = resolve_local(reference.path, self._progress)
        else:
            found = hub_client(self._spec.hub).resolve(reference, wanted.revision)
        main = found.file(found.main_file)
        if wanted.sha256 and (main is None or main.sha256 != wanted.sha256):
            raise RefusedError(
                f"{wanted.source} is not the file that the spec names",
                why=f"sha256 {main.sha256 if main else 'unknown'}, expected {wanted.sha256}",
                remedy="correct model.sha256, or model.revision",
            )
        return found

    def headers(self, runtime: str) -> Headers:
        """The headers of the model's files, without the weights. Raises UsageError, DeployError."""
        wanted, model = model_for(self._spec, runtime), self.model(runtime)
        with self._lock:
            if wanted not in self._headers:
                try:
                    self._headers[wanted] = self._read_headers(wanted, model)
                except DeployError as error:  # nor is it asked for again by the next host
                    self._headers[wanted] = error
            found = self._headers[wanted]
        if isinstance(found, DeployError):
            raise found
        return found

    def _read_headers(self, wanted: ModelSpec, model: ResolvedModel) -> Headers:
        reference = references.parse(wanted.source)
        if isinstance(reference, references.LocalPath):
            return read_local(reference.path)
        return read_hub(hub_client(self._spec.hub), model, self._progress)

    def base(self, runtime: str) -> tuple[ResolvedFiles | None, dict[str, object]]:
        """Tokenizer and config files for a GGUF, and the generation_config.json among them."""
        wanted = model_for(self._spec, runtime)
        with self._lock:
            if wanted not in self._bases:
                self._bases[wanted] = self._base(wanted)
            return self._bases[wanted]

    def _base(self, wanted: ModelSpec) -> tuple[ResolvedFiles | None, dict[str, object]]:
        import json

        if wanted.base is None:
            return None, {}
        folder = Path(wanted.base).expanduser()
        if folder.is_dir():
            files = resolve_local_base(folder, self._progress)
            generation = folder / "generation_config.json"
            return files, json.loads(generation.read_text()) if generation.is_file() else {}
        hub = hub_client(self._spec.hub)
        with self._progress.task(f"look up {wanted.base}"):
            found = hub.resolve_base(wanted.base)
            return found, hub.fetch_json(found.repo, found.commit, "generation_config.json") or {}

    def release(self, section: OllamaSpec, facts: Facts) -> EngineRelease:
        """The archive to install on a host of this processor type, with its digest. Raises DeployError."""
        key = f"{section.version}/{section.archive}/{facts.arch}"
        with self._lock:
            if key not in self._releases:
                self._releases[key] = self._release(section, facts)
            return self._releases[key]

    def gateway_archive(self) -> EngineRelease | None:
        """The gateway's archive, where the user names one: a local one is read for its digest. Raises DeployError."""
        section = self._spec.gateway
        if section.archive is None:
            return None
        with self._lock:
            if section.archive not in self._releases:
                if "://" in section.archive:
                    digest = section.archive_sha256 or ""  # the spec asks for it
                    found = EngineRelease(version="", source=section.archive, sha256=digest, size=0)
                else:
                    path = Path(section.archive).expanduser().resolve()
                    found = self._local_release(path, section.archive_sha256)
                self._releases[section.archive] = found
            return self._releases[section.archive]

    def _release(self, section: OllamaSpec, facts: Facts) -> EngineRelease:
        known = ollama_release(section.version, facts.arch)
        if section.archive and "://" not in section.archive:
            path = Path(section.archive).expanduser().resolve()
            found = self._local_release(path, section.archive_sha256)
            named = section.version is not None or found.sha256 == known.sha256
            return found.model_copy(update={"version": known.version}) if named else found
        url = section.archive or known.url
        # A mirror serves the same bytes: the digest that the catalogue knows holds for it, unless the user gives one.
        digest = section.archive_sha256 or known.sha256 or _published_digest(known.checksums_url, url)
        size = known.size if digest == known.sha256 and known.size else _content_length(url)
        named = section.version is not None or section.archive is None or digest == known.sha256
        return EngineRelease(version=known.version if named else "", source=url, sha256=digest, size=size)

    def _local_release(self, path: Path, expected: str | None) -> EngineRelease:
        if not path.is_file():
            raise RefusedError(f"there is no archive {path}", remedy="name an existing file")
        size = path.stat().st_size
        digest = hashlib.sha256()
        with self._progress.task(f"read {path.name}", total=size, unit="bytes") as task, path.open("rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
                task.update(source.tell())
        if expected and digest.hexdigest() != expected:
            raise RefusedError(f"{path} has another digest", why=f"sha256 {digest.hexdigest()}, expected {expected}")
        return EngineRelease(version="", source=str(path), sha256=digest.hexdigest(), size=size)


def hub_client(hub: HubSpec) -> HubClient:
    """The Hub that the spec names, else the environment. Raises RefusedError where it may not be asked."""
    import os

    if hub.offline:
        raise RefusedError("hub.offline is set, but the model is on the Hub", remedy="name a local path instead")
    return HubClient(hub.endpoint or os.environ.get("HF_ENDPOINT"), hub_token(hub.token_env))


def _published_digest(checksums_url: str, url: str) -> str:
    """The digest that the vendor publishes beside a release, for a version that the catalogue has no digest of."""
    import requests

    name = url.rsplit("/", 1)[-1]
    try:
        answer = requests.get(checksums_url, timeout=30)
        answer.raise_for_status()
    except requests.RequestException as error:
        remedy = "give --archive-sha256, or a local --archive"
        raise DeployError(f"cannot read the digest of {name}", why=str(error), remedy=remedy) from error
    for line in answer.text.splitlines():
        digest, _, file = line.partition(" ")
        if file.strip().lstrip("*./") == name and len(digest) == 64:
            return digest
    raise DeployError(f"{checksums_url} does not list {name}", remedy="give --archive-sha256")


def _content_length(url: str) -> int:
    """Bytes of what is at a URL."""
    import requests

    try:
        answer = requests.head(url, timeout=30, allow_redirects=True)
        answer.raise_for_status()
        return int(answer.headers["Content-Length"])
    except (requests.RequestException, KeyError, ValueError) as error:
        raise DeployError(
            f"cannot look up {url}", why=str(error), remedy="give a mirror or a local file with --archive"
        ) from error

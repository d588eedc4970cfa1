"""The Hugging Face Hub, or a mirror of it, as a source of metadata: which files, which commit, sizes, digests.

Resolving is huggingface_hub's work; the transfer is ours (DESIGN 5.15). Nothing is downloaded through it, so its xet
path, which a mirror may not have, is never taken.
"""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import ValidationError

from orchestrator.errors import DeployError, UsageError
from orchestrator.hosts.secret import Secret
from orchestrator.models import select
from orchestrator.models.hub_errors import Asked, explain, is_transient, retry_after
from orchestrator.models.ranges import get_range
from orchestrator.models.reference import HubFile, HubQuant, HubReference
from orchestrator.models.resolved import ModelFile, ResolvedFiles, ResolvedModel, has_control

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.hf_api import RepoSibling

DEFAULT_ENDPOINT = "https://huggingface.co"
_TIMEOUT = 30.0  # seconds
_LARGEST_JSON = 4 << 20  # bytes; the largest config.json are some hundred kB

T = TypeVar("T")


class HubClient:
    """Asks one endpoint, with one token; a question up to ``tries`` times, ``pause`` seconds apart at first."""

    def __init__(self, endpoint: str | None, token: Secret | None, *, tries: int = 4, pause: float = 1.0) -> None:
        self.endpoint = _checked_endpoint(endpoint or DEFAULT_ENDPOINT)
        self.token = token
        self._tries = tries
        self._pause = pause

    def resolve(self, reference: HubReference, revision: str | None = None) -> ResolvedModel:
        """The files of a model at the commit that ``revision`` (a branch, tag or commit; default ``main``) is now.

        Raises UsageError when the repository, the revision, the file or the quantization is not there, and
        DeployError when the Hub does not answer, or not to this token.
        """
        asked = Asked(reference.repo, revision, self.endpoint, self.token is not None)
        info = self._info(asked)
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        if isinstance(reference, HubQuant | HubFile):
            paths = tuple(siblings)
            if isinstance(reference, HubQuant):
                chosen = select.by_quant(reference.repo, reference.quant, paths)
            else:
                chosen = select.by_file(reference.repo, reference.file, paths)
            files = self._files(asked, info, chosen.paths)
            model = ResolvedModel(
                repo=reference.repo,
                commit=_commit(asked, info),
                files=files,
                format="gguf",
                main_file=chosen.main,
                quant=chosen.label,
            )
        else:
            files = self._files(asked, info, select.whole(reference.repo, tuple(siblings)))
            main = next(file.path for file in files if file.path.endswith(".safetensors"))
            model = ResolvedModel(
                repo=reference.repo, commit=_commit(asked, info), files=files, format="safetensors", main_file=main
            )
        self._require_access(asked, info, model)
        return model

    def resolve_base(self, repo: str, revision: str | None = None) -> ResolvedFiles:
        """Tokenizer and configuration of the repository that a GGUF was made from (DESIGN 5.3).

        Raises UsageError when it has none, and as ``resolve`` does.
        """
        asked = Asked(repo, revision, self.endpoint, self.token is not None)
        info = self._info(asked)
        paths = select.beside_gguf(sibling.rfilename for sibling in info.siblings or ())
        if "config.json" not in paths:
            raise UsageError(
                f"hf:{repo} holds no config.json, so it is not the base of a model",
                remedy="Name the repository of the original, unquantized model.",
            )
        base = ResolvedFiles(repo=repo, commit=_commit(asked, info), files=self._files(asked, info, paths))
        self._require_access(asked, info, base)
        return base

    def fetch_json(self, repo: str, commit: str, file: str) -> dict[str, Any] | None:
        """A small JSON file (generation_config.json); None when the commit has none of that name.

        Raises DeployError when it cannot be had, or is not a JSON object of at most 4 MiB.
        """
        asked = Asked(repo, commit, self.endpoint, self.token is not None)
        url = self.url(repo, commit, file)
        body = self._ask(asked, lambda: _get_small(url, self.token))
        if body is None:
            return None
        try:
            value = json.loads(body) if len(body) <= _LARGEST_JSON else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise DeployError(f"{file} of hf:{repo} is not a JSON object of at most {_LARGEST_JSON} bytes")
        return value

    def ggufs(self, repo: str, revision: str | None = None) -> tuple[ResolvedModel, ...]:
        """Every whole GGUF of a repository, the smallest first; there may be none. Raises as ``resolve`` does."""
        asked = Asked(repo, revision, self.endpoint, self.token is not None)
        info = self._info(asked)
        sets = select.gguf_sets(sibling.rfilename for sibling in info.siblings or ())
        found = tuple(
            ResolvedModel(
                repo=repo,
                commit=_commit(asked, info),
                files=self._files(asked, info, one.paths),
                format="gguf",
                main_file=one.main,
                quant=one.label,
            )
            for one in sets
            if one.is_whole
        )
        return tuple(sorted(found, key=lambda model: (model.size, model.main_file)))

    def has_safetensors(self, repo: str, revision: str | None = None) -> bool:
        """Whether a repository can be served whole. Raises as ``resolve`` does."""
        info = self._info(Asked(repo, revision, self.endpoint, self.token is not None))
        return any(sibling.rfilename.endswith(".safetensors") for sibling in info.siblings or ())

    def read_range(self, repo: str, file: ModelFile, start: int, stop: int) -> bytes:
        """The bytes of a file from ``start`` to before ``stop``, which lies within it.

        Raises DeployError when the place does not answer with just these; as ``resolve`` does for all else.
        """
        asked = Asked(repo, None, self.endpoint, self.token is not None)
        return self._ask(asked, lambda: get_range(file, start, stop, self.token))

    def url(self, repo: str, commit: str, path: str) -> str:
        """Where a file of a commit is downloaded from."""
        return f"{self.endpoint}/{quote(repo)}/resolve/{quote(commit, safe='')}/{quote(path)}"

    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi

        # False, not None: None would send whatever token huggingface_hub finds by itself.
        return HfApi(endpoint=self.endpoint, token=self.token.reveal() if self.token else False)

    def _info(self, asked: Asked) -> "ModelInfo":
        def question() -> "ModelInfo":
            return self._api().model_info(asked.repo, revision=asked.revision, files_metadata=True, timeout=_TIMEOUT)

        return self._ask(asked, question)

    def _require_access(self, asked: Asked, info: "ModelInfo", found: ResolvedFiles) -> None:
        """Metadata of a gated repository is public, its files are not: find out before anything is planned."""
        if info.gated and found.files:
            self._ask(asked, lambda: self._api().get_hf_file_metadata(url=found.files[0].url, timeout=_TIMEOUT))

    def _files(self, asked: Asked, info: "ModelInfo", paths: Iterable[str]) -> tuple[ModelFile, ...]:
        siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
        commit = _commit(asked, info)
        return tuple(self._file(asked, commit, siblings[path]) for path in paths)

    def _file(self, asked: Asked, commit: str, sibling: "RepoSibling") -> ModelFile:
        lfs = sibling.lfs
        try:
            return ModelFile(
                path=sibling.rfilename,
                url=self.url(asked.repo, commit, sibling.rfilename),
                size=lfs.size if lfs else sibling.size or 0,
                sha256=lfs.sha256 if lfs else None,
                git_sha1=None if lfs else sibling.blob_id,
            )
        except ValidationError as error:
            raise _unusable(asked, f"The entry of {sibling.rfilename!r} cannot be used.") from error

    def _ask(self, asked: Asked, question: Callable[[], T]) -> T:
        """Ask, with retries where they help, and turn whatever goes wrong into what the user can do about it."""
        from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]  # httpx's in
        from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt  # 1.x, httpx2's in 2.x

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked_for = retry_after(error) if error else 0.0
            return min(max(self._pause * 2 ** (state.attempt_number - 1), asked_for), 60.0) if self._pause else 0.0

        retrying = Retrying(
            stop=stop_after_attempt(self._tries), wait=pause, retry=retry_if_exception(is_transient), reraise=True
        )
        try:
            return retrying(question)
        except (HTTPError, OfflineModeIsEnabled) as error:
            raise explain(error, asked) from None  # the cause may hold a request, and that its headers
        except (ValueError, KeyError, TypeError) as error:
            raise _unusable(asked, f"{type(error).__name__}: the answer is not the Hub's.") from error


def _checked_endpoint(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if has_control(endpoint) or parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise UsageError(
            f"HF_ENDPOINT must be an http:// or https:// address without a user name, not {parts.scheme or endpoint!r}",
            remedy=f"Unset it for {DEFAULT_ENDPOINT}, or give your mirror's address.",
        )
    return endpoint.rstrip("/")


def _commit(asked: Asked, info: "ModelInfo") -> str:
    commit = info.sha or ""
    if len(commit) != 40 or not set(commit) <= set("0123456789abcdef"):
        raise _unusable(asked, "It names no commit.")
    return commit


def _unusable(asked: Asked, why: str) -> DeployError:
    return DeployError(
        f"{asked.endpoint} gave an answer about hf:{asked.repo} that cannot be used",
        why=why,
        remedy="See whether HF_ENDPOINT is a Hugging Face mirror, and not a proxy's login page.",
    )


def _get_small(url: str, token: Secret | None) -> bytes | None:
    """The body, one byte more than allowed at most; None where the file is not there."""
    from huggingface_hub.errors import EntryNotFoundError
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public by its documentation
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    headers = build_hf_headers(token=token.reveal() if token else False)
    with get_session().stream("GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as response:
        try:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
        except EntryNotFoundError:
            return None
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST_JSON:
                break
        return body

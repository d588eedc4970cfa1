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

    def look_up(self, repo: str, revision: str | None = None) -> "Listing":
        """The repository at the commit that ``revision`` (a branch, tag or commit; default ``main``) is now.

        Raises UsageError when the repository or the revision is not there, and DeployError when the Hub does not
        answer, or not to this token.
        """
        asked = Asked(repo, revision, self.endpoint, self.token is not None)
        return Listing(self, asked, self._info(asked))

    def resolve(self, reference: HubReference, revision: str | None = None) -> ResolvedModel:
        """The files of a model. Raises as ``look_up`` and ``Listing.resolve`` do."""
        return self.look_up(reference.repo, revision).resolve(reference)

    def resolve_base(self, repo: str, revision: str | None = None) -> ResolvedFiles:
        """Tokenizer and configuration of the repository that a GGUF was made from (DESIGN 5.3).

        Raises UsageError when it has none, and as ``look_up`` does.
        """
        return self.look_up(repo, revision).resolve_base()

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

    def require_access(self, asked: Asked, file: ModelFile) -> None:
        """Metadata of a gated repository is public, its files are not: raise DeployError if they are not given out."""
        self._ask(asked, lambda: self._api().get_hf_file_metadata(url=file.url, timeout=_TIMEOUT))

    def _ask(self, asked: Asked, question: Callable[[], T]) -> T:
        """Ask, with retries where they help, and turn whatever goes wrong into what the user can do about it."""
        from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]  # httpx's
        from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

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


class Listing:
    """A repository as it was when it was looked up: its commit, and which of its files make a model."""

    def __init__(self, client: HubClient, asked: Asked, info: "ModelInfo") -> None:
        self._client = client
        self._asked = asked
        self._gated = bool(info.gated)
        self._commit = _commit(asked, info)
        self._siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}

    def resolve(self, reference: HubReference) -> ResolvedModel:
        """The files of a model. Raises UsageError when the file or the quantization is not there, else DeployError."""
        paths = tuple(self._siblings)
        if isinstance(reference, HubQuant):
            model = self._gguf(select.by_quant(reference.repo, reference.quant, paths))
        elif isinstance(reference, HubFile):
            model = self._gguf(select.by_file(reference.repo, reference.file, paths))
        else:
            files = self._files(select.whole(reference.repo, paths))
            main = next(file.path for file in files if file.path.endswith(".safetensors"))
            model = ResolvedModel(
                repo=reference.repo, commit=self._commit, files=files, format="safetensors", main_file=main
            )
        self._require_access(model)
        return model

    def resolve_base(self) -> ResolvedFiles:
        """Tokenizer and configuration. Raises UsageError when there are none."""
        paths = select.beside_gguf(self._siblings)
        if "config.json" not in paths:
            raise UsageError(
                f"hf:{self._asked.repo} holds no config.json, so it is not the base of a model",
                remedy="Name the repository of the original, unquantized model.",
            )
        base = ResolvedFiles(repo=self._asked.repo, commit=self._commit, files=self._files(paths))
        self._require_access(base)
        return base

    @property
    def ggufs(self) -> tuple[ResolvedModel, ...]:
        """Every whole GGUF, the smallest first."""
        found = [self._gguf(one) for one in select.gguf_sets(self._siblings) if one.is_whole]
        return tuple(sorted(found, key=lambda model: (model.size, model.main_file)))

    @property
    def has_safetensors(self) -> bool:
        """Whether it can be served whole."""
        return any(path.endswith(".safetensors") and "/" not in path for path in self._siblings)

    def _gguf(self, chosen: select.GgufSet) -> ResolvedModel:
        return ResolvedModel(
            repo=self._asked.repo,
            commit=self._commit,
            files=self._files(chosen.paths),
            format="gguf",
            main_file=chosen.main,
            quant=chosen.label,
        )

    def _require_access(self, found: ResolvedFiles) -> None:
        if self._gated and found.files:
            self._client.require_access(self._asked, found.files[0])

    def _files(self, paths: Iterable[str]) -> tuple[ModelFile, ...]:
        return tuple(self._file(self._siblings[path]) for path in paths)

    def _file(self, sibling: "RepoSibling") -> ModelFile:
        lfs = sibling.lfs
        try:
            return ModelFile(
                path=sibling.rfilename,
                url=self._client.url(self._asked.repo, self._commit, sibling.rfilename),
                size=lfs.size if lfs else sibling.size or 0,
                sha256=lfs.sha256 if lfs else None,
                git_sha1=None if lfs else sibling.blob_id,
            )
        except ValidationError as error:
            raise _unusable(self._asked, f"The entry of {sibling.rfilename!r} cannot be used.") from error


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

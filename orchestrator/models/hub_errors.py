"""What an answer of the Hub means for the user, and what to do about it. No message ever holds the token.

The classes and codes are huggingface_hub's (`reference/ecosystem.md` section C): 401 stands for a missing, a private
and a gated repository alike, and GatedRepoError is a RepositoryNotFoundError, so it is looked for first.
"""

from dataclasses import dataclass

from orchestrator.errors import DeployError, UsageError

_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Asked:
    """What was asked of which endpoint, and whether with a token."""

    repo: str
    revision: str | None
    endpoint: str
    with_token: bool

    @property
    def page(self) -> str:
        """The repository's page, where a licence is accepted."""
        return f"{self.endpoint}/{self.repo}"


def _status(error: BaseException) -> int:
    response = getattr(error, "response", None)
    return int(response.status_code) if response is not None else 0


def retry_after(error: BaseException) -> float:
    """Seconds that the answer asks to wait; 0 when it does not say (or says a date)."""
    response = getattr(error, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return float(text) if text.isascii() and text.isdigit() else 0.0


def is_transient(error: BaseException) -> bool:
    """Whether asking again may help: a busy server, or a connection that was not made or was cut."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # httpx's in 1.x, httpx2's in 2.x

    return isinstance(error, HTTPError) and (_status(error) in _BUSY or _status(error) == 0)


def explain(error: Exception, asked: Asked) -> DeployError:
    """The failure, as the user should see it."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = _status(error)
    if isinstance(error, OfflineModeIsEnabled):
        return DeployError(
            f"HF_HUB_OFFLINE forbids asking the Hub about hf:{asked.repo}",
            remedy="Unset HF_HUB_OFFLINE, or give the model as a local path.",
        )
    if isinstance(error, GatedRepoError):
        return _gated(asked)
    if isinstance(error, RevisionNotFoundError):
        return UsageError(
            f"hf:{asked.repo} has no revision {asked.revision or 'main'}",
            remedy=f"See the branches and commits at {asked.page}/commits.",
        )
    if isinstance(error, EntryNotFoundError):
        return UsageError(f"hf:{asked.repo} has no such file", remedy=f"See its files at {asked.page}/tree/main.")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403, 404):
        return _hidden(asked, status)
    if status:
        return _status_error(asked, status)
    return DeployError(
        f"{asked.endpoint} cannot be reached",
        why=_reason(error),
        remedy="See whether this machine has internet (proxies: HTTPS_PROXY); set HF_ENDPOINT to use a mirror, or give "
        "the model as a local path.",
    )


def _gated(asked: Asked) -> DeployError:
    if asked.with_token:
        return DeployError(
            f"hf:{asked.repo} is gated, and the account of this token has not been let in",
            remedy=f"Accept the licence at {asked.page} with that account, then run this again.",
        )
    return DeployError(
        f"hf:{asked.repo} is gated: it is given out only to those who accepted its licence",
        remedy=f"Accept it at {asked.page}, then set HF_TOKEN to a token of that account.",
    )


def _hidden(asked: Asked, status: int) -> DeployError:
    if status == 401 and asked.with_token:
        return DeployError(
            f"{asked.endpoint} does not accept the token, or hf:{asked.repo} does not exist",
            remedy="Check the spelling, and HF_TOKEN: it may be expired, revoked, or another endpoint's.",
        )
    if status == 403:
        return DeployError(
            f"The token may not read hf:{asked.repo}",
            remedy="Give it read access to this repository, or set HF_TOKEN to another one.",
        )
    return UsageError(
        f"There is no hf:{asked.repo} at {asked.endpoint}, or it is private",
        remedy="Check the spelling." + ("" if asked.with_token else " If it is private, set HF_TOKEN."),
    )


def _status_error(asked: Asked, status: int) -> DeployError:
    if status == 429:
        return DeployError(
            f"{asked.endpoint} limits how often it may be asked (HTTP 429)",
            remedy="Wait a few minutes" + ("." if asked.with_token else ", or set HF_TOKEN: accounts have more room."),
        )
    return DeployError(
        f"{asked.endpoint} answered HTTP {status} about hf:{asked.repo}",
        remedy="Try again later, or set HF_ENDPOINT to use a mirror."
        if status >= 500
        else "See whether HF_ENDPOINT is a Hugging Face mirror.",
    )


def _reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}"[:300] if text else type(error).__name__

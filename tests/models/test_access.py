"""Whose token opens the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from orchestrator.errors import RefusedError
from orchestrator.models.access import hub_token

CANARY = "hf_canaryTokenOfALogin0123456789"


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of ``hf auth login``."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "token"
    path.write_text(CANARY)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    return path


def test_a_login_that_others_may_read_is_refused(login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login.chmod(0o644)
    with pytest.raises(RefusedError) as caught:
        hub_token("HF_TOKEN")
    assert f"chmod 600 {login}" in caught.value.remedy and CANARY not in repr(vars(caught.value))
    assert hub_token("OTHER_TOKEN") is None
    monkeypatch.setenv("HF_TOKEN", "hf_given")
    given = hub_token("HF_TOKEN")
    assert given is not None and given.reveal() == "hf_given"


def test_a_login_of_its_owner_alone_is_used(login: Path) -> None:
    login.chmod(0o600)
    token = hub_token("HF_TOKEN")
    assert token is not None and token.reveal() == CANARY and CANARY not in repr(token)

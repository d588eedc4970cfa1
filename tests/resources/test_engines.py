"""Archives, environments, model files and conversions, made on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Result
from orchestrator.models.resolved import ModelFile
from orchestrator.progress import Quiet
from orchestrator.resources.base import Resource
from orchestrator.resources.converted import Converted
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.ollama_model import OllamaModel
from orchestrator.resources.release import Release
from orchestrator.resources.venv import Venv
from tests.resources.conftest import Bench

PROGRAM = b"#!/bin/sh\necho ollama\n"


def member(name: str, data: bytes = b"x", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o755
    for field, value in more.items():
        setattr(info, field, value)
    return info, data


def release(folder: Path, *members: tuple[tarfile.TarInfo, bytes], name: str = "ollama.tgz") -> Release:
    """A release from an archive of these members, beside the usual program."""
    archive, packed = folder / name, io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for info, data in (member("bin/ollama", PROGRAM), *members):
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    pack = ["zstd", "-q"] if name.endswith(".zst") else ["gzip"]
    archive.write_bytes(subprocess.run(pack, input=packed.getvalue(), capture_output=True, check=True).stdout)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (folder / "opt").mkdir(exist_ok=True)
    return Release(
        path=f"{folder}/opt/0.33.3",
        source=str(archive),
        sha256=digest,
        size=archive.stat().st_size,
        binary="bin/ollama",
        mode="push",
    )


def test_a_release_is_unpacked_once_and_replaced_as_a_whole(bench: Bench, tmp_path: Path) -> None:
    first = release(
        tmp_path,
        member("lib/ollama/cuda/lib.so"),
        member("lib/link.so", b"", type=tarfile.SYMTYPE, linkname="ollama/cuda/lib.so"),
    )
    assert not bench.see(first).exists
    bench.apply(first)
    assert bench.differences(first) == ()
    assert (Path(first.path) / "lib" / "link.so").read_bytes() == b"x"
    assert [path.name for path in (tmp_path / "opt").iterdir()] == ["0.33.3"]  # no archive, no part
    second = release(tmp_path, name="other.tgz")
    assert [item.field for item in bench.differences(second)] == ["sha256"]
    bench.apply(second)
    assert bench.differences(second) == ()
    assert not (Path(second.path) / "lib").exists()
    (Path(second.path) / "bin" / "ollama").unlink()
    assert [item.field for item in bench.differences(second)] == ["binary"]
    bench.apply(second)
    assert bench.differences(second) == ()
    bench.remove(second)
    bench.remove(second)
    assert list((tmp_path / "opt").iterdir()) == []


HOSTILE = {
    "an absolute name": member("/tmp/deployctl-owned"),
    "an upward name": member("../../owned"),
    "an upward name inside": member("lib/../../owned"),
    "a link to an absolute place": member("lib/l", b"", type=tarfile.SYMTYPE, linkname="/etc"),
    "a link upward": member("l", b"", type=tarfile.SYMTYPE, linkname="../.."),
    "a hard link outside": member("h", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a pipe": member("p", b"", type=tarfile.FIFOTYPE),
    "a device": member("d", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "an upward name with spaces": member("a b/../../owned"),
    "an upward name behind an arrow": member("x -> y/../../../owned"),
    "a link with an arrow in its name": member("x -> safe", b"", type=tarfile.SYMTYPE, linkname="/etc"),
    "an upward name behind a line break": member("x\n../../owned"),
    "an upward name behind an owner with spaces": member("../owned", uname="x 1 2026-01-01 00:00 y"),
    "a link outside behind an owner with spaces": member(
        "l", b"", type=tarfile.SYMTYPE, linkname="/etc", uname="a b", gname="c -> d"
    ),
    "a block device": member("d", b"", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
    "a hard link upward": member("h", b"", type=tarfile.LNKTYPE, linkname="../../inner/opt"),
    "a link to the folder above": member("lib/l", b"", type=tarfile.SYMTYPE, linkname=".."),
}


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_that_leads_outside_is_refused_whole(
    bench: Bench, tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]
) -> None:
    (tmp_path / "inner").mkdir()
    resource = release(tmp_path / "inner", bad, name="ollama.tar.zst")
    with pytest.raises(DeployError) as failed:
        bench.apply(resource)
    assert "unpack" in failed.value.what and failed.value.why
    assert not bench.see(resource).exists
    assert not Path(resource.path).exists()
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "inner" / "owned").exists()


@pytest.mark.parametrize("name", ["bomb.tgz", "bomb.tar.zst"])
def test_an_archive_that_grows_without_measure_is_not_unpacked(bench: Bench, tmp_path: Path, name: str) -> None:
    bomb = release(tmp_path, *(member(f"zeros{number}", bytes(32 << 20)) for number in range(4)), name=name)
    assert bomb.size < 1 << 20
    with pytest.raises(DeployError) as failed:
        bench.apply(bomb)
    assert "in an archive of this size" in failed.value.why
    assert sum(path.stat().st_size for path in (tmp_path / "opt").rglob("*")) < 2 << 20


def test_modes_of_an_archive_give_nobody_more_than_reading(bench: Bench, tmp_path: Path) -> None:
    resource = release(tmp_path, member("bin/helper", mode=0o6777), member("lib/data", mode=0o000))
    bench.apply(resource)
    assert oct((Path(resource.path) / "bin/helper").stat().st_mode & 0o7777) == "0o755"
    assert oct((Path(resource.path) / "lib/data").stat().st_mode & 0o7777) == "0o644"


def test_an_archive_without_the_program_is_refused(bench: Bench, tmp_path: Path) -> None:
    resource = release(tmp_path).model_copy(update={"binary": "bin/other"})
    with pytest.raises(DeployError) as failed:
        bench.apply(resource)
    assert "holds no bin/other" in failed.value.why


def test_an_archive_of_another_digest_is_not_unpacked(bench: Bench, tmp_path: Path) -> None:
    resource = release(tmp_path).model_copy(update={"sha256": "0" * 64})
    with pytest.raises(DeployError):
        bench.apply(resource)
    assert not Path(resource.path).exists()


def model_files(folder: Path, **contents: bytes) -> ModelFiles:
    """Local files, to be delivered under their names (``__`` stands for a slash)."""
    files = []
    for number, (name, data) in enumerate(contents.items()):
        source = folder / f"source{number}"
        source.write_bytes(data)
        path = name.replace("__", "/")
        digest = hashlib.sha256(data).hexdigest()
        files.append(ModelFile(path=path, local=str(source), size=len(data), sha256=digest))
    return ModelFiles(path=f"{folder}/models/o/r/commit", files=tuple(files), mode="push")


def test_model_files_are_delivered_whole_kept_and_removed(bench: Bench, tmp_path: Path) -> None:
    resource = model_files(tmp_path, weights=b"GGUF" * 1000, sub__config=b"{}")
    bench.apply(resource)
    assert bench.differences(resource) == ()
    first = (Path(resource.path) / "weights").stat()
    (Path(resource.path) / "sub/config").unlink()  # it may be a link to the source
    (Path(resource.path) / "sub/config").write_bytes(b"{")
    assert [item.field for item in bench.differences(resource)] == ["sub/config"]
    bench.apply(resource)
    assert bench.differences(resource) == ()
    assert (Path(resource.path) / "weights").stat().st_ino == first.st_ino  # what was whole was left alone
    bench.remove(resource)
    bench.remove(resource)
    assert not Path(resource.path).exists()
    assert Path(resource.files[0].local).exists()


def test_removing_model_files_leaves_what_others_put_beside_them(bench: Bench, tmp_path: Path) -> None:
    resource = model_files(tmp_path, weights=b"GGUF", sub__config=b"{}")
    bench.apply(resource)
    (Path(resource.path) / "theirs").write_text("theirs")
    bench.remove(resource)
    assert [path.name for path in Path(resource.path).iterdir()] == ["theirs"]


def test_model_files_of_other_content_are_refused(bench: Bench, tmp_path: Path) -> None:
    resource = model_files(tmp_path, weights=b"GGUF")
    Path(resource.files[0].local).write_bytes(b"evil")
    with pytest.raises(DeployError):
        bench.apply(resource)
    assert not (Path(resource.path) / "weights").exists()


def venv(folder: Path, **changes: object) -> Venv:
    given = {"path": f"{folder}/a venv", "python": sys.executable, "steps": (), "check": "import json", **changes}
    return Venv.model_validate(given)


def test_an_environment_counts_only_when_it_is_whole(bench: Bench, tmp_path: Path) -> None:
    broken = venv(tmp_path, check="raise SystemExit('the check says no')")
    with pytest.raises(DeployError) as failed:
        bench.apply(broken)
    assert "the check says no" in failed.value.why
    assert not bench.see(broken).exists
    whole = venv(tmp_path)
    bench.apply(whole)
    assert bench.differences(whole) == ()
    other = venv(tmp_path, steps=(("--version",),))
    assert [item.field for item in bench.differences(other)] == ["recipe"]
    bench.remove(whole)
    bench.remove(whole)
    assert list(tmp_path.iterdir()) == []


PRETEND = """
import json, os, sys
source, target, digest = sys.argv[1:]
print("progress: 1/1", flush=True)
if os.path.getsize(source) == 0: sys.exit("nothing to convert")
os.makedirs(target)
json.dump({"source_sha256": digest}, open(os.path.join(target, "deployctl.json"), "w"))
"""


def converted(folder: Path) -> Converted:
    path = f"{folder}/it's a model-bf16"
    return Converted(
        path=path,
        source=f"{folder}/weights.gguf",
        sha256="ab" * 32,
        command_words=(sys.executable, "-"),
        inside_source=f"{folder}/weights.gguf",
        inside_path=path,
        program=PRETEND,
    )


def test_a_conversion_is_done_once_for_each_source(bench: Bench, tmp_path: Path) -> None:
    resource = converted(tmp_path)
    Path(resource.source).write_bytes(b"GGUF")
    assert not bench.see(resource).exists
    bench.apply(resource)
    assert bench.differences(resource) == ()
    other = resource.model_copy(update={"sha256": "cd" * 32})
    assert [item.field for item in bench.differences(other)] == ["source"]
    (tmp_path / "it's a model-bf16.part1").mkdir()  # of a run that was cut
    bench.remove(resource)
    bench.remove(resource)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.gguf"]


def test_a_conversion_that_fails_says_why(bench: Bench, tmp_path: Path) -> None:
    resource = converted(tmp_path)
    Path(resource.source).write_bytes(b"")
    with pytest.raises(DeployError) as failed:
        bench.apply(resource)
    assert "nothing to convert" in failed.value.why
    assert not bench.see(resource).exists


def ollama_model(folder: Path) -> OllamaModel:
    return OllamaModel(
        name="team/qwen:14b",
        api="http://127.0.0.1:9",
        binary="/nonexistent/ollama",
        modelfile=f"{folder}/Modelfile",
        modelfile_sha256="11" * 32,
        gguf=f"{folder}/weights.gguf",
        sha256="22" * 32,
        store=f"{folder}/store",
        owner="",
        mark=f"{folder}/mark",
    )


def test_a_model_in_ollama_is_seen_without_its_server(bench: Bench, tmp_path: Path) -> None:
    resource = ollama_model(tmp_path)
    assert not bench.see(resource).exists
    manifest = tmp_path / "store/manifests/registry.ollama.ai/team/qwen/14b"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"layers": []}))
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    (tmp_path / "mark").write_text(f"{resource.modelfile_sha256} {digest}")
    assert [item.field for item in bench.differences(resource)] == ["blob"]
    (tmp_path / "store/blobs").mkdir()
    (tmp_path / f"store/blobs/sha256-{resource.sha256}").write_bytes(b"")
    assert bench.differences(resource) == ()
    manifest.write_text("{}")  # `ollama create` by hand, under the same name
    assert [item.observed for item in bench.differences(resource)] == ["changed by hand"]
    bench.remove(resource)
    assert not manifest.exists()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("qwen", "registry.ollama.ai/library/qwen/latest"),
        ("qwen:14b", "registry.ollama.ai/library/qwen/14b"),
        ("team/qwen:14b", "registry.ollama.ai/team/qwen/14b"),
        ("hub.example.org/team/qwen", "hub.example.org/team/qwen/latest"),
    ],
)
def test_the_manifest_lies_where_ollama_puts_it(tmp_path: Path, name: str, place: str) -> None:
    resource = ollama_model(tmp_path).model_copy(update={"name": name})
    assert resource.manifest == f"{tmp_path}/store/manifests/{place}"


class Broken:
    """A host on which every command fails."""

    name = "gpu01"
    is_local = False

    def run(self, script: str, **_: object) -> Result:
        return Result(1, "", "rm: cannot remove: Read-only file system")

    def http(self, request: object) -> None:
        return None


def test_a_package_that_pip_cannot_find_is_told_with_the_remedy(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(DeployError) as caught:
        bench.apply(venv(tmp_path, steps=(("install", "--no-index", "no-such-package==1.0"),)))
    assert "No matching distribution" in caught.value.why
    assert "--pip-arg=--extra-index-url=URL" in caught.value.remedy


@pytest.mark.parametrize("make", [release, model_files, venv, converted, ollama_model], ids=lambda make: make.__name__)
def test_what_cannot_be_removed_is_a_failure(tmp_path: Path, make: type[Resource]) -> None:
    """Else `down` would forget what is still there."""
    resource = model_files(tmp_path, weights=b"x") if make is model_files else make(tmp_path)  # type: ignore[comparison-overlap,call-arg]
    with pytest.raises(DeployError) as failed:
        resource.remove(Broken(), Quiet())  # type: ignore[arg-type]
    assert failed.value.host == "gpu01"
    assert "Read-only" in failed.value.why

"""What an audit says of each kind of thing that is fetched: whence, by which hash, and whether it may change."""

from __future__ import annotations

from orchestrator.doctor.audit import audit, hashed
from orchestrator.health.endpoint import Endpoint
from orchestrator.models.resolved import ModelFile
from orchestrator.planning.manifest import Entry, Manifest
from orchestrator.resources.base import Observed
from orchestrator.resources.files import File
from orchestrator.resources.image import Image
from orchestrator.resources.model_files import ModelFiles
from orchestrator.resources.registry import AnyResource
from orchestrator.resources.release import Release
from orchestrator.resources.vendor import VendorEngine
from orchestrator.resources.venv import Venv

SHA, OTHER, GIT = "a" * 64, "b" * 64, "c" * 40
ENDPOINT = Endpoint(
    runtime="vllm", url="http://127.0.0.1:5000/v1", probe_url="http://127.0.0.1:5000", model="m", key_file=None
)
FILE = File(path="/etc/deployctl/vllm/x", content="x", owner="root", group="root")
RELEASE = Release(
    path="/opt/deployctl/ollama/1", source="https://u:p@mirror/o.tgz?token=t", sha256=SHA, size=1, binary="bin/ollama"
)
MODEL = ModelFiles(
    path="/m/o/r/1",
    files=(
        ModelFile(path="m.gguf", url="https://hub/o/r/resolve/0123abcd/m.gguf", size=7, sha256=SHA),
        ModelFile(path="config.json", local="/home/ada/config.json", size=3, git_sha1=GIT),
    ),
)


def looked(resource: AnyResource, **seen: object):
    """The audit of a deployment that is made of one resource, as it is seen now."""
    manifest = Manifest(
        name="vllm",
        runtime="vllm",
        status="applied",
        applied_at="2026-11-24T12:00:00+00:00",
        applied_by="ada@desk",
        tool="0.1.0",
        summary={},
        endpoint=ENDPOINT,
        service="",
        entries=(Entry(resource=resource),),
    )
    return audit(manifest, {resource.address: Observed(exists=bool(seen), fields=seen)})


def test_an_archive_is_pinned_by_its_digest_and_its_url_tells_no_secret() -> None:
    (item,) = looked(RELEASE, sha256=SHA, binary="yes")
    (origin,) = item.origins
    assert (origin.source, origin.pin, origin.here) == ("https://mirror/o.tgz", f"sha256:{SHA}", f"sha256:{SHA}")
    assert (item.unpinned, item.drift) == (False, None)


def test_an_archive_of_other_content_and_one_that_is_gone_differ() -> None:
    (other,) = looked(RELEASE, sha256=OTHER, binary="yes")
    assert other.drift is not None
    assert [difference.field for difference in other.drift.differences] == ["sha256"]
    (gone,) = looked(RELEASE)
    assert gone.drift is not None


def test_an_image_is_pinned_by_a_digest_only() -> None:
    (tagged,) = looked(Image(reference="vllm/vllm-openai:v0.32.0"), id=f"sha256:{OTHER}")
    assert tagged.unpinned and tagged.origins[0].here == f"sha256:{OTHER}" and tagged.origins[0].pin == ""
    (pinned,) = looked(Image(reference=f"vllm/vllm-openai@sha256:{SHA}"), id=f"sha256:{OTHER}")
    assert not pinned.unpinned and pinned.origins[0].pin == f"sha256:{SHA}"
    (loaded,) = looked(Image(reference="vllm:x", archive="/srv/vllm.tar"), id=f"sha256:{OTHER}")
    assert loaded.origins[0].source == "/srv/vllm.tar"


def test_each_file_of_a_model_has_its_commit_and_its_digest() -> None:
    (item,) = looked(MODEL, **{"m.gguf": 7, "config.json": 3})
    assert [(origin.part, origin.source, origin.pin) for origin in item.origins] == [
        ("m.gguf", "https://hub/o/r/resolve/0123abcd/m.gguf", f"sha256:{SHA}"),
        ("config.json", "/home/ada/config.json", f"git-sha1:{GIT}"),
    ]
    assert (item.unpinned, item.drift) == (False, None)
    (cut,) = looked(MODEL, **{"m.gguf": 6, "config.json": 3})
    assert cut.drift is not None


def test_wheels_are_pinned_by_digests_only() -> None:
    def unpinned(*words: str) -> bool:
        venv = Venv(path="/opt/venv", python="/usr/bin/python3", steps=(("install", *words), ("uninstall", "-y", "x")))
        (item,) = looked(venv, recipe=venv.recipe, python="yes")
        assert item.origins[0].pin == f"recipe:{venv.recipe}"
        return item.unpinned

    assert unpinned("vllm==0.32.0")
    assert not unpinned("--require-hashes", "-r", "/srv/vllm.lock")
    assert not unpinned(f"vllm==0.32.0 --hash=sha256:{SHA}")


def test_a_vendor_s_engine_is_nobody_s_to_pin() -> None:
    engine = VendorEngine(binary="/usr/local/bin/ollama", mark="/m", started="/s")
    (item,) = looked(engine, version="1", binary=SHA, unit="", was={"version": "1", "binary": SHA, "unit": ""})
    assert item.unpinned and item.origins[0].here == f"sha256:{SHA}" and item.drift is None


def test_what_we_wrote_is_told_only_where_it_differs() -> None:
    assert looked(FILE, **FILE.wanted()) == ()
    (changed,) = looked(FILE, **{**FILE.wanted(), "sha256": OTHER})
    assert changed.origins == () and changed.drift is not None


def test_a_file_that_was_hashed_again_is_what_it_was_or_not() -> None:
    whole = looked(MODEL, **{"m.gguf": 7, "config.json": 3})
    right = hashed(whole, {"/m/o/r/1/m.gguf": f"sha256:{SHA}", "/m/o/r/1/config.json": f"git-sha1:{GIT}"})
    assert not right[0].replaced and right[0].origins[0].here == right[0].origins[0].pin
    wrong = hashed(whole, {"/m/o/r/1/m.gguf": f"sha256:{OTHER}"})
    assert wrong[0].replaced and wrong[0].drift is None

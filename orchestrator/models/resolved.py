"""What a model reference turned out to be: pinned files with their sizes and digests, as JSON-able values."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeInt

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Sha1 = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def has_control(text: str) -> bool:
    """Whether a name holds a control character (line feeds among them), which no file of ours may have."""
    return _CONTROL.search(text) is not None


def is_inside(path: str) -> bool:
    """Whether a repository path stays inside the folder it is put in: relative, no ``..``, nothing unprintable."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path
    return plain and not has_control(path) and str(PurePosixPath(path)) == path


def _inside(path: str) -> str:
    if not is_inside(path):
        raise ValueError("must stay inside its folder")
    return path


RepoPath = Annotated[str, AfterValidator(_inside)]


class ModelFile(BaseModel):
    """One file of a model. It comes from ``url``, or, where that is empty, from ``local`` on the controller.

    ``size`` is in bytes. The Hub knows the sha256 of a large (LFS) file and the git blob sha1 of any other;
    of a local file the sha256 is computed. One of the two is always there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: RepoPath
    url: str = ""
    local: str = ""
    size: NonNegativeInt
    sha256: Sha256 | None = None
    git_sha1: Sha1 | None = None


class ResolvedFiles(BaseModel):
    """Some files of one commit of a repository. ``repo`` and ``commit`` are empty for local files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str = ""
    commit: str = ""
    files: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def file(self, path: str) -> ModelFile | None:
        """The file of that path, if it is one of these."""
        return next((file for file in self.files if file.path == path), None)


class ResolvedModel(ResolvedFiles):
    """A model, ready to be delivered.

    ``main_file`` is what a runtime is pointed at: the GGUF (the first shard of a split one, in whose order
    ``files`` are), or the first weight file of a safetensors folder. ``quant`` is the GGUF's quantization label
    ("Q4_K_M"), and empty for safetensors, whose config.json tells.
    """

    format: Literal["gguf", "safetensors"]
    main_file: RepoPath
    quant: str = ""

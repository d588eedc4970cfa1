"""Pack the double as the official archive: ``bin/ollama``, ``lib/ollama/llama-server``, ``lib/ollama/llama-quantize``.

``bin/ollama`` is one file (a zip with a shebang), so that it runs without its ``lib/ollama``, as the real one does.
It needs ``/usr/bin/python3``, version 3.11 or newer, with the whole standard library (Debian: ``python3``, not
``python3-minimal``).
"""

import gzip
import hashlib
import io
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_HERE = Path(__file__).parent
_MAIN = "import sys\n\nfrom program.cli import main\n\nsys.exit(main())\n"
_EPOCH = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Archive:
    """A packed double; `sha256` is the hex digest of the file."""

    path: Path
    sha256: str


def make_archive(
    destination: Path, *, format: Literal["tar.zst", "tgz"] = "tar.zst", version: str = "0.33.0"
) -> Archive:
    """Write the archive for `version` to `destination`, a file; the same arguments give the same bytes."""
    packed = _tar(version)
    if format == "tgz":
        content = gzip.compress(packed, mtime=0)
    else:
        content = subprocess.run(["zstd", "-q", "-c"], input=packed, capture_output=True, check=True).stdout
    destination.write_bytes(content)
    return Archive(destination, hashlib.sha256(content).hexdigest())


def _tar(version: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, "bin/ollama", _program(version))
        for name in ("llama-quantize", "llama-server"):
            _add(tar, f"lib/ollama/{name}", (_HERE / "lib" / name).read_bytes())
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o755
    entry.mtime = 1_767_225_600
    tar.addfile(entry, io.BytesIO(content))


def _program(version: str) -> bytes:
    buffer = io.BytesIO(b"#!/usr/bin/python3\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as package:
        package.writestr(zipfile.ZipInfo("__main__.py", _EPOCH), _MAIN)
        for path in sorted((_HERE / "program").glob("*.py")):
            content = path.read_text(encoding="utf-8")
            if path.name == "version.py":
                content = f'"""The version of this archive."""\n\nVERSION = "{version}"\n'
            package.writestr(zipfile.ZipInfo(f"program/{path.name}", _EPOCH), content)
    return buffer.getvalue()

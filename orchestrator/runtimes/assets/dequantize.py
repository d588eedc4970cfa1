"""Turn a GGUF file into a folder of bf16 safetensors that vLLM serves on a CPU, where its GGUF kernels do not run.

Runs on the host with the Python of the vLLM venv or image, and imports nothing of deployctl:

    python - SOURCE.gguf DESTINATION SHA256 < dequantize.py

SHA256 is that of SOURCE, as its deliverer verified it. The work happens in a folder ``DESTINATION.part-…`` of this
run's own, renamed at the end, so DESTINATION is whole or absent. A run that was cut is redone from the start, and one
that still goes on somewhere loses its folder. A DESTINATION whose
``deployctl.json`` names the same sha256 is left as it is. Progress goes to standard output as lines ``progress: TEXT``,
failures to standard error as ``error: TEXT``. Exit status: 0 done, 1 failed, 2 usage, 3 a package is missing.

Only transformers' ``GgufConfig(dequantize=True)`` (5.19 or newer) gives weights that can be saved again.
"""

import argparse
import glob
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path

MARKER = "deployctl.json"
"""Written last into the folder: what it was made from."""

MISSING_PACKAGE = 3
FAILED = 1
PACKAGES = ("torch", "transformers", "safetensors", "accelerate", "gguf")
MIB = 1024 * 1024


def progress(text: str) -> None:
    """Say one line, at once (standard output is a pipe here)."""
    print(f"progress: {text}", flush=True)


def is_done(destination: Path, sha256: str) -> bool:
    """Whether the folder is whole and was made from the file with this sha256."""
    try:
        marker = json.loads((destination / MARKER).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("source_sha256") == sha256


def missing_packages() -> list[str]:
    """The packages this script needs and the Python that runs it does not have."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def convert(source: Path, folder: Path) -> None:
    """Write the model and its tokenizer (with the chat template of the GGUF) into the folder."""
    import torch  # type: ignore[import-not-found]  # installed on the host only
    from transformers import (  # type: ignore[import-not-found]  # installed on the host only
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
    )

    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name, "local_files_only": True}
    progress("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(**place)
    progress(f"dequantizing {source.name} ({source.stat().st_size // MIB} MiB)")
    model = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    progress(f"writing {model.num_parameters() * 2 // MIB} MiB of bf16 weights")
    model.save_pretrained(folder, max_shard_size="4GB")
    tokenizer.save_pretrained(folder)


def settle(folder: Path) -> None:
    """Make every file readable by the user the engine runs as (transformers writes weights as 0600), and durable."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_marker(folder: Path, source: Path, sha256: str) -> None:
    """Record what the folder was made from and by which transformers."""
    marker = {
        "schema": 1,
        "source": source.name,
        "source_sha256": sha256,
        "dtype": "bfloat16",
        "transformers": importlib.metadata.version("transformers"),
    }
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def discard(path: Path) -> None:
    """Remove a folder (or a file in its place), if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def dequantize(source: Path, destination: Path, sha256: str) -> None:
    """Make DESTINATION from SOURCE, atomically. Whatever was at DESTINATION gives way once the new folder is whole."""
    for old in destination.parent.glob(f"{glob.escape(destination.name)}.part*"):
        discard(old)
    part = destination.with_name(f"{destination.name}.part-{os.urandom(4).hex()}")
    part.mkdir(parents=True)
    try:
        convert(source, part)
        write_marker(part, source, sha256)
        settle(part)
        discard(destination)
        part.rename(destination)
    finally:
        discard(part)


def sha256_hex(text: str) -> str:
    """An argparse type: 64 hexadecimal digits, lower-cased."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError("must be 64 hexadecimal digits")
    return text.lower()


def main() -> int:
    """Parse, convert, and say how it went as the exit status."""
    parser = argparse.ArgumentParser(description="Dequantize a GGUF file into bf16 safetensors.")
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("sha256", type=sha256_hex)
    arguments = parser.parse_args()
    source, destination = arguments.source.absolute(), arguments.destination.absolute()
    if is_done(destination, arguments.sha256):
        progress("already dequantized")
        return 0
    if not source.is_file():
        print(f"error: no such file: {source}", file=sys.stderr)
        return FAILED
    if missing := missing_packages():
        print(f"error: missing Python packages: {' '.join(missing)}", file=sys.stderr)
        return MISSING_PACKAGE
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"})
    try:
        dequantize(source, destination, arguments.sha256)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"error: cannot dequantize {source.name}: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    progress("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())

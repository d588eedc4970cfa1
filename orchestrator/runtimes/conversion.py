"""Dequantizing a GGUF on its host, by the Python that has vLLM: the image's, or the environment's. Pure."""

from importlib.resources import files

from orchestrator.facts import Facts
from orchestrator.resources.converted import Converted
from orchestrator.runtimes.confinement import PIDS_LIMIT

_PACKAGES = ("gguf==0.19.0", "accelerate==1.15.0")
"""What the dequantizer needs beside transformers; vLLM's own CPU image is not known to have them."""


def conversion(folder: str, main_file: str, sha256: str, facts: Facts, *, image: str = "", venv: str = "") -> Converted:
    """The bf16 folder beside ``folder``/``main_file``, made in ``image`` (a container) or by ``venv``'s Python."""
    target = f"{main_file.removesuffix('.gguf')}-bf16"
    inside = "/model" if image else folder
    container = f"deployctl-dequantize-{sha256[:12]}" if image else ""
    return Converted(
        path=f"{folder}/{target}",
        source=f"{folder}/{main_file}",
        sha256=sha256,
        command_words=_in_image(folder, image, facts, container) if image else (f"{venv}/bin/python", "-"),
        inside_source=f"{inside}/{main_file}",
        inside_path=f"{inside}/{target}",
        container=container,
        program=files("orchestrator.runtimes").joinpath("assets/dequantize.py").read_text(encoding="utf-8"),
    )


def _in_image(folder: str, image: str, facts: Facts, name: str) -> tuple[str, ...]:
    """A throw-away container that sees the model's folder and nothing else, and reads its program from stdin."""
    rights = ("--cap-drop=ALL", "--security-opt=no-new-privileges", f"--pids-limit={PIDS_LIMIT}")
    guard = (*rights, "--read-only", "--tmpfs=/tmp:exec,nosuid,nodev,mode=1777")
    user = (f"--user={facts.uid}:{facts.gid}", "--env=HOME=/tmp", "--env=USER=vllm", "--env=LOGNAME=vllm")
    # Where the image lacks the two packages, they come from PyPI into this container and go with it.
    shell = (
        'python3 -c "import gguf, accelerate" 2>/dev/null || '
        f"python3 -m pip install -q --no-deps --target /tmp/more {' '.join(_PACKAGES)}; "
        'PYTHONPATH=/tmp/more exec python3 - "$@"'
    )
    mount = ("-v", f"{folder}:/model")
    begin = ("docker", "run", "--rm", "-i", f"--name={name}", *guard, *user, *mount)
    return (*begin, "--entrypoint=sh", image, "-c", shell, "dequantize")

"""``POST /api/create``: from an uploaded GGUF or from a stored model to a new name."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import names
from .engine import Engine
from .gguf import GGUFError, Header, read_header
from .store import Layer, NotFound
from .wire import Answer, go_json, human_count

_PREFIX = "failed to validate GGUF with llama-quantize without compatibility patches: "
_REGISTRY = "registry.ollama.ai"


def create(engine: Engine, request: dict[str, Any]) -> Iterator[str]:
    """Do it, one status after the other; Answer with the status that a client without a stream gets."""
    name = names.parse(str(request.get("model") or request.get("name") or ""))
    if name is None:
        raise Answer(400, "invalid model name")
    if request.get("from"):
        layers, header, used = _from_model(engine, str(request["from"]))
    else:
        yield "parsing GGUF"
        layers, header = _from_file(engine, request["files"])
        used = {layer.digest for layer in layers}
        yield "verifying conversion"
        _verify(engine, engine.store.blob(layers[0].digest))
    template = request.get("template") or ""
    _check_template(template)
    contents = _contents(engine, layers, request)
    layers = [layer for layer in layers if layer.kind not in contents]
    for kind, content in contents.items():
        layer, existed = engine.store.add_layer(kind, content)
        layers.append(layer)
        if existed:
            used.add(layer.digest)
    for layer in layers:
        yield f"{'using existing' if layer.digest in used else 'creating new'} layer {layer.digest}"
    config, _ = engine.store.add_layer("config", go_json(_config(header, layers)).encode())
    yield "writing manifest"
    engine.store.write_manifest(name, config, layers)
    yield "success"


def check_request(request: dict[str, Any]) -> None:
    """What is refused before a stream starts; Answer 400."""
    name = str(request.get("model") or request.get("name") or "")
    origin = request.get("from")
    if names.parse(name) is None or (origin and names.parse(str(origin)) is None):
        raise Answer(400, "invalid model name")
    if not request.get("from") and not request.get("files"):
        raise Answer(400, "neither 'from' or 'files' was specified")


def pull_error(name: names.Name) -> str:
    """What a pull ends with on a machine without internet."""
    address = f"https://{_REGISTRY}/v2/{name.namespace}/{name.model}/manifests/{name.tag}"
    return f'pull model manifest: Get "{address}": dial tcp: lookup {_REGISTRY}: no such host'


def _from_model(engine: Engine, origin: str) -> tuple[list[Layer], Header, set[str]]:
    try:
        base = engine.store.find(origin)
    except NotFound:
        name = names.parse(origin)
        raise Answer(500, pull_error(name) if name else "invalid model name") from None
    return list(base.layers), engine.header(base, origin), {layer.digest for layer in base.layers}


def _from_file(engine: Engine, files: dict[str, str]) -> tuple[list[Layer], Header]:
    digest = next(iter(files.values()))
    blob = engine.store.blob(digest)
    if not blob.exists():
        raise Answer(500, f"open {blob}: no such file or directory")
    try:
        header = read_header(blob)
    except GGUFError as error:
        raise Answer(400, str(error)) from None
    return [Layer("model", digest, blob.stat().st_size)], header


def _verify(engine: Engine, blob: Path) -> None:
    program = engine.settings.library / "llama-quantize"
    if not program.is_file():
        raise Answer(500, _PREFIX + "llama-quantize binary not found")
    folder = Path(tempfile.mkdtemp(dir=engine.store.blobs, prefix="COPY"))
    try:
        command = [str(program), str(blob), str(folder / "out.gguf"), "COPY"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False)
    finally:
        shutil.rmtree(folder)
    if done.returncode:
        raise Answer(500, f"{_PREFIX}llama-quantize failed: exit status {done.returncode}")


def _check_template(template: str) -> None:
    start = 0
    while (opened := template.find("{{", start)) >= 0:
        closed = template.find("}}", opened)
        if closed < 0:
            line = template.count("\n", 0, opened) + 1
            raise Answer(400, f"template error: template: :{line}: unclosed action")
        start = closed + 2


def _contents(engine: Engine, layers: list[Layer], request: dict[str, Any]) -> dict[str, bytes]:
    contents = {kind: str(request[kind]).encode() for kind in ("template", "system", "license") if request.get(kind)}
    if request.get("messages"):
        contents["messages"] = go_json(request["messages"]).encode() + b"\n"
    base = next((layer for layer in layers if layer.kind == "params"), None)
    earlier = engine.store.parameters(base) if base else {}
    parameters = {**earlier, **(request.get("parameters") or {})}
    if parameters:
        contents["params"] = go_json(dict(sorted(parameters.items()))).encode() + b"\n"
    return contents


def _config(header: Header, layers: list[Layer]) -> dict[str, object]:
    return {
        "model_format": "gguf",
        "model_family": header.architecture,
        "model_families": [header.architecture],
        "model_type": human_count(header.parameters),
        "file_type": header.file_type,
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }

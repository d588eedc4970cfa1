"""What `deployctl up` has made on a machine, as plain values that a playbook and a pyinfra deploy can assert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab.machines import Machine

_MANIFEST = "/var/lib/deployctl/deployments/{name}/manifest.json"


def read_state(machine: Machine, name: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The resources of a deployment, by how they are asserted; the contents of its files are put in `folder`.

    `sizes` and `digests` are what deployctl itself looks at: the size of a model's file, whose name is its proof, and
    the sha256 of what says which engine was unpacked and which model was made. Raises KeyError for a kind of resource
    that is not known here, so that none is left out in silence.
    """
    manifest = json.loads(machine.exec(f"cat {_MANIFEST.format(name=name)}"))
    state: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
    for entry in manifest["entries"]:
        resource = entry["resource"]
        for kind, values in _READERS[resource["kind"]](machine, resource, folder):
            state[kind].append(values)
    return state


_KINDS = ("accounts", "directories", "files", "kept", "sizes", "digests", "units", "images", "containers")
_Found = list[tuple[str, dict[str, Any]]]


def _owned(resource: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": resource["path"],
        "owner": resource["owner"],
        "group": resource["group"],
        "mode": f"0{resource['mode']}",
    }


def _account(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    """Only the groups that the machine has, as deployctl does."""
    has = set(machine.exec("getent group | cut -d : -f 1").split())
    groups = [group for group in resource["groups"] if group in has]
    return [("accounts", {"name": resource["name"], "home": resource["home"], "groups": groups})]


def _directory(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    return [("directories", _owned(resource))]


def _file(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    source = folder / resource["path"].strip("/").replace("/", "_")
    source.write_text(resource["content"])
    return [("files", {**_owned(resource), "source": str(source)})]


def _kept(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    """A file that is made once: what is in it is nobody's to assert."""
    return [("kept", _owned(resource))]


def _program(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    return [("sizes", _size(machine, resource["path"]))]


def _release(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    binary = f"{resource['path']}/{resource['binary']}"
    return [_digest(machine, f"{resource['path']}/.deployctl-sha256"), ("sizes", _size(machine, binary))]


def _model_files(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    paths = [f"{resource['path']}/{file['path']}" for file in resource["files"]]
    return [("sizes", _size(machine, path)) for path in paths]


def _ollama_model(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    store = resource["store"]
    manifest = f"{store}/manifests/registry.ollama.ai/library/{resource['name']}/latest"
    return [_digest(machine, manifest), ("sizes", _size(machine, f"{store}/blobs/sha256-{resource['sha256']}"))]


def _unit(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    return [("units", {"name": resource["name"]})]


def _image(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    return [("images", {"reference": resource["reference"]})]


def _container(machine: Machine, resource: dict[str, Any], folder: Path) -> _Found:
    spec = resource["spec"]
    label = machine.exec(
        "docker container inspect --format '{{index .Config.Labels \"deployctl.fingerprint\"}}' " + spec["name"]
    )
    return [("containers", {"name": spec["name"], "image": spec["image"], "fingerprint": label.strip()})]


def _digest(machine: Machine, path: str) -> tuple[str, dict[str, Any]]:
    return "digests", {"path": path, "sha256": machine.exec(f"sha256sum < '{path}'").split()[0]}


def _size(machine: Machine, path: str) -> dict[str, Any]:
    return {"path": path, "size": int(machine.exec(f"stat -L -c %s '{path}'"))}


_READERS = {
    "account": _account,
    "directory": _directory,
    "file": _file,
    "unit-file": _file,
    "gateway-site": _file,
    "gateway-keys": _kept,
    "program": _program,
    "release": _release,
    "model-files": _model_files,
    "ollama-model": _ollama_model,
    "unit": _unit,
    "image": _image,
    "container": _container,
}

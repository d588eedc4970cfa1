"""From a file, a host's variables and the command line to a Spec."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from orchestrator.spec.document import Document, read_document
from orchestrator.spec.host_entry import HostEntry
from orchestrator.spec.models import RUNTIMES, Spec
from orchestrator.spec.nested import put
from orchestrator.spec.problems import Origins, Path, validated

DEFAULT_FILE = "deployctl.yaml"


def load_spec(
    path: FilePath | None,
    overrides: Mapping[str, object] | None = None,
    *,
    option_names: Mapping[str, str] | None = None,
    host: HostEntry | None = None,
    runtimes: Sequence[str] = (),
) -> Spec:
    """The spec of a file (None: the worked example's defaults) as it is for a host, with overrides on top.

    ``overrides`` are dotted keys (``"vllm.gpu_mem"``); later ones win, and a mapping is merged into what is there.
    ``option_names`` says how to name each in a message (``{"vllm.gpu_mem": "--gpu-mem"}``). ``runtimes`` are those the
    user named: they get a section even when the file has none. The host's variables come between file and overrides;
    those of a runtime that is not wanted change nothing. Raises UsageError that lists every problem.
    """
    document = read_document(path) if path is not None else Document("")
    data = document.data
    for runtime in RUNTIMES:
        if runtime in runtimes or runtime in data:
            data[runtime] = {} if data.get(runtime) is None else data[runtime]  # `vllm:` alone: vLLM, all defaults
    labels: dict[Path, str] = {}
    for key, value, label in _changes(data, overrides or {}, option_names or {}, host):
        labels.update(dict.fromkeys(put(data, key, value), label))
    return validated(Spec, data, Origins(document.file, document.lines, labels))


def _changes(
    data: Mapping[str, Any], overrides: Mapping[str, object], names: Mapping[str, str], host: HostEntry | None
) -> Iterator[tuple[str, object, str]]:
    """What goes on top of the file, the strongest last: dotted key, value, and how to name it in a message."""
    if host:
        for key, value in host.vars.items():
            runtime = key.partition(".")[0]
            if runtime not in RUNTIMES or runtime in data:
                yield key, value, host.origins.get(key, key)
    for key, value in overrides.items():
        yield key, value, names.get(key, key)

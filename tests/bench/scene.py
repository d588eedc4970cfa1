"""The machines of the benchmark, and what is deployed there before anything is measured."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.doubles.gguf import write_gguf
from tests.doubles.ollama.archive import make_archive
from tests.hosts.support import Controller
from tests.lab.lab import Lab
from tests.lab.machines import Machine

_HERE = Path(__file__).parent
_IMAGE = "vllm/vllm-openai-cpu:v0.32.0"
# A root with Python's standard library and the double, of the machine's own files: nothing is downloaded.
_BUILD = f"""
libraries=$(ldd /usr/bin/python3 | grep -o '/lib[^ ]*' | cut -c 2-)
cd / && tar -ch usr/local/bin/vllm usr/bin/python3 usr/lib/python3.11 $libraries |
  docker import -c 'ENTRYPOINT ["vllm","serve"]' -c 'ENV PATH=/usr/local/bin:/usr/bin:/bin' - {_IMAGE}
rm /usr/local/bin/vllm
"""


@dataclass
class Scene:
    """A controller and its machines, the first of which has a Docker Engine."""

    lab: Lab
    folder: Path
    controller: Controller
    machines: list[Machine] = field(default_factory=list)

    def add(self, name: str, *, engine: bool) -> Machine:
        """Start a machine whose sshd says what it is asked for."""
        machine = self.lab.machine(name, engine=engine)
        machine.put("/etc/ssh/sshd_config.d/bench.conf", "LogLevel VERBOSE\nMaxStartups 100\n")
        machine.exec("systemctl reload ssh")
        self.machines.append(machine)
        self.controller.knows(self.machines)
        return machine

    def ollama(self) -> list[str]:
        """The words of `up ollama`, with the double's archive and a model's file that lie on the controller."""
        archive, model = self.folder / "ollama.tar.zst", self.folder / "tiny-Q4_K_M.gguf"
        if not archive.exists():
            make_archive(archive)
            write_gguf(model)
        return ["ollama", "--archive", str(archive), "--model", str(model)]

    def vllm(self, machine: Machine) -> list[str]:
        """The words of `up vllm` in a container; makes the image on the machine's engine."""
        machine.put("/usr/local/bin/vllm", (_HERE / "vllm_double.py").read_bytes(), mode="755")
        machine.exec(_BUILD)
        small = ("--max-model-len", "2048", "--cpu-kv-cache", "1", "--served-name", "tiny")
        image = ("--image", _IMAGE, "--engine-version", "0.32.0")
        return ["vllm", "--device", "cpu", "--runner", "container", "--model", str(self._model()), *image, *small]

    def up(self, words: Sequence[str], hosts: Sequence[str]) -> None:
        """Deploy for the first time."""
        self.controller("up", *words, *(word for host in hosts for word in ("--host", host)), "--yes").ended(0)

    def _model(self) -> Path:
        """A folder of safetensors that no engine loads."""
        model = self.folder / "model"
        model.mkdir()
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 2048}
        (model / "config.json").write_text(json.dumps(config))
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (model / name).write_text("{}")
        header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        return model

"""GGUF weights dequantized to safetensors on the host, once: vLLM's GGUF kernels need CUDA."""

from typing import ClassVar, Literal

from orchestrator.errors import DeployError
from orchestrator.health.diagnosis import advice
from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin


class Converted(Resource):
    """A folder of bf16 safetensors made from ``source``, a GGUF on the host whose content is ``sha256``.

    ``command_words`` start a Python that has transformers, gguf and accelerate and reads its program from standard
    input (``-``); ``program`` is called with source and destination as ``inside_source`` and ``inside_path``,
    the same paths as that Python sees them (in a container they differ). ``container`` is the name of the throw-away
    container that the words run in, where they do: it outlives a run that is cut, so the next one ends it first.
    """

    title: ClassVar[str] = "converted model"
    part: ClassVar[bool] = True
    kind: Literal["converted-model"] = "converted-model"
    keep: bool = True
    path: str
    source: str
    sha256: str
    command_words: tuple[str, ...]
    inside_source: str
    inside_path: str
    program: str
    container: str = ""

    @property
    def identity(self) -> str:
        """The folder."""
        return self.path

    def probe(self) -> str:
        """Which GGUF it was made from, as its marker says."""
        marker = quote(f"{self.path}/deployctl.json")
        return f'field source "$(sed -n \'s/.*"source_sha256": *"\\([0-9a-f]*\\)".*/\\1/p\' {marker})"'

    def parse(self, output: str) -> Observed:
        """Read it."""
        source = fields(output).get("source", "")
        return Observed(exists=bool(source), fields={"source": source})

    def wanted(self) -> Fields:
        """Made from this GGUF."""
        return {"source": self.sha256}

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """Made on the host, from a GGUF of this content."""
        source = observed.fields.get("source", "")
        here = f"sha256:{source}" if source else ""
        return (Origin(source=f"dequantized from {self.source}", pin=f"sha256:{self.sha256}", here=here),)

    def command(self) -> str:
        """The program, and what it is called with."""
        words = " ".join(
            quote(word) for word in [*self.command_words, self.inside_source, self.inside_path, self.sha256]
        )
        return f"{words} < dequantize.py"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Convert. It takes about 40 s per 100 MB on two cores. Raises DeployError with the program's last lines."""
        words = [*self.command_words, self.inside_source, self.inside_path, self.sha256]
        alone = f"docker rm -f {quote(self.container)} </dev/null >/dev/null 2>&1; " if self.container else ""
        script = f"umask 022; {alone}exec {' '.join(quote(word) for word in words)}"
        with progress.task(f"dequantize {self.source.rsplit('/', 1)[-1]} for the CPU") as task:
            result = host.run(
                script,
                timeout=6 * 3600,
                stdin=self.program.encode(),
                on_line=lambda line: task.message(line.removeprefix("progress:").strip()),
            )
        if not result:
            raise DeployError(
                f"cannot dequantize {self.source}", host=host.name, why=result.tail(), remedy=advice(result.tail())
            )

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete the folder, and what a run that was cut has left of it or at it."""
        end = f"docker rm -f {quote(self.container)} >/dev/null 2>&1\n" if self.container else ""
        script = f"{end}rm -rf -- {quote(self.path)} {quote(self.path)}.part*"
        run_or_fail(host, f"cannot remove {self.path}", script, timeout=600)

"""Models in an Ollama's store, made from a GGUF by content address: no second copy on disk (DESIGN 5.8)."""

import json
from typing import ClassVar, Literal

from orchestrator.errors import DeployError, UnhealthyError
from orchestrator.health.diagnosis import advice
from orchestrator.hosts.base import Host, HttpRequest, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin
from orchestrator.resources.scripts import script

_NO_ANSWER = 9  # what the script exits with when there is no server to make a model in


class OllamaModel(Resource):
    """A model that Ollama lists under ``name``, made from ``modelfile`` (a path on the host).

    ``gguf`` is the model file and ``sha256`` its content; ``store`` is OLLAMA_MODELS, ``owner`` the ``user:group`` that
    must be able to write there (empty: the user himself); ``mark`` remembers which Modelfile gave which digest.
    Paths and digests follow Ollama's own store (reference/ollama.md): the digest of a model is that of its manifest.
    """

    title: ClassVar[str] = "Ollama model"
    exclusive: ClassVar[bool] = True
    kind: Literal["ollama-model"] = "ollama-model"
    keep: bool = True
    name: str
    api: str
    binary: str
    modelfile: str
    modelfile_sha256: str
    gguf: str
    sha256: str
    store: str
    owner: str
    mark: str

    @property
    def identity(self) -> str:
        """Its name and the store, not the server: at another port it is the same model."""
        return f"{self.name} in {self.store}"

    @property
    def manifest(self) -> str:
        """Where Ollama keeps the model's manifest: HOST/SPACE/NAME, of which a short name has only the end."""
        name, _, tag = self.name.partition(":")
        parts = ["registry.ollama.ai", "library"][: 2 - name.count("/")]
        return "/".join([self.store, "manifests", *parts, name, tag or "latest"])

    def probe(self) -> str:
        """The digest of its manifest, its blob, and what it was made from. Works with the server down."""
        return (
            f'[ -f {quote(self.manifest)} ] && field digest "$(digest {quote(self.manifest)})"\n'
            f"[ -f {quote(f'{self.store}/blobs/sha256-{self.sha256}')} ] && field blob yes\n"
            f'field mark "$(cat {quote(self.mark)})"'
        )

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        modelfile, _, digest = seen.get("mark", "").partition(" ")
        return Observed(
            exists="digest" in seen,
            fields={
                "modelfile": modelfile if seen.get("digest") == digest else "changed by hand",
                "blob": seen.get("blob", "no"),
                "digest": seen.get("digest", ""),
            },
        )

    def wanted(self) -> Fields:
        """Made from this Modelfile, with its weights in the store."""
        return {"modelfile": self.modelfile_sha256, "blob": "yes"}

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """Made on the host, from a GGUF of this content."""
        made = observed.fields.get("digest", "")
        here = f"manifest sha256:{made}" if made else ""
        blob = f"{self.store}/blobs/sha256-{self.sha256}"
        return (Origin(source=self.gguf, path=blob, pin=f"sha256:{self.sha256}", here=here),)

    def command(self) -> str:
        """``ollama create``, after the weights are linked in by content."""
        blob = quote(f"{self.store}/blobs/sha256-{self.sha256}")
        create = (
            f"OLLAMA_HOST={quote(self.api)} {quote(self.binary)} create {quote(self.name)} -f {quote(self.modelfile)}"
        )
        return f"ln {quote(self.gguf)} {blob}\n{create}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Link the weights into the store and let Ollama make the model.

        Raises DeployError with Ollama's words; UnhealthyError when it does not answer.
        """
        create = script(
            "ollama_create",
            api=self.api,
            store=self.store,
            sha256=self.sha256,
            gguf=self.gguf,
            owner=self.owner,
            binary=self.binary,
            name=self.name,
            modelfile=self.modelfile,
            manifest=self.manifest,
            modelfile_sha256=self.modelfile_sha256,
            mark=self.mark,
        )
        with progress.task(f"create the Ollama model {self.name}"):
            result = host.run(create, timeout=3600)
        if result.exited == _NO_ANSWER:
            raise UnhealthyError("Ollama does not answer", host=host.name, why=result.tail(), remedy="deployctl logs")
        if not result:
            raise DeployError(
                f"Ollama could not create the model {self.name}",
                host=host.name,
                why=result.tail(),
                remedy=advice(result.tail()),
            )

    def remove(self, host: Host, progress: Progress) -> None:
        """Ask Ollama to delete it; where that server is not there, remove its manifest and the blobs of no other."""
        body = json.dumps({"model": self.name}).encode()
        headers = {"Content-Type": "application/json"}
        host.http(HttpRequest(f"{self.api}/api/delete", "DELETE", headers, body))
        rest = script("ollama_remove", store=self.store, manifest=self.manifest, mark=self.mark)
        run_or_fail(host, f"cannot remove the model {self.name}", rest, timeout=300)

"""Model files on a host: whole and verified, or not there."""

from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.hosts.base import Host, quote
from orchestrator.hosts.local import LocalHost
from orchestrator.models.access import hub_token
from orchestrator.models.delivery import Delivery
from orchestrator.models.resolved import ModelFile
from orchestrator.models.transfer import deliver
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin, plain


class ModelFiles(Resource):
    """The files of one commit of a model under ``path``, whose name tells the commit.

    A file is visible under its name only when it is whole and its digest was right, so presence and size are proof
    enough afterwards. ``token_env`` names the controller's variable that holds the Hub's token.
    """

    title: ClassVar[str] = "model"
    part: ClassVar[bool] = True
    kind: Literal["model-files"] = "model-files"
    keep: bool = True
    path: str
    files: tuple[ModelFile, ...] = Field(min_length=1)
    mode: Literal["auto", "fetch", "push"] = "auto"
    token_env: str = "HF_TOKEN"  # noqa: S105  (the name of a variable)

    @property
    def identity(self) -> str:
        """The directory, and the first file's name: a GGUF and its tokenizer may share a parent."""
        return f"{self.path}/{self.files[0].path}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def probe(self) -> str:
        """The size of each file."""
        lines = [
            f'p={quote(f"{self.path}/{file.path}")}; [ -f "$p" ] && field {index} "$(wc -c < "$p" | tr -d \' \')"'
            for index, file in enumerate(self.files)
        ]
        return "\n".join(lines)

    def parse(self, output: str) -> Observed:
        """Read them."""
        seen = fields(output)
        sizes = {file.path: int(seen[str(i)]) for i, file in enumerate(self.files) if seen.get(str(i), "").isdigit()}
        return Observed(exists=bool(sizes), fields=sizes)

    def wanted(self) -> Fields:
        """Every file, whole."""
        return {file.path: file.size for file in self.files}

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """Each file's URL, which names the commit, and the digest that it was checked against when it came."""
        return tuple(
            Origin(
                part=file.path,
                source=plain(file.url or file.local),
                path=f"{self.path}/{file.path}",
                pin=f"sha256:{file.sha256}" if file.sha256 else f"git-sha1:{file.git_sha1}",
            )
            for file in self.files
        )

    def command(self) -> str:
        """``curl`` for each file."""
        lines = [
            f"curl -fL --create-dirs -o {quote(f'{self.path}/{file.path}')} {quote(file.url or f'file://{file.local}')}"
            for file in self.files
        ]
        return "\n".join(lines)

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Fetch or push what is missing. Raises DeployError; what has come stays for the next run."""
        missing = [file for file in self.files if observed.fields.get(file.path) != file.size]
        folders = sorted({f"{self.path}/{file.path}".rsplit("/", 1)[0] for file in missing})
        script = "umask 022; mkdir -p -- " + " ".join(quote(folder) for folder in folders)
        run_or_fail(host, f"cannot make {self.path}", script)
        deliver(
            host,
            [Delivery.of(file, f"{self.path}/{file.path}") for file in missing],
            progress=progress,
            mode=self.mode,
            token=hub_token(self.token_env),
            controller=LocalHost(),
        )

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete the directory: it holds this commit and nothing else."""
        path = quote(self.path)
        names = " ".join(quote(f"{self.path}/{file.path}") for file in self.files)
        script = f"rm -f -- {names}\n[ ! -d {path} ] || find {path} -depth -type d -empty -delete\n"
        run_or_fail(host, f"cannot remove {self.path}", script)

"""Python virtual environments on a host."""

import hashlib
import json
from typing import ClassVar, Literal

from orchestrator.errors import DeployError
from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin


def recipe(python: str, steps: tuple[tuple[str, ...], ...]) -> str:
    """The sha256 of what an environment is made by."""
    return hashlib.sha256(json.dumps([python, steps]).encode()).hexdigest()


class Venv(Resource):
    """A virtual environment at ``path``, made with ``python`` and filled by ``steps``.

    Each step is the arguments of one ``pip`` call. It counts as there only once all steps are through, which its
    marker tells; one that was cut is made anew. ``check`` is a Python statement that must run in it. ``compiled`` byte-
    compiles it beforehand, for users who may not write there and would compile anew at each start.
    """

    title: ClassVar[str] = "virtual environment"
    part: ClassVar[bool] = True
    exclusive: ClassVar[bool] = True
    kind: Literal["venv"] = "venv"
    path: str
    python: str
    steps: tuple[tuple[str, ...], ...]
    compiled: bool = False
    check: str = "pass"

    @property
    def identity(self) -> str:
        """The directory."""
        return self.path

    @property
    def recipe(self) -> str:
        """The sha256 of what it is made by."""
        return recipe(self.python, self.steps)

    def probe(self) -> str:
        """The recipe it was made by."""
        return (
            f'field recipe "$(cat {quote(self.path)}/.deployctl-recipe)"\n'
            f"[ -x {quote(self.path)}/bin/python ] && field python yes"
        )

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        return Observed(exists=bool(seen.get("recipe")), fields=dict(seen))

    def wanted(self) -> Fields:
        """Made by this recipe, with its interpreter in place."""
        return {"recipe": self.recipe, "python": "yes"}

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """The index of pip's configuration; the recipe names versions, and wheels only where it has their digests."""
        installs = [step for step in self.steps if step[:1] == ("install",)]
        hashed = all("--require-hashes" in step or any("--hash=" in word for word in step) for step in installs)
        loose = "" if hashed else "versions name its packages, whose digests nobody has checked"
        return (Origin(source="pip's index on the host", pin=f"recipe:{self.recipe}", unpinned=loose),)

    def command(self) -> str:
        """``venv`` and ``pip``."""
        steps = [f"{quote(self.path + '/bin/pip')} {' '.join(quote(word) for word in step)}" for step in self.steps]
        return "\n".join([f"{quote(self.python)} -m venv {quote(self.path)}", *steps])

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Make it from nothing. Raises DeployError with pip's last lines."""
        path, done = quote(self.path), quote(self.recipe)
        pip = f"{path}/bin/python -m pip --disable-pip-version-check --no-input"
        lines = [
            "set -e; umask 022",
            f'exec 9< "$(dirname {path})"; flock 9  # what a run that was cut has begun here may still go on',
            f"made=$(cat {path}/.deployctl-recipe 2>/dev/null || true)",
            f'if [ "$made" = {done} ] && [ -x {path}/bin/python ]; then exit 0; fi',
            *(f"rm -rf -- {path}", f"{quote(self.python)} -m venv {path}"),
        ]
        lines += [f"{pip} {' '.join(quote(word) for word in step)}" for step in self.steps]
        if self.compiled:
            lines += [f"{path}/bin/python -m compileall -q -j 0 {path}/lib || true"]  # some packages hold old code
        lines += [f"{path}/bin/python -c {quote(self.check)}"]
        lines += [f"printf '%s' {done} > {path}/.deployctl-recipe"]
        with progress.task(f"install {self.path.rsplit('/', 1)[-1]}") as task:
            result = host.run("\n".join(lines), timeout=3600, on_line=lambda line: task.message(_short(line)))
        if not result:
            what = f"cannot fill the virtual environment {self.path}"
            raise DeployError(what, host=host.name, why=result.tail(), remedy=_remedy(result.stderr))

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete the directory."""
        run_or_fail(host, f"cannot remove {self.path}", f"rm -rf -- {quote(self.path)}", timeout=600)


def _remedy(said: str) -> str:
    """What to do about pip's failure, where it is known."""
    if "No matching distribution" in said:
        return (
            "pip on the host finds no such package: name an index that has it in pip's configuration there, or with\n"
            "--pip-arg=--extra-index-url=URL (PyTorch publishes its CPU builds, torch …+cpu, on an index of their own)"
        )
    return ""


def _short(line: str) -> str:
    """What pip is doing, without the URLs and paths it prints."""
    words = line.split()
    if len(words) >= 2 and words[0] in ("Collecting", "Downloading", "Using", "Building"):
        return f"{words[0].lower()} {words[1].rsplit('/', 1)[-1]}"
    return "installing" if line.startswith("Installing") else ""

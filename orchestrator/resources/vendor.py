"""An engine that its vendor installed and deployctl only uses: what it was, to tell when the vendor changes it."""

from typing import ClassVar, Literal

from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Difference, Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields
from orchestrator.resources.origin import Origin

_PARTS = ("version", "binary", "unit")


class VendorEngine(Resource):
    """The vendor's Ollama: its ``binary``, and its ``unit`` file where that is used. Never written, only ``mark`` is.

    ``mark`` holds the version and the digests of binary and unit file as they were when they were last applied, so
    that an upgrade by the vendor shows, and restarts what follows this resource: ``started`` is where that remembers
    what it was started from, forgotten with every change, so that a run cut in between is noticed.
    """

    title: ClassVar[str] = "vendor's Ollama"
    kind: Literal["vendor-engine"] = "vendor-engine"
    binary: str
    unit: str = ""
    mark: str
    started: str

    @property
    def identity(self) -> str:
        """The path of the program."""
        return self.binary

    def probe(self) -> str:
        """Version and digests as they are now, and as they were. Without a HOME the program would not start.

        It is asked where no server listens, so that it tells its own version: a gateway on its usual port tells none.
        """
        binary, mark = quote(self.binary), quote(self.mark)
        return (
            f"said=$(HOME=/ OLLAMA_HOST=127.0.0.1:1 timeout 5 {binary} --version 2>&1)\n"
            'field version "$(printf \'%s\' "$said" |'
            " sed -n 's/.*version is //p' | tail -n 1 | tr -cd '[:alnum:].+-')\"\n"
            f'field binary "$(digest {binary})"\n'
            f'unit={quote(self.unit)}; [ -z "$unit" ] || field unit "$(digest "$unit")"\n'
            f'[ ! -f {mark} ] || field mark "$(cat {mark})"'
        )

    def parse(self, output: str) -> Observed:
        """Read it; ``was`` is what the mark remembers."""
        seen = fields(output)
        was = dict(zip(_PARTS, seen.get("mark", "").split(" "), strict=False))
        return Observed(exists="mark" in seen, fields={**{name: seen.get(name, "") for name in _PARTS}, "was": was})

    def wanted(self) -> Fields:
        """Nothing: it is the vendor's."""
        return {}

    def compare(self, observed: Observed) -> tuple[Difference, ...]:
        """What is no longer as it was when it was last applied."""
        was = observed.fields.get("was", {})
        return tuple(
            Difference(field=name, observed=observed.fields.get(name), wanted=was.get(name))
            for name in _PARTS
            if observed.exists and observed.fields.get(name, "") != was.get(name, "")
        )

    def changed_by(self, observed: Observed) -> str:
        """Another program in its place is an upgrade; a unit file alone may be anybody's work."""
        replaced = any(item.field == "binary" and item.observed for item in self.compare(observed))
        return "by an upgrade of the vendor" if replaced else super().changed_by(observed)

    def origins(self, observed: Observed) -> tuple[Origin, ...]:
        """Its vendor's, who replaces it at will."""
        binary = observed.fields.get("binary", "")
        here = f"sha256:{binary}" if binary else ""
        return (Origin(source=self.binary, here=here, unpinned="its vendor installed it, and may replace it"),)

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Remember it as it was observed."""
        mark = quote(self.mark)
        seen = quote(" ".join(str(observed.fields.get(name, "")) for name in _PARTS))
        script = (
            f'set -e; mkdir -p "$(dirname {mark})"; rm -f -- {quote(self.started)}\n'
            f"printf '%s' {seen} > {mark}.part; mv -fT {mark}.part {mark}\n"
        )
        run_or_fail(host, "cannot remember the vendor's Ollama", script)

    def remove(self, host: Host, progress: Progress) -> None:
        """Forget it."""
        run_or_fail(host, "cannot forget the vendor's Ollama", f"rm -f -- {quote(self.mark)}")

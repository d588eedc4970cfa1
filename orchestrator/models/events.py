"""What `deliver.sh` tells while it works: one event a line, the file's index in each.

``bytes I N`` (N bytes are there), ``verify I``, ``again I SECONDS WHY…``, ``locked I``, ``done I``, ``fail I WHY…``.
"""

from collections.abc import Sequence

from orchestrator.models.delivery import Delivery
from orchestrator.progress import Task


class Events:
    """Follows one run of the script, and passes on its progress."""

    def __init__(self, files: Sequence[Delivery], task: Task) -> None:
        self._files = files
        self._task = task
        self.done: set[int] = set()
        self.bytes = 0
        self.failed = 0
        self.reason = ""
        self.detail = ""

    def read(self, line: str) -> None:
        """Take one line of the script's output; whatever is no event is passed over."""
        kind, _, rest = line.strip().partition(" ")
        index, _, text = rest.partition(" ")
        if not index.isdecimal() or int(index) >= len(self._files):
            return
        self._take(kind, int(index), text)

    def _take(self, kind: str, index: int, text: str) -> None:
        name = self._files[index].name
        if kind == "bytes" and text.isdecimal():
            self.bytes = int(text)
            self._update(self.bytes)
        elif kind == "verify":
            self._task.message(f"verifying {name}")
        elif kind == "locked":
            self._task.message(f"waiting for another run that writes {name}")
        elif kind == "again":
            seconds, _, why = text.partition(" ")
            self._task.message(f"{name}: {why or 'cut'}; trying again in {seconds} s")
        elif kind == "done":
            self.done.add(index)
            self._update(0)
        elif kind == "fail":
            self.failed = index
            self.reason, _, self.detail = text.partition(" ")

    def _update(self, partly: int) -> None:
        self._task.update(sum(self._files[index].size for index in self.done) + partly)

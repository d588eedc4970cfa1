"""Services under the embedded supervisor, for hosts without systemd or without root.

It is supervisord (PyPI ``supervisor`` 4.3), in a virtual environment of its own, one per scope of a host; each
deployment is one program file in its include folder.
"""

import re
from datetime import datetime
from typing import ClassVar, Literal

from orchestrator.health.service import ServiceState
from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.log import OFFSET, FileReader, Reader
from orchestrator.resources.observe import fields
from orchestrator.resources.service import Service, forget

_STARTED = "=== deployctl: started from other files: "
"""A line that deployctl puts into a program's log before it starts it anew."""


class Process(Service):
    """One supervised program that is running.

    ``venv`` holds supervisord, ``conf`` its configuration and ``journal`` its own log; ``program`` is the program's
    file and ``log`` the program's log.
    """

    title: ClassVar[str] = "supervised process"
    kind: Literal["process"] = "process"
    name: str
    venv: str
    conf: str
    journal: str
    program: str
    log: str
    mark: str

    @property
    def identity(self) -> str:
        """The program's name."""
        return self.name

    def _ctl(self, *words: str) -> str:
        command = " ".join(quote(word) for word in words)
        return f"{quote(self.venv + '/bin/supervisorctl')} -c {quote(self.conf)} {command}"

    def probe(self) -> str:
        """What supervisord says of it, and the fingerprint it was started with."""
        return (
            f'field status "$({self._ctl("status", self.name)} 2>&1 | head -n 1)"\n'
            f"[ -f {quote(self.program)} ] && field program yes\n"
            f'field fingerprint "$(cat {quote(self.mark)})"'
        )

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        running = self._running(seen.get("status", ""))
        return Observed(
            exists=running or seen.get("program") == "yes",
            fields={"active": running, "fingerprint": seen.get("fingerprint", "")},
        )

    def wanted(self) -> Fields:
        """Running from the present files."""
        return {"active": True, "fingerprint": self.fingerprint}

    def _running(self, status: str) -> bool:
        words = status.split()
        return len(words) > 1 and words[0] == self.name and words[1] in ("RUNNING", "STARTING")

    def command(self) -> str:
        """``supervisorctl``."""
        return f"{quote(self.venv + '/bin/supervisord')} -c {quote(self.conf)} && {self._ctl('update')}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Start supervisord if it is not there, let it read the program file, and (re)start the program."""
        mark = quote(self.mark)
        fresh = observed.fields.get("active") is True and observed.fields.get("fingerprint") == self.fingerprint
        # What supervisord starts by itself, with the present file, is not started twice: that would cost a load.
        note = "" if fresh else f"printf '%s\\n' {quote(_STARTED + self.fingerprint)} >> {quote(self.log)}\n"
        begun = f'[ -n "$began" ] || printf "%s\\n" "$changed" | grep -q {quote(f"^{self.name}: ")}'
        restart = "" if fresh else f"{begun} || {self._ctl('restart', self.name)} >/dev/null || true\n"
        script = (
            f'set -e; began=\nmkdir -p "$(dirname {mark})"\n{note}'
            f"if ! {self._ctl('pid')} 2>/dev/null | grep -qE '^[0-9]+$'; then\n"
            f"  {quote(self.venv + '/bin/supervisord')} -c {quote(self.conf)}; began=yes\nfi\n"
            f"{self._ctl('reread')} >/dev/null; changed=$({self._ctl('update')})\n{restart}"
            f"n=0; while s=$({self._ctl('status', self.name)} || true)\n"
            'case "$s" in *STARTING*|*STOPPED*) [ $n -lt 50 ];; *) false;; esac; do n=$((n+1)); sleep 0.2; done\n'
            f'case "$s" in *RUNNING*|*STARTING*) ;; *) printf \'%s\\n\' "$s" >&2; exit 1;; esac\n'
            f"printf '%s' {quote(self.fingerprint)} > {mark}.part; mv -f {mark}.part {mark}\n"
        )
        run_or_fail(host, f"the supervisor could not start {self.name}", script, timeout=180, remedy=f"see {self.log}")

    def remove(self, host: Host, progress: Progress) -> None:
        """Stop it and forget it; the last program to go takes supervisord with it."""
        program = quote(self.program)
        script = (
            f"rm -f -- {program}\n{forget(self.mark)}"
            f"{self._ctl('pid')} 2>/dev/null | grep -qE '^[0-9]+$' || exit 0\n"
            f"set -e\n{self._ctl('stop', self.name)} >/dev/null || true\n"
            f"{self._ctl('reread')} >/dev/null; {self._ctl('update')} >/dev/null\n"
            f'[ -n "$({self._ctl("status")})" ] && exit 0\n'
            f"pid=$({self._ctl('pid')}); {self._ctl('shutdown')} >/dev/null\n"
            'n=0; while kill -0 "$pid" 2>/dev/null && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done\n'
        )
        run_or_fail(host, f"the supervisor could not stop {self.name}", script, timeout=180)

    def state_script(self) -> str:
        """What supervisord says. It keeps no count of restarts, but logs every start, and those we asked for."""
        began, asked = quote(f"spawned: '{self.name}'"), quote(f"waiting for {self.name} to stop")
        count = "index($0, asked) || /supervisord started/ {n = 0} index($0, began) {n++} END {print n + 0}"
        starts = f"awk -v began={began} -v asked={asked} {quote(count)} {quote(self.journal)} 2>/dev/null || echo 0"
        return f"{self._ctl('status', self.name)} 2>&1 | head -n 1\n{starts}"

    def read_state(self, output: str) -> ServiceState:
        """Read it."""
        lines = [*output.splitlines(), "", ""]
        spawned = int(lines[1]) if lines[1].isdigit() else 0
        pid = re.search(r"\bpid (\d{1,9}),", lines[0])
        return ServiceState(
            running=self._running(lines[0]),
            restarts=max(0, spawned - 1),
            detail=lines[0].strip(),
            pid=int(pid[1]) if pid else None,
        )

    def log_script(self, *, lines: int, follow: bool, since: datetime | None = None, stamped: bool = False) -> str:
        """The program's log file. It keeps no times, so its reader looks for ``since`` in the engine's own lines."""
        offset = f'printf "{OFFSET}%s\\n" "$(date +%z)"\n' if stamped else ""
        return f"{offset}exec tail -n {int(lines)} {'-F' if follow else ''} {quote(self.log)} 2>/dev/null"

    def log_reader(self, since: datetime | None) -> Reader:
        """By the times that the engine writes itself."""
        return FileReader(since)

    def tail_script(self, lines: int) -> str:
        """Prints its last lines since it was last started from other files: older failures explain nothing."""
        since = "index($0, mark) == 1 {n = 0; next} {kept[n++ % most] = $0}"
        shown = "END {for (i = n > most ? n - most : 0; i < n; i++) print kept[i % most]}"
        script = f"awk -v mark={quote(_STARTED)} -v most={int(lines)} {quote(f'{since} {shown}')} {quote(self.log)}"
        return f"{script} 2>/dev/null"

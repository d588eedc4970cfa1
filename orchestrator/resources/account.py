"""System accounts under which engines run."""

from typing import ClassVar, Literal

from orchestrator.hosts.base import Host, quote
from orchestrator.progress import Progress
from orchestrator.resources.base import Fields, Observed, Resource
from orchestrator.resources.files import run_or_fail
from orchestrator.resources.observe import fields

_FILES = "/etc/deployctl"
"""Where our files lie on a host that has accounts of ours."""


class Account(Resource):
    """A system user with a group of the same name, no password and no shell.

    ``groups`` are joined where the host has them (``video`` and ``render`` guard GPU devices).
    """

    title: ClassVar[str] = "account"
    kind: Literal["account"] = "account"
    name: str
    home: str
    groups: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The user's name."""
        return self.name

    def probe(self) -> str:
        """Whether user and group exist, and the wanted groups that the host has but the user is not in."""
        name = quote(self.name)
        groups = " ".join(quote(group) for group in self.groups)
        return (
            f"id -u {name} >/dev/null 2>&1 && field user yes; getent group {name} >/dev/null && field group yes\n"
            f'missing=; mine=" $(id -nG {name}) "; for g in {groups}; do getent group "$g" >/dev/null || continue\n'
            'case "$mine" in *" $g "*) ;; *) missing="$missing $g";; esac; done; field missing "$missing"'
        )

    def parse(self, output: str) -> Observed:
        """Read it."""
        seen = fields(output)
        return Observed(exists=seen.get("user") == "yes", fields={**seen, "missing": seen.get("missing", "").strip()})

    def wanted(self) -> Fields:
        """A user, its group, and no group missing."""
        return {"user": "yes", "group": "yes", "missing": ""}

    def command(self) -> str:
        """``useradd``."""
        groups = f" --groups {quote(','.join(self.groups))}" if self.groups else ""
        home = quote(self.home)
        return f"useradd --system --user-group --home-dir {home} --shell /usr/sbin/nologin{groups} {quote(self.name)}"

    def apply(self, host: Host, observed: Observed, progress: Progress) -> None:
        """Add the group, the user, and the memberships that are missing."""
        name, home = quote(self.name), quote(self.home)
        groups = " ".join(quote(group) for group in self.groups)
        script = (
            "set -e; PATH=$PATH:/usr/sbin:/sbin\n"
            f"getent group {name} >/dev/null || groupadd --system {name}\n"
            f"id -u {name} >/dev/null 2>&1 || useradd --system --gid {name} --home-dir {home} --no-create-home "
            f"--shell /usr/sbin/nologin --comment 'managed by deployctl' {name}\n"
            f"for g in {groups}; do\n"
            f'  if getent group "$g" >/dev/null; then usermod --append --groups "$g" {name}; fi\ndone\n'
        )
        run_or_fail(host, f"cannot add the account {self.name}", script)

    def remove(self, host: Host, progress: Progress) -> None:
        """Delete the user and its group. What is kept becomes root's: another may get its number.

        That is its home, and what only its group may read among our files: the keys of a gateway.
        """
        name, home, ours = quote(self.name), quote(self.home), quote(_FILES)
        script = (
            "set -e; PATH=$PATH:/usr/sbin:/sbin\n"
            f"if [ -d {home} ] && id -u {name} >/dev/null 2>&1; then\n"
            f"  find {home} -xdev -user {name} -exec chown -h root:root {{}} +\nfi\n"
            f"if [ -d {ours} ] && getent group {name} >/dev/null; then\n"
            f"  find {ours} -xdev -group {name} -exec chgrp -h root {{}} +\nfi\n"
            f"! id -u {name} >/dev/null 2>&1 || userdel {name}\n! getent group {name} >/dev/null || groupdel {name}\n"
        )
        run_or_fail(
            host, f"cannot remove the account {self.name}", script, remedy=f"is a process of {self.name} still running?"
        )

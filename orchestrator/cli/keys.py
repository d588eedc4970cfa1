"""``deployctl keys``: who may use a deployment. Keys are made on the host and stay there."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.execute import command_line
from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import DeployError, RefusedError, UsageError

if TYPE_CHECKING:
    from orchestrator.cli.documents import KeysDocument, KnownKey
    from orchestrator.hosts.base import Host
    from orchestrator.hosts.secret import Secret
    from orchestrator.planning.deploy import Survey
    from orchestrator.resources.gateway_keys import GatewayKeys, Key, Role

T = TypeVar("T")

_EPILOG = """\b
Examples:
  deployctl keys list --host gpu01
  deployctl keys create ollama alice --expires 30d
  deployctl keys create vllm prometheus --role metrics
  export OPENAI_API_KEY=$(deployctl keys show vllm)
  deployctl keys rotate vllm alice --overlap 1h
  deployctl keys revoke vllm alice
  deployctl keys ca > root.crt
"""

_DEPLOYMENT = "ollama|vllm|NAME"


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "".join(f"  deployctl keys {line}\n" for line in lines)


@click.group(epilog=_EPILOG)
def keys() -> None:
    """Make, show, renew and revoke the keys of a deployment. What is changed holds at once; no stream is cut.

    Roles: user (the API), admin (also the engine's management and metrics), metrics (only those).
    """


@keys.command("list", epilog=_examples("list --host gpu01"))
@click.argument("name", required=False, metavar=f"[{_DEPLOYMENT}]")
@host_options
@common_options
def list_keys(name: str | None, **options: Any) -> int:
    """List keys with their roles and ends; not their secrets."""
    return _Keys(options).listed(name)


@keys.command(epilog=_examples("create ollama alice --expires 30d", "create vllm prometheus --role metrics"))
@click.argument("name", metavar=_DEPLOYMENT)
@click.argument("key", metavar="KEY")
@click.option("--role", type=click.Choice(["user", "admin", "metrics"]), default="user", show_default=True)
@click.option("--expires", metavar="DURATION", help="When it ends: 12h, 30d [default: never].")
@host_options
@common_options
def create(name: str, key: str, role: "Role", expires: str | None, **options: Any) -> int:
    """Make a key, and show it: the only time that it is shown unasked."""
    end = _end(expires)
    work = _Keys(options, f"create {name} {_checked(key)}")
    return work.secret(name, lambda found, host: found.create(host, key, role, end), key)


@keys.command(epilog=_examples("show vllm", "show vllm alice --host gpu01"))
@click.argument("name", metavar=_DEPLOYMENT)
@click.argument("key", required=False, metavar="[KEY]")
@host_options
@common_options
def show(name: str, key: str | None, **options: Any) -> int:
    """Print a key, and nothing else (default: the first one for users that has not ended)."""

    def find(found: "GatewayKeys", host: "Host") -> "Secret":
        from orchestrator.resources.gateway_keys import usable

        known = found.read(host)
        named = [secret for item, secret in known if item.name == key]
        secret = named[-1] if named else usable(known, "user", time.time()) if key is None else None
        if secret is None:
            what = f"there is no key named {key}" if key else "there is no key for users"
            raise RefusedError(what, host=host.name, remedy=f"deployctl keys list {name}")
        return secret

    work = _Keys(options)
    if work.console.json_mode:
        raise UsageError("a key is never part of a JSON document", remedy="leave --json away")
    return work.secret(name, find, key or "")


@keys.command(epilog=_examples("rotate vllm alice --overlap 1h"))
@click.argument("name", metavar=_DEPLOYMENT)
@click.argument("key", metavar="[KEY]", default="default")
@click.option("--overlap", metavar="DURATION", help="How long the old one still holds: 1h [default: not at all].")
@click.option("--expires", metavar="DURATION", help="When the new one ends: 30d [default: never].")
@host_options
@common_options
def rotate(name: str, key: str, overlap: str | None, expires: str | None, **options: Any) -> int:
    """Give a key a new secret, and show it."""
    until, end = (_end(overlap) or 0), _end(expires)
    work = _Keys(options, f"rotate {name} {_checked(key)}")
    return work.secret(name, lambda found, host: found.rotate(host, key, until, end), key)


@keys.command(epilog=_examples("revoke vllm alice"))
@click.argument("name", metavar=_DEPLOYMENT)
@click.argument("key", metavar="KEY")
@host_options
@common_options
def revoke(name: str, key: str, **options: Any) -> int:
    """Take a key away: it opens nothing from now on. Streams that it began run to their end."""
    work = _Keys(options, f"revoke {name} {_checked(key)}")
    return work.revoked(name, key)


@keys.command(epilog=_examples("ca --host gpu01 > root.crt"))
@host_options
@common_options
def ca(**options: Any) -> int:
    """Print the root certificate of `--tls internal`, for clients to trust."""
    return _Keys(options).root()


def _checked(key: str) -> str:
    import re

    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", key, re.ASCII) is None:
        raise UsageError(f"{key!r} is no name for a key", remedy="use 1 to 40 small letters, digits and dashes")
    return key


def _end(duration: str | None) -> int | None:
    """The moment, in seconds since 1970, at which a duration from now is over."""
    from orchestrator.planning.access import duration_s

    return None if duration is None else int(time.time()) + duration_s(duration)


class _Keys:
    """One command over all hosts that it names."""

    def __init__(self, options: dict[str, Any], change: str = "") -> None:
        """``change`` says in words what is changed, for the audit; nothing is where it is empty."""
        from orchestrator.cli.session import Session

        self.session: Session = Session(options)
        self.console = self.session.console
        self.command = command_line(["keys", *change.split()]) if change else ""

    def listed(self, name: str | None) -> int:
        def one(host: "Host", seen: "Survey") -> "list[KnownKey]":
            from orchestrator.planning.access import keys_of

            manifests = [seen.deployed(name)] if name else [item for item in seen.manifests if item.endpoint.gateway]
            return [
                _known(host.name, manifest.name, key)
                for manifest in manifests
                for key, _ in keys_of(manifest, host.name).read(host)
            ]

        found, failures = self._on_each(one)
        rows = [row for host_rows in found for row in host_rows]
        table = [("HOST", "DEPLOYMENT", "KEY", "ROLE", "CREATED", "EXPIRES"), *(_row(row) for row in rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table if rows else []:
            self.console.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if not rows and not failures:
            self.console.say("there are no keys")
        return self._end(rows, failures)

    def secret(self, name: str, change: "Callable[[GatewayKeys, Host], Secret]", key: str) -> int:
        """Change or find a key on each host, and print what it is now."""

        def one(host: "Host", seen: "Survey") -> "tuple[str, Secret]":
            return host.name, self._changed(name, host, seen, change)

        found, failures = self._on_each(one)
        for host, secret in found:
            alone = len(found) + len(failures) == 1
            self.console.say(secret.reveal() if alone else f"{host}  {secret.reveal()}")
        if found and self.command:
            where = "".join(f" --host {host}" for host, _ in found if host != "local")
            where += "" if self.session.scope is None else f" --{self.session.scope}"
            self.console.tell(f"this is the key {key}; `deployctl keys show {name} {key}{where}` shows it again")
        return self._end([], failures)

    def revoked(self, name: str, key: str) -> int:
        def one(host: "Host", seen: "Survey") -> str:
            self._changed(name, host, seen, lambda found, where: found.revoke(where, key))
            return host.name

        found, failures = self._on_each(one)
        for host in found:
            self.console.say(f"{host}: the key {key} of {name} is revoked")
        return self._end([], failures)

    def root(self) -> int:
        from orchestrator.planning.access import root_certificate

        found, failures = self._on_each(root_certificate)
        if self.console.json_mode:
            raise UsageError("a certificate is printed as it is", remedy="leave --json away")
        for text in found:
            self.console.say(text.rstrip("\n"))
        return self._end([], failures)

    def _changed(self, name: str, host: "Host", seen: "Survey", change: "Callable[[GatewayKeys, Host], T]") -> T:
        """Do it, and write it into the host's audit trail where it changes something."""
        from orchestrator.planning.access import keys_of
        from orchestrator.planning.audit import record
        from orchestrator.planning.deploy import operator

        manifest = seen.deployed(name)
        done = change(keys_of(manifest, host.name), host)
        if self.command:
            layout = seen.facts.layout
            record(host, layout, by=operator(), command=self.command, name=manifest.name, result="done")
        return done

    def _on_each(self, work: "Callable[[Host, Survey], T]") -> tuple[list[T], list[DeployError]]:
        from orchestrator.planning.deploy import survey

        hosts = self.session.open(self.session.entries())
        try:
            outcomes = self.session.on_each(hosts, lambda host: work(host, survey(host, self.session.scope)))
        finally:
            for host in hosts:
                host.close()
        values = [outcome.value for outcome in outcomes if outcome.value is not None]
        return values, [outcome.error for outcome in outcomes if outcome.error is not None]

    def _end(self, rows: "list[KnownKey]", failures: list[DeployError]) -> int:
        from orchestrator.cli.session import error_document, worst

        status = worst([error.status for error in failures])
        document: KeysDocument = {
            "schema": "deployctl.keys/1",
            "exit_code": int(status),
            "keys": rows,
            "errors": [error_document(error) for error in failures],
        }
        self.console.document(document)
        return int(status)


def _known(host: str, name: str, key: "Key") -> "KnownKey":
    return {
        "host": host,
        "deployment": name,
        "name": key.name,
        "role": key.role,
        "created": key.created,
        "expires": key.expires,
    }


def _row(row: "KnownKey") -> tuple[str, ...]:
    ends = "never" if row["expires"] is None else _day(row["expires"])
    if row["expires"] is not None and row["expires"] <= time.time():
        ends += " (ended)"
    return row["host"], row["deployment"], row["name"], row["role"], _day(row["created"]), ends


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment))

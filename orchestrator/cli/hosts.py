"""``deployctl hosts``: the inventory as it was understood, and trusting a machine's SSH key."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from orchestrator.cli.options import common_options, host_options
from orchestrator.errors import ExitStatus, UnreachableError

if TYPE_CHECKING:
    from orchestrator.cli.documents import HostKey, HostsDocument, Machine, TrustDocument
    from orchestrator.spec import HostEntry


@click.group()
def hosts() -> None:
    """List the inventory's hosts, or trust a host's SSH key."""


@hosts.command("list")
@host_options
@common_options
def list_hosts(**options: Any) -> int:
    """List hosts: the inventory's, or those named with --host. Touches no network.

    \b
    Example:
      deployctl hosts list --inventory inventories/example.yaml
    """
    from orchestrator.cli.session import Session
    from orchestrator.hosts.trust import known

    session = Session(options)
    inventory = session.inventory()
    named = session.entries(tuple(inventory.hosts) or ("local",))
    known_hosts = _known_hosts(options)
    rows: list[Machine] = []
    for entry in named:
        trusted: Literal["known", "unknown", "local"]
        try:
            trusted = "local" if entry.is_local else known(entry, known_hosts)
        except UnreachableError as error:  # a wrong entry, such as a missing key file, is told and hides no other
            session.console.error(error)
            trusted = "unknown"
        groups = [group for group, members in inventory.groups.items() if entry.name in members]
        login = f"{entry.user}@{entry.address}" if entry.user else entry.address
        where = f"{login}:{entry.port}" if entry.port else login
        way = f"via {' '.join(entry.jump)}, " if entry.jump else ""
        session.console.say(f"{entry.name:<20} {where:<36} {way}key {trusted}  {' '.join(groups)}".rstrip())
        rows.append(_row(entry, groups, trusted))
    document: HostsDocument = {"schema": "deployctl.hosts/1", "exit_code": 0, "hosts": rows}
    session.console.document(document)
    return int(ExitStatus.DONE)


def _row(entry: "HostEntry", groups: list[str], key: Literal["known", "unknown", "local"]) -> "Machine":
    return {
        "name": entry.name,
        "address": entry.address,
        "user": entry.user,
        "port": entry.port,
        "jump": list(entry.jump),
        "groups": groups,
        "key": key,
    }


@hosts.command("trust")
@click.argument("host")
@click.option("--yes", "-y", is_flag=True, help="Do not ask. Compare the fingerprint elsewhere first.")
@click.option("--replace", is_flag=True, help="Replace a key that has changed.")
@host_options
@common_options
def trust_host(host: str, yes: bool, replace: bool, **options: Any) -> int:
    """Show the fingerprint of HOST's key (and of jump hosts on the way), ask, and write it to known_hosts.

    \b
    Example:
      deployctl hosts trust gpu01
    """
    from orchestrator.cli.session import Session
    from orchestrator.hosts import trust as keys

    session = Session({**options, "hosts": (host,)})
    known_hosts = _known_hosts(options)
    target = known_hosts or Path("~/.ssh/known_hosts").expanduser()
    added: list[HostKey] = []
    for entry in session.entries():
        if entry.is_local:
            continue
        for _ in range(1 + len(entry.jump) + 4):  # each round trusts one machine on the way; ~/.ssh/config may add some
            found = keys.scan(entry, known_hosts)
            if not found:
                raise UnreachableError(f"{entry.name} shows no key", host=entry.name, remedy="is it an SSH server?")
            for key in found:
                session.console.tell(f"{key.name}  {key.type}  {key.fingerprint_sha256}")
            if not yes:
                click.confirm("Is this the machine's own fingerprint?", abort=True, err=True)
            keys.trust(entry, target, found, replace=replace)
            added += [{"name": key.name, "type": key.type, "fingerprint": key.fingerprint_sha256} for key in found]
            if keys.known(entry, known_hosts) == "known":
                break
        session.console.say(f"{entry.name}: trusted, in {target}")
    document: TrustDocument = {
        "schema": "deployctl.hosts.trust/1",
        "exit_code": 0,
        "keys": added,
        "file": str(target),
    }
    session.console.document(document)
    return int(ExitStatus.DONE)


def _known_hosts(options: dict[str, Any]) -> Path | None:
    given = options.get("known_hosts")
    return Path(given).expanduser() if given else None

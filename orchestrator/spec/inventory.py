"""The machines that a user knows by name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.spec.address import parse_address
from orchestrator.spec.groups import Tree, read_tree
from orchestrator.spec.host_entry import HostEntry
from orchestrator.spec.nested import flat
from orchestrator.spec.problems import did_you_mean, printable, refuse

__all__ = ["DEFAULT_FOLDER", "HostEntry", "Inventory"]

DEFAULT_FOLDER = "inventories"
_MOST_JUMPS = 8


@dataclass(frozen=True)
class Inventory:
    """Hosts by name, and groups with all hosts under them."""

    hosts: Mapping[str, HostEntry] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None) -> "Inventory":
        """A file, or all ``*.yaml`` and ``*.yml`` of a folder (not of folders in it) as one inventory.

        None takes ``inventories/`` where there is one. Raises UsageError that lists every problem.
        """
        tree = read_tree(_files(path))
        entries = {name: _entry(tree, name) for name in tree.hosts}
        hosts = {name: entry.model_copy(update={"jump": _way(tree, entries, name)}) for name, entry in entries.items()}
        return cls(hosts, {name: tree.members(name) for name in tree.groups})

    def resolve(self, names: Sequence[str]) -> tuple[HostEntry, ...]:
        """The machines meant by names, groups, ``local`` or addresses, each once. Raises UsageError.

        A name that no inventory knows is left to the user's SSH configuration.
        """
        found: dict[tuple[object, ...], HostEntry] = {}
        for entry in (entry for name in names for entry in self._lookup(name)):
            found.setdefault((entry.address, entry.user, entry.port, entry.jump), entry)
        return tuple(found.values())

    def _lookup(self, name: str) -> Iterator[HostEntry]:
        if name == "local":
            yield HostEntry.local()
        elif name in self.groups:
            yield from (self.hosts[member] for member in self.groups[name])
        elif name in self.hosts:
            yield self.hosts[name]
        else:
            yield self._unknown(name)

    def _unknown(self, name: str) -> HostEntry:
        try:
            address = parse_address(name)
        except ValueError as error:
            raise UsageError(f"got host {printable(name)!r}, expected {error}") from None
        if address.host in self.hosts:
            said = {"name": name, "user": address.user, "port": address.port}
            return self.hosts[address.host].model_copy(update={key: value for key, value in said.items() if value})
        near = did_you_mean(name, [*self.hosts, *self.groups])
        note = f"no host or group {name} in the inventory; did you mean {near}?" if near else ""
        return HostEntry(name=name, address=address.host, user=address.user, port=address.port, note=note)


def _files(path: Path | None) -> list[Path]:
    if path is None:
        path = Path(DEFAULT_FOLDER)
        if not path.is_dir():
            return []
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"} and file.is_file())


def _entry(tree: Tree, name: str) -> HostEntry:
    """A host with all that descends to it: defaults, then groups from the outermost in, then its own."""
    said: dict[str, Any] = {}
    variables: dict[str, object] = {}
    origins: dict[str, str] = {}
    for where, settings in tree.layers(name):
        for key in ("user", "port", "key", "jump", "become"):
            if getattr(settings, key) is not None:
                said[key] = getattr(settings, key)
        for path, value in flat(settings.vars):
            dotted = ".".join(path)
            variables.pop(dotted, None)  # so that the nearest is the last, which wins when a spec is loaded
            variables[dotted] = value
            origins[dotted] = tree.label(where, "vars", *path)
    address = tree.hosts[name].address or name
    return HostEntry(name=name, address=address, vars=variables, origins=origins, **said)


def _way(tree: Tree, entries: Mapping[str, HostEntry], name: str, to: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The jumps to a host, those of the inventory as addresses. The first of them may need jumps of its own.

    A jump host that inherits jumps goes only through those before itself.
    """
    if name in to:
        refuse([f"{tree.label(('hosts', name))}: is reached through itself: {' > '.join([name, *reversed(to)])}"])
    if len(to) > _MOST_JUMPS:
        refuse([f"{tree.label(('hosts', to[0]))}: more than {_MOST_JUMPS} jumps away"])
    jump = entries[name].jump
    jump = jump[: jump.index(name)] if name in jump else jump
    before = _way(tree, entries, jump[0], (*to, name)) if jump and jump[0] in entries else ()
    return (*before, *(_hop(entries[hop]) if hop in entries else hop for hop in jump))


def _hop(entry: HostEntry) -> str:
    address = f"[{entry.address}]" if ":" in entry.address else entry.address
    user = f"{entry.user}@" if entry.user else ""
    return f"{user}{address}:{entry.port}" if entry.port else f"{user}{address}"

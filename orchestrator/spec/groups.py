"""The tree of an inventory: which groups hold which hosts, and what descends to whom."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path as FilePath
from typing import Any

from orchestrator.spec.document import read_document
from orchestrator.spec.inventory_file import GroupSettings, HostSettings, InventoryFile, Settings
from orchestrator.spec.models import Spec
from orchestrator.spec.nested import flat, put
from orchestrator.spec.problems import Origins, Path, did_you_mean, got, problems_of, refuse, validated

DEFAULTS: Path = ("defaults",)


@dataclass
class Tree:
    """All files of an inventory together."""

    defaults: Settings = field(default_factory=Settings)
    hosts: dict[str, HostSettings] = field(default_factory=dict)
    groups: dict[str, GroupSettings] = field(default_factory=dict)
    origins: dict[Path, Origins] = field(default_factory=dict)
    """The file of ``("defaults",)``, ``("hosts", NAME)`` and ``("groups", NAME)``."""
    ranks: dict[str, int] = field(default_factory=dict)
    """How deep each group lies below the outermost ones."""

    def label(self, where: Path, *under: str | int) -> str:
        """``FILE:LINE: hosts.gpu01.vars.vllm.port``"""
        return self.origins[where].label((*where, *under))

    def members(self, group: str) -> tuple[str, ...]:
        """All hosts of a group and of the groups under it, each once, in the order written."""
        groups = [group]
        for name in groups:  # grows while it is walked
            groups += [child for child in self.groups[name].children if child not in groups]
        return tuple(dict.fromkeys(host for name in groups for host in self.groups[name].hosts))

    def layers(self, host: str) -> Iterator[tuple[Path, Settings]]:
        """What a host's settings are made of, the nearest last; of groups equally deep, the later written is nearer."""
        if DEFAULTS in self.origins:
            yield DEFAULTS, self.defaults
        around = (name for name in self.groups if host in self.members(name))
        for name in sorted(around, key=self.ranks.__getitem__):
            yield ("groups", name), self.groups[name]
        yield ("hosts", host), self.hosts[host]

    def everything(self) -> Iterator[tuple[Path, Settings]]:
        """All settings, with where they stand."""
        if DEFAULTS in self.origins:
            yield DEFAULTS, self.defaults
        for group, settings in self.groups.items():
            yield ("groups", group), settings
        for host, machine in self.hosts.items():
            yield ("hosts", host), machine


def read_tree(files: Sequence[FilePath]) -> Tree:
    """The files as one tree without cycles or unknown names. Raises UsageError that lists every problem."""
    tree = Tree()
    problems = [problem for file in files for problem in _add(tree, file)]
    problems += _unknown_names(tree)
    problems += [problem for where, settings in tree.everything() for problem in _bad_variables(tree, where, settings)]
    tree.ranks, cycles = _ranks(tree)
    problems += cycles
    if problems:
        refuse(problems)
    return tree


def _add(tree: Tree, path: FilePath) -> Iterator[str]:
    document = read_document(path)
    origins = Origins(document.file, document.lines)
    file = validated(InventoryFile, document.data, origins)
    if "defaults" in document.data:
        yield from _claim(tree, DEFAULTS, origins)
        tree.defaults = file.defaults
    for host, machine in file.hosts.items():
        yield from _claim(tree, ("hosts", host), origins)
        tree.hosts[host] = machine
    for group, settings in file.groups.items():
        yield from _claim(tree, ("groups", group), origins)
        tree.groups[group] = settings


def _claim(tree: Tree, where: Path, origins: Origins) -> Iterator[str]:
    if where in tree.origins:
        yield f"{origins.label(where)}: already in {tree.origins[where].place(where)}"
    tree.origins[where] = origins


def _unknown_names(tree: Tree) -> Iterator[str]:
    for group, settings in tree.groups.items():
        where: Path = ("groups", group)
        if group in tree.hosts:
            host: Path = ("hosts", group)
            yield f"{tree.label(where)}: a host has this name, in {tree.origins[host].place(host)}"
        yield from _missing(tree, where, "hosts", settings.hosts, tree.hosts)
        yield from _missing(tree, where, "children", settings.children, tree.groups)


def _missing(tree: Tree, where: Path, key: str, names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    kind = "a host" if key == "hosts" else "a group"
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            hint = f", did you mean {near}?" if near else ""
            yield f"{tree.label(where, key)}: got {got((), name)}, expected {kind} of this inventory{hint}"


def _bad_variables(tree: Tree, where: Path, settings: Settings) -> Iterator[str]:
    """Variables are parts of a spec: what can only be wrong is said now, with its line, and not when it is used."""
    part: dict[str, Any] = {}
    options: dict[Path, str] = {}
    for path, value in flat(settings.vars):
        label = tree.label(where, "vars", *path)
        key = ".".join(path)
        if key.split(".")[0] in {"hosts", "version"}:
            yield f"{label}: got {key}, expected a key of the spec that can differ between hosts"
            continue
        options.update(dict.fromkeys(put(part, key, value), label))
    yield from problems_of(Spec, part, Origins(options=options))


def _ranks(tree: Tree) -> tuple[dict[str, int], list[str]]:
    """How deep each group lies below the outermost ones, and the cycle that makes this impossible, if any."""
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(tree.groups, ()))
    inner = [(name, child) for name, group in tree.groups.items() for child in group.children if child in tree.groups]
    for name, child in inner:
        sorter.add(child, name)
    try:
        order = {name: place for place, name in enumerate(sorter.static_order())}
    except CycleError as error:
        circle: list[str] = error.args[1]
        return {}, [f"{tree.label(('groups', circle[0]))}: contains itself: {' > '.join(circle)}"]
    ranks = dict.fromkeys(order, 0)
    for name, child in sorted(inner, key=lambda pair: order[pair[0]]):
        ranks[child] = max(ranks[child], ranks[name] + 1)
    return ranks, []

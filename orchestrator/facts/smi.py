"""What ``nvidia-smi`` says of the GPUs, read into the same values as NVML's answers.

``gather.sh`` sends the telling lines of ``nvidia-smi -q -x``, one tag each, as they stand there; the compute
capabilities, which that document lacks, by UUID; and of ``nvidia-smi -L`` the MIG instances, whose UUIDs and sizes
only that list has. A line that is not understood is passed over, a value that is not told ("N/A", "Not Supported",
"Insufficient Permissions", …) stays unknown.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.facts.model import Gpu, GpuProcess, MigInstance

_LINE = re.compile(r"<(/?)(\w+)[^>]*>(?:([^<]*)</\2>)?", re.ASCII)
_MIB = re.compile(r"(\d{1,9}) MiB", re.ASCII)
_PAIR = re.compile(r"(\d{1,4})\.(\d{1,4})", re.ASCII)
_LISTED_GPU = re.compile(r"GPU (\d{1,4}):.*", re.ASCII)
_LISTED_MIG = re.compile(r"\s*MIG (\S+)\s+Device\s+(\d{1,4}): \(UUID: ([^)]*)\)", re.ASCII)
_NONE_OF_ITS_OWN = ("N/A", "Not Supported")
_HOLDERS = ("gpu", "mig_device", "fb_memory_usage", "process_info")


@dataclass
class _Node:
    """One element of the document, with what is known inside it."""

    tag: str
    values: dict[str, str] = field(default_factory=dict)
    inner: "list[_Node]" = field(default_factory=list)

    def all(self, tag: str) -> "list[_Node]":
        return [node for node in self.inner if node.tag == tag]

    def mib(self, name: str) -> int | None:
        """A size of its memory, where it is told."""
        told = [_MIB.fullmatch(memory.values.get(name, "")) for memory in self.all("fb_memory_usage")]
        return int(told[0][1]) if told and told[0] else None


def read(lines: Sequence[str], capabilities: Sequence[str], listed: Sequence[str]) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs, in the order of their numbers, and what is wrong with those that are not among them.

    ``lines`` are of ``nvidia-smi -q -x``, ``capabilities`` of ``--query-gpu=uuid,compute_cap``, ``listed`` of ``-L``.
    """
    root = _tree(lines)
    able = dict(line.split(", ", 1) for line in capabilities if ", " in line)
    names = _mig_names(listed)
    gpus, problems = [], []
    for index, node in enumerate(root.all("gpu")):
        made = _gpu(index, node, root.values, able, names)
        if made is None:
            told = "; ".join(memory.values.get("total", "") for memory in node.all("fb_memory_usage")) or "nothing"
            problems.append(f"GPU {index} ({node.values.get('product_name', 'unknown')}) says of its memory: {told}")
        else:
            gpus.append(made)
    return tuple(gpus), "; ".join(problems)


def _tree(lines: Sequence[str]) -> _Node:
    root = _Node("nvidia_smi_log")
    path = [root]
    for line in lines:
        if (match := _LINE.fullmatch(line.strip())) is None:
            continue
        closing, tag, text = match.groups()
        if closing:
            if tag == path[-1].tag and len(path) > 1:
                path.pop()
        elif text is not None:
            path[-1].values.setdefault(tag, html.unescape(text.strip()))
        elif tag in _HOLDERS:
            path[-1].inner.append(_Node(tag))
            path.append(path[-1].inner[-1])
    return root


def _gpu(
    index: int,
    node: _Node,
    driver: dict[str, str],
    able: dict[str, str],
    names: dict[tuple[int, int], tuple[str, str]],
) -> Gpu | None:
    """A card; None where the driver cannot tell its memory, though it has some."""
    total, used, free = (node.mib(name) for name in ("total", "used", "free"))
    instances = _instances(index, node, names)
    mig = _switch(node.values.get("current_mig", ""))
    if mig and instances:  # a whole card that is shared out may tell little of itself
        total = sum(one.memory_total_mib for one in instances) if total is None else total
        used = sum(one.memory_used_mib for one in instances) if used is None else used
        free = sum(one.memory_free_mib for one in instances) if free is None else free
    told = [memory.values.get("total") for memory in node.all("fb_memory_usage")]
    unified = total is None and bool(told) and told[0] in _NONE_OF_ITS_OWN
    if not unified and (total is None or free is None):
        return None
    uuid = node.values.get("uuid", "")
    return Gpu(
        index=index,
        uuid=uuid,
        name=node.values.get("product_name", ""),
        memory_total_mib=total or 0,
        memory_used_mib=used or 0,
        memory_free_mib=free or 0,
        unified=unified,
        driver=driver.get("driver_version", ""),
        cuda=_pair(driver.get("cuda_version", "")),
        compute_capability=_pair(able.get(uuid, "")),
        ecc=_switch(node.values.get("current_ecc", "")),
        mig=mig,
        mig_instances=instances,
        processes=tuple(sorted(filter(None, map(_process, node.all("process_info"))), key=lambda item: item.pid)),
    )


def _instances(gpu: int, node: _Node, names: dict[tuple[int, int], tuple[str, str]]) -> tuple[MigInstance, ...]:
    found: list[MigInstance] = []
    for item in node.all("mig_device"):
        total, used, free = (item.mib(name) or 0 for name in ("total", "used", "free"))
        number = item.values.get("index", "")
        index = int(number) if number.isascii() and number.isdecimal() else len(found)
        profile, uuid = names.get((gpu, index), ("", ""))
        found.append(
            MigInstance(
                index=index,
                uuid=uuid,
                profile=profile,
                memory_total_mib=total,
                memory_used_mib=used,
                memory_free_mib=free,
            )
        )
    return tuple(found)


def _mig_names(listed: Sequence[str]) -> dict[tuple[int, int], tuple[str, str]]:
    """Profile and UUID of each MIG instance, by the numbers of card and instance."""
    found: dict[tuple[int, int], tuple[str, str]] = {}
    gpu = -1
    for line in listed:
        if card := _LISTED_GPU.fullmatch(line.strip()):
            gpu = int(card[1])
        elif instance := _LISTED_MIG.match(line):
            found[gpu, int(instance[2])] = (instance[1], instance[3])
    return found


def _process(node: _Node) -> GpuProcess | None:
    pid = node.values.get("pid", "")
    if not (pid.isascii() and pid.isdecimal()):
        return None
    held = _MIB.fullmatch(node.values.get("used_memory", ""))
    name = node.values.get("process_name", "")
    return GpuProcess(pid=int(pid), name=name, memory_mib=int(held[1]) if held else None)


def _switch(text: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(text)


def _pair(text: str) -> tuple[int, int] | None:
    match = _PAIR.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match else None

"""One YAML file as plain values, with the line of every key, whatever bytes it holds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from orchestrator.spec.problems import Path, dotted, got, printable, refuse

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode, Node

MOST_BYTES = 256 * 1024
_MOST_NODES = 20_000
_MOST_DEPTH = 32
_PREFIX = "tag:yaml.org,2002:"


@dataclass
class Document:
    """``data`` holds JSON types only. ``lines`` counts from 1; ``file`` is the name the user knows."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)


def read_document(path: FilePath) -> Document:
    """The mapping in a YAML file (an empty file is an empty one). Raises only UsageError, with every problem."""
    return _Reader(printable(str(path), 200)).read(_text(path))


def _text(path: FilePath) -> str:
    name = printable(str(path), 200)
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        refuse([f"{name}: cannot be read: {getattr(error, 'strerror', None) or 'not a file name'}"])
    if len(content) > MOST_BYTES:
        refuse([f"{name}: larger than {MOST_BYTES // 1024} KiB, which no spec or inventory is"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse([f"{name}:{content[: error.start].count(10) + 1}: not UTF-8 text"])


class _Reader:
    """Turns the nodes of one file into values and remembers lines and problems."""

    def __init__(self, file: str) -> None:
        self.document = Document(file)
        self.problems: list[str] = []
        self.nodes = 0
        self.yaml: YAML

    def read(self, text: str) -> Document:
        from ruamel.yaml import YAML

        self.yaml = YAML(typ="safe", pure=True)
        self.yaml.max_depth = _MOST_DEPTH
        root = self._compose(text)
        value = None if root is None else self._value(root, ())
        if isinstance(value, dict):
            self.document.data = value
        elif value is not None:
            self.problems.insert(0, f"{self.document.file}:1: got {got((), value)}, expected a mapping")
        if self.problems:
            refuse(self.problems)
        return self.document

    def _compose(self, text: str) -> "Node | None":
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
        from ruamel.yaml.reader import ReaderError

        file = self.document.file
        try:
            root: Node | None = self.yaml.compose(text)
            return root
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
            refuse([f"{file}{place}: not valid YAML: {printable(error.problem or error.context or 'unreadable', 120)}"])
        except ReaderError as error:
            line = text[: error.position].count("\n") + 1
            refuse([f"{file}:{line}: not valid YAML: a control character"])
        except (YAMLError, ValueError, OverflowError, RecursionError) as error:
            refuse([f"{file}: not valid YAML: {printable(str(error), 120)}"])

    def _value(self, node: "Node", path: Path) -> object:
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        self.nodes += 1
        if self.nodes > _MOST_NODES:
            refuse([f"{self.document.file}: more than {_MOST_NODES} values once aliases are expanded"])
        if len(path) > _MOST_DEPTH:
            refuse([f"{self._place(node)}: {dotted(path[:3])}...: nested too deeply"])
        tag = _tag(node)
        if isinstance(node, MappingNode) and tag == "map":
            return dict(self._items(node, path))
        if isinstance(node, SequenceNode) and tag == "seq":
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, tag, path)

    def _items(self, node: "MappingNode", path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in seen:
                self._problem(key_node, here, f"given twice, first in line {seen[key]}")
                continue
            seen[key] = line
            self.document.lines[here] = line
            yield key, self._value(value_node, here)

    def _key(self, node: "Node", path: Path) -> str | None:
        tag = _tag(node)
        if tag == "merge":
            self._problem(
                node, (*path, "<<"), "merge keys are not understood; write the keys out, or use an alias as a value"
            )
            return None
        if tag != "str" or not isinstance(node.value, str) or not _encodable(node.value):
            shown = got((), node.value if isinstance(node.value, str) else [])
            self._problem(node, path, f"got key {shown}, expected text (put it in quotes)")
            return None
        return node.value

    def _scalar(self, node: "Node", tag: str, path: Path) -> object:
        if tag == "null":
            return None
        if tag in {"str", "timestamp"} and isinstance(node.value, str):
            if not _encodable(node.value):
                self._problem(node, path, "got half a surrogate pair, expected valid Unicode text")
            return node.value
        if tag in {"int", "float", "bool"} and isinstance(node.value, str) and len(node.value) <= 40:
            try:
                return self.yaml.constructor.construct_object(node)
            except (ValueError, KeyError, IndexError, OverflowError):
                pass
        shown = got(path, node.value) if tag in {"int", "float", "bool"} else f"the tag {printable(tag)}"
        self._problem(node, path, f"got {shown}, expected text, a number, true, false, a list or a mapping")
        return None

    def _place(self, node: "Node") -> str:
        return f"{self.document.file}:{node.start_mark.line + 1}"

    def _problem(self, node: "Node", path: Path, what: str) -> None:
        where = f"{self._place(node)}: {dotted(path)}" if path else self._place(node)
        self.problems.append(f"{where}: {what}")


def _tag(node: "Node") -> str:
    return str(node.tag).removeprefix(_PREFIX)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)

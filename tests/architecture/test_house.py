"""The house rules of DESIGN section 3, read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator

PACKAGE = Path(orchestrator.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
NAMES = [path.relative_to(PACKAGE).as_posix() for path in FILES]
every = pytest.mark.parametrize("name", NAMES)

LEAVES = {"__init__", "errors", "progress"}
"""Modules that every room may use, and that use none."""

MAY_USE: dict[str, set[str]] = {
    "cli": {
        "bench",
        "doctor",
        "planning",
        "runtimes",
        "resources",
        "hosts",
        "facts",
        "fit",
        "models",
        "health",
        "metrics",
        "spec",
        "templating",
    },
    "doctor": {"planning", "runtimes", "resources", "health", "facts", "models", "spec"},
    "planning": {"runtimes", "resources", "hosts", "facts", "fit", "models", "health", "spec", "templating"},
    "runtimes": {"resources", "facts", "fit", "models", "health", "spec", "templating"},
    "fit": {"models", "spec"},
    "resources": {"hosts", "models", "health", "templating"},
    "facts": {"hosts"},
    "models": {"hosts"},
    "bench": {"hosts", "health"},
    "health": {"hosts"},
    "metrics": {"health"},
    "hosts": set(),
    "spec": set(),
    "templating": set(),
}
"""Which rooms a room may use: the order goes one way. A new room has to be placed here."""

HEAVY = {"docker", "fabric", "invoke", "paramiko", "huggingface_hub", "requests", "jinja2", "ruamel", "rich", "pynvml"}
HEAVY |= {"aiohttp", "matplotlib"}
"""What `deployctl --help` must never wait for; a room that nobody imports for help may import its own library."""

OWN_LIBRARY = {"hosts/docker.py", "hosts/web.py", "bench/generator.py", "bench/plots.py"}

PROGRAMS = ("runtimes/assets/", "bench/generator.py")
"""Programs of their own, which speak to whoever started them: on hosts, or beside deployctl."""

EXEMPT: dict[str, str] = {}
"""Functions of more than 40 lines, each with the reason why it is better whole."""


def tree_of(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text("utf-8"))


def room_of(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        module = node.module or ""
        yield from (f"{module}.{alias.name}" for alias in node.names) if module == "orchestrator" else (module,)


def for_types_only(tree: ast.Module) -> set[ast.AST]:
    """The nodes under ``if TYPE_CHECKING``."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {child for block in blocks for child in ast.walk(block)}


def at_the_top(tree: ast.Module) -> set[ast.AST]:
    """The nodes that run when the module is imported."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {child for function in functions for child in ast.walk(function)}
    return set(ast.walk(tree)) - inside - for_types_only(tree)


@every
def test_imports_go_one_way(name: str) -> None:
    room, used = room_of(name), set()
    for node in ast.walk(tree_of(name)):
        for module in imported(node):
            if module.split(".")[0] == "orchestrator":
                used.add(module.split(".")[1] if "." in module else "__init__")
    used -= {room, *LEAVES, "__version__"}
    assert used <= (set() if room in LEAVES else MAY_USE[room])


def test_the_order_of_rooms_has_no_circle() -> None:
    assert set(MAY_USE) == {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    done: set[str] = set()
    while left := [room for room in MAY_USE if room not in done]:
        free = [room for room in left if MAY_USE[room] <= done]
        assert free, f"a circle among {left}"
        done.update(free)


@every
def test_heavy_libraries_are_imported_when_they_are_used(name: str) -> None:
    tree = tree_of(name)
    heavy = {module.split(".")[0] for node in at_the_top(tree) for module in imported(node)} & HEAVY
    assert not heavy or name in OWN_LIBRARY


@every
def test_files_are_short(name: str) -> None:
    assert len((PACKAGE / name).read_text("utf-8").splitlines()) <= 400


@every
def test_functions_are_short(name: str) -> None:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= 40 or f"{name}:{node.name}" in EXEMPT, f"{node.name} has {lines} lines"


@every
def test_only_the_command_line_prints_and_exits(name: str) -> None:
    if room_of(name) == "cli" or name.startswith(PROGRAMS):
        return
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "exit", "quit", "sys.exit", "os._exit", "sys.stdout.write", "click.echo"}


@every
def test_no_failure_is_swallowed(name: str) -> None:
    """``except Exception`` stands only where the command line turns what is left into a message."""
    broad = [
        node
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]
    assert not broad or name == "cli/root.py"


def test_the_exemptions_are_still_needed() -> None:
    for place in EXEMPT:
        name, function = place.split(":")
        lengths = [
            (node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(tree_of(name))
            if isinstance(node, ast.FunctionDef) and node.name == function
        ]
        assert max(lengths) > 40

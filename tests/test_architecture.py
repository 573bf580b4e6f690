"""The rules of docs/architecture.md: imports point one way, and private APIs of dependencies are listed."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from helpers.repository import REPOSITORY

PACKAGE = REPOSITORY / "refinenet_pl"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = [file for folder in ("benchmarks", "docs", "experiments") for file in (REPOSITORY / folder).rglob("*.py")]
SOURCES = [*MODULES, *SCRIPTS]
DOCUMENT = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")

# From those that import to those that are imported. The modules beside the rooms import no room.
ROOMS = ["cli", "report", "ablation", "callbacks", "tracking", "deployment", "checkpoints", "tasks", "visualization"]
ROOMS += ["evaluation", "metrics", "datamodule", "models", "datasets"]
TOP = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}  # they import what users name


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, wherever in the file."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_file(name: str) -> Path | None:
    """The file of the package that an imported name comes from."""
    if name.partition(".")[0] != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*name.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py", path.parent.with_suffix(".py"), path.parent / "__init__.py")
    return next(candidate for candidate in candidates if candidate.exists())


def rank(file: Path) -> int:
    parts = file.relative_to(PACKAGE).parts
    return ROOMS.index(parts[0]) if len(parts) > 1 else len(ROOMS)


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(file: Path) -> Iterator[str]:
    """Private names of other packages: imported ones, and attributes of imported modules."""
    roots = {name.partition(".")[0] for name in imported(file)} - {PACKAGE.name}
    yield from (name for name in imported(file) if any(map(private, name.split("."))) and not name.startswith(PACKAGE.name))
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Attribute) and private(node.attr) and ast.unparse(node).partition(".")[0] in roots:
            yield ast.unparse(node)


def test_all_rooms_are_ranked():
    assert {file.parent.name for file in PACKAGE.glob("*/__init__.py")} == set(ROOMS)
    assert all(f"`{room}/`" in DOCUMENT for room in ROOMS)


def test_imports_point_one_way():
    uses = {file: {other for name in imported(file) if (other := module_file(name)) is not None} for file in set(MODULES) - TOP}
    upward = [(file, other) for file, others in uses.items() for other in others if rank(other) < rank(file) or other in TOP]
    assert upward == []


def test_no_module_imports_itself_by_way_of_others():
    graph = {file: {module_file(name) for name in imported(file)} - {None, file} for file in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_nothing_changes_the_import_path_or_patches():
    assert [file for file in SOURCES if any(name.startswith("unittest") for name in imported(file))] == []
    nodes = [(file, node) for file in SOURCES for node in ast.walk(tree(file)) if isinstance(node, ast.Attribute)]
    assert [file for file, node in nodes if ast.unparse(node) == "sys.path"] == []


def test_private_apis_are_listed():
    assert [(file, name) for file in SOURCES for name in private_names(file) if name not in DOCUMENT] == []

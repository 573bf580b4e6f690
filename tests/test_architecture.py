"""Rules of docs/architecture.md: direction of imports, and a list of the private APIs of dependencies."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from helpers.repository import REPOSITORY

PACKAGE = REPOSITORY / "refinenet_pl"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = MODULES + [file for folder in ("benchmarks", "docs", "experiments") for file in (REPOSITORY / folder).rglob("*.py")]
DOCUMENT = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
# Subpackages, each of which imports only later ones. Modules outside subpackages import none of them.
RANKS = ["cli", "report", "ablation", "callbacks", "tracking", "deployment", "checkpoints", "tasks", "visualization"]
RANKS += ["evaluation", "metrics", "datamodule", "models", "datasets"]
TOP = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}  # public names and the entry point
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in SOURCES}


def imported(file: Path) -> Iterator[str]:
    """Dotted names of all imports of a file."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def attributes(file: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(TREES[file]) if isinstance(node, ast.Attribute)]


def module_file(name: str) -> Path | None:
    """File of the package that defines an imported name."""
    if name.partition(".")[0] != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*name.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py", path.parent.with_suffix(".py"), path.parent / "__init__.py")
    return next(candidate for candidate in candidates if candidate.exists())


def rank(file: Path) -> int:
    parts = file.relative_to(PACKAGE).parts
    return RANKS.index(parts[0]) if len(parts) > 1 else len(RANKS)


def private_names(file: Path) -> Iterator[str]:
    """Private names of other packages: imports, and attributes of imported modules."""
    roots = {name.partition(".")[0] for name in imported(file)} - {PACKAGE.name}
    names = [*imported(file), *(ast.unparse(node) for node in attributes(file) if re.match("_(?!_)", node.attr))]
    yield from (name for name in names if name.partition(".")[0] in roots and re.search(r"\._(?!_)", name))


def test_subpackages_are_documented():
    assert {file.parent.name for file in PACKAGE.glob("*/__init__.py")} == set(RANKS)
    assert all(f"`{name}/`" in DOCUMENT for name in RANKS)


def test_imports_point_one_way():
    uses = {file: {other for name in imported(file) if (other := module_file(name))} for file in MODULES}
    upward = [(file, other) for file in set(MODULES) - TOP for other in uses[file] if rank(other) < rank(file) or other in TOP]
    assert upward == []
    graph = {file: others - {file} for file, others in uses.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)  # raises CycleError


def test_no_path_changes_or_patches():
    assert [file for file in SOURCES if any(name.startswith("unittest") for name in imported(file))] == []
    changed = [file for file in SOURCES for node in attributes(file) if ast.unparse(node) == "sys.path"]
    assert changed == [PACKAGE / "cli" / "main.py"]  # so that recipes can name classes of files in the working directory


def test_private_apis_are_documented():
    assert [(file, name) for file in SOURCES for name in private_names(file) if name not in DOCUMENT] == []

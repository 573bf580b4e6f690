"""Recursive search for images and masks, shared by training, checks and prediction."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from refinenet_pl.datasets.readers.text import composed
from refinenet_pl.errors import DataError


@dataclass
class LeftOut:
    """Folder entries that a search leaves out.

    Attributes:
        hidden_files: Number of files whose names begin with a dot.
        hidden_folders: Number of folders whose names begin with a dot; they are not searched.
        others: Number of files by extension, for extensions that are not searched for.
        broken: Broken links and devices with an extension that is searched for.
        circular: Links to one of their own parent folders.
        unreadable: Folders that cannot be listed.
        own_output: Number of files below the output folder.
    """

    hidden_files: int = 0
    hidden_folders: int = 0
    others: Counter[str] = field(default_factory=Counter)
    broken: list[Path] = field(default_factory=list)
    circular: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)
    own_output: int = 0

    def add(self, more: "LeftOut") -> None:
        """Add the entries of another folder."""
        for name, value in vars(more).items():
            setattr(self, name, getattr(self, name) + value)

    def refuse_unreadable(self) -> None:
        """Raise a DataError if a folder cannot be listed, since samples may be in it."""
        if self.unreadable:
            raise DataError(f"{self.unreadable[0]}: this folder cannot be listed; check its permissions")

    def __str__(self) -> str:
        """Summary such as `3 hidden files, 2 files of other types (.txt)`; empty if nothing is left out."""
        types = ", ".join(sorted(extension or "without extension" for extension in self.others))
        parts = [
            _counted(self.hidden_files, "hidden file"),
            _counted(self.hidden_folders, "hidden folder"),
            _counted(self.others.total(), f"file of another type ({types})", f"files of other types ({types})"),
            _counted(self.own_output, "file in the output folder", "files in the output folder"),
            _named(self.broken, "broken link"),
            _named(self.circular, "link to a folder that it is in", "links to folders that they are in"),
            _named(self.unreadable, "folder that cannot be listed", "folders that cannot be listed"),
        ]
        return ", ".join(filter(None, parts))


def find_files(folder: Path, extensions: tuple[str, ...]) -> tuple[list[Path], LeftOut]:
    """Find the files with given extensions below a folder.

    Searches subfolders recursively and follows links. Leaves out files and folders whose names begin with a dot, except
    `folder` itself.

    Args:
        folder: Folder to search.
        extensions: Lowercase extensions; those of files match in any case.

    Returns:
        The paths, which begin with `folder` and are sorted by their parts, and the entries that are left out.

    Raises:
        DataError: `folder` cannot be listed.
    """
    files: list[Path] = []
    left_out = LeftOut()

    def visit(here: Path, above: tuple[str, ...]) -> None:
        try:
            with os.scandir(here) as entries:
                listed = list(entries)
        except OSError as error:
            if here == folder:
                raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
            left_out.unreadable.append(here)
            return
        for entry in listed:
            path, hidden = here / entry.name, entry.name.startswith(".")
            if answers(entry.is_dir):
                real = os.path.realpath(path) if entry.is_symlink() else os.path.join(above[-1], entry.name)
                if hidden:
                    left_out.hidden_folders += 1
                elif real in above:
                    left_out.circular.append(path)
                else:
                    visit(path, (*above, real))
            elif hidden:
                left_out.hidden_files += 1
            elif path.suffix.lower() not in extensions:
                left_out.others[path.suffix.lower()] += 1
            elif answers(entry.is_file):
                files.append(path)
            else:
                left_out.broken.append(path)

    visit(folder, (os.path.realpath(folder),))
    return sorted(files, key=_order), left_out


def answers(question: Callable[[], bool]) -> bool:
    """Call `DirEntry.is_dir` or `DirEntry.is_file`; False if it fails, as it does for a link to itself."""
    try:
        return question()
    except OSError:
        return False


def _order(path: Path) -> tuple[str, ...]:
    return tuple(map(composed, path.parts))


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}" if number else ""


def _named(paths: list[Path], one: str, many: str | None = None) -> str:
    """Format the number of paths and the first one."""
    if not paths:
        return ""
    example = f"{paths[0]}, ..." if len(paths) > 1 else str(paths[0])
    return f"{_counted(len(paths), one, many)} ({example})"

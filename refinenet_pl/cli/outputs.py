"""Names of the files that `predict` writes, and protection of existing files."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from refinenet_pl.cli.inputs import Input, output_names
from refinenet_pl.errors import DataError
from refinenet_pl.files import refuse_existing
from refinenet_pl.visualization.fonts import one_line


def choose_stems(inputs: list[Input], output: Path, files_of: Callable[[Path], list[Path]], overwrite: bool) -> list[Path]:
    """Choose the path, without suffix and extension, of the files of each prediction.

    Prints the names that differ from their image's.

    Args:
        inputs: The images.
        output: Folder to write to.
        files_of: Maps such a path to the files of a prediction.
        overwrite: Accept existing files.

    Raises:
        DataError: A name is too long for a file, or see `refuse_collisions`.
    """
    endings = [file.name.removeprefix("_") for file in files_of(Path("_"))]
    stems = [output / name for name in name_outputs(inputs, endings)]
    refuse_collisions(inputs, [file for stem in stems for file in files_of(stem)], overwrite)
    return stems


def name_outputs(inputs: list[Input], endings: Sequence[str]) -> list[str]:
    """Choose the name of each prediction and print the names that differ from their image's.

    Args:
        inputs: The images.
        endings: Suffixes, with extension, of the files of a prediction.

    Raises:
        DataError: A name is too long for a file.
    """
    names = output_names(inputs, endings)
    others = [
        f"{image.path} as {name}" for image, name in zip(inputs, names, strict=True) if name != image.stem.replace("/", "_")
    ]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        print(one_line(f"renamed, because images would share a file: {', '.join(others[:5])}{more}"))
    for image, name in zip(inputs, names, strict=True):
        # Leaves room for the suffix of the temporary file.
        if len(os.fsencode(f"{Path(name).name}{max(endings, key=len)}")) > 240:
            raise DataError(f"{image.path}: the names of its predictions would be too long; rename the image")
    return names


def refuse_collisions(inputs: list[Input], files: list[Path], overwrite: bool) -> None:
    """Raise a DataError if an output file is an input image, exists already, or has a regular file as a parent folder."""

    @cache
    def real(folder: Path) -> str:
        return os.path.realpath(folder)

    written = {(real(file.parent), file.name) for file in files}
    for image in inputs:
        for path in image.path, image.path.resolve():
            if (real(path.parent), path.name) in written:
                raise DataError(f"{image.path}: a prediction would overwrite this image; choose another --output")
    if not overwrite:
        refuse_existing(files, DataError)
    for folder in {parent for file in files for parent in file.parents}:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: is a file, so predictions cannot be written below it; choose another --output")

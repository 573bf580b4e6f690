"""The images that `predict` is given, and the names that their predictions get."""

import glob
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from refinenet_pl.datasets.readers.finding import LeftOut, find_files
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, composed, match_name, read_names, suggest_name
from refinenet_pl.errors import DataError
from refinenet_pl.files import distinct, expand_path


class Input(NamedTuple):
    """An image to predict.

    Attributes:
        path: Its file.
        base: The folder that it was found below: the one given, or that of the file given, or the part of a pattern before its
            first wildcard.
    """

    path: Path
    base: Path

    @property
    def name(self) -> str:
        """Its path below `base`."""
        return self.path.relative_to(self.base).as_posix()

    @property
    def stem(self) -> str:
        """The same without the extension."""
        return self.name.removesuffix(self.path.suffix)


def find_images(arguments: Sequence[str], output: Path) -> tuple[list[Input], LeftOut]:
    """Find images, images below folders, and images that patterns match.

    Of folders and patterns, only files with an extension of images are taken, and none below the folder for the output. A
    pattern with another extension takes files with that one too.

    Args:
        arguments: Files, folders and patterns of `glob`; one that exists is no pattern.
        output: Folder that predictions are written into.

    Returns:
        The images in the order of the arguments, each once, and the entries that are left out.

    Raises:
        DataError: An argument finds no image.
    """
    found: dict[str, Input] = {}
    left_out = LeftOut()
    for argument in arguments:
        path = expand_path(argument, DataError)
        skipped = LeftOut()
        if path.is_file():
            here = [Input(path, path.parent)]
        elif path.is_dir():
            here = _in_folder(path, path, output, skipped)
        else:
            here = _in_pattern(str(path), output, skipped)
        if not here:
            others = f"; left out: {skipped}" if str(skipped) else ""
            raise DataError(f"{argument}: no image there (looked for {', '.join(IMAGE_EXTENSIONS)}{others})")
        for image in here:
            found.setdefault(os.path.abspath(image.path), image)
        left_out.add(skipped)
    return list(found.values()), left_out


def _in_folder(folder: Path, base: Path, output: Path, left_out: LeftOut) -> list[Input]:
    files, more = find_files(folder, IMAGE_EXTENSIONS)
    left_out.add(more)
    return _without_output([Input(file, base) for file in files], base, output, left_out)


def _in_pattern(pattern: str, output: Path, left_out: LeftOut) -> list[Input]:
    parts = Path(pattern).parts
    base = Path(*takewhile(lambda part: not glob.has_magic(part), parts))
    extensions = (*IMAGE_EXTENSIONS, Path(pattern).suffix.lower())
    files: list[Path] = []
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if path.is_dir():
            if "**" not in parts:  # else its files match too
                files += [image.path for image in _in_folder(path, base, output, left_out)]
        elif path.suffix.lower() not in extensions:
            left_out.others[path.suffix.lower()] += 1
        elif path.is_file():
            files.append(path)
        else:
            left_out.broken.append(path)
    if "**" in parts:
        # It enters links to folders that they are in.
        shortest = sorted(files, key=lambda path: len(path.parts))
        places = {(os.path.realpath(path.parent), path.name): path for path in reversed(shortest)}
        files = sorted(places.values())
    return _without_output([Input(file, base) for file in files], base, output, left_out)


def _without_output(images: list[Input], base: Path, output: Path, left_out: LeftOut) -> list[Input]:
    """Leave out what is in the output folder if that is below `base`: predictions of an earlier call."""
    output, base = (Path(os.path.realpath(folder)) for folder in (output, base))
    if output == base or not output.is_relative_to(base):
        return images
    kept = [image for image in images if not Path(os.path.realpath(image.path.parent)).is_relative_to(output)]
    left_out.own_output += len(images) - len(kept)
    return kept


def select(images: list[Input], only: Path) -> list[Input]:
    """The images that a text file lists, by name or path, with or without their extensions.

    Raises:
        DataError: The file is missing or is not text, or names an image that is not there.
    """
    known: dict[str, list[Input]] = defaultdict(list)
    for image in images:
        for name in {image.name, image.path.name, image.path.as_posix()}:
            for key in name, name.removesuffix(image.path.suffix):
                known[composed(key)].append(image)
    if not only.is_file():
        raise DataError(f"{only}: no such file; --only names a text file with one name a line")
    entries = read_names(only)
    if not entries:
        raise DataError(f"{only}: names no pictures; write one name a line")
    matched = {entry.strip(): match_name(entry, known) for entry in entries}
    missing = [entry for entry, key in matched.items() if key is None]
    if missing:
        others = f" (nor are {len(missing) - 1} others)" if len(missing) > 1 else ""
        advice = suggest_name(missing[0], known)
        raise DataError(f"{only}: lists {missing[0]}, which is not among the pictures{others}{f'; {advice}' if advice else ''}")
    wanted = {image for key in matched.values() for image in known[key]}
    return [image for image in images if image in wanted]


def output_names(images: list[Input], endings: Sequence[str]) -> list[str]:
    """Names for predictions, of which no two share a file.

    A name is the image's path below its base without the extension, its parts joined by `_`, as `Folder` names samples. Of
    several that are the same, those that differ in the extension keep it, and the others begin with the base's name. What is
    taken even so is numbered.

    Args:
        images: The images.
        endings: Each name stands for one file for each of these.
    """
    stems, names = Counter(image.stem for image in images), Counter(image.name for image in images)
    chosen = []
    for image in images:
        if stems[image.stem] == 1:
            path = image.stem
        elif names[image.name] == 1:
            path = image.name
        else:
            path = f"{Path(os.path.abspath(image.base)).name}/{image.stem}"
        chosen.append(path.replace("/", "_"))
    return distinct(chosen, endings)

"""Input images of `predict` and names of their predictions."""

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
        path: Image file.
        base: Folder that the name is relative to: the given folder, the folder of a given file, or the part of a pattern before
            its first wildcard.
    """

    path: Path
    base: Path

    @property
    def name(self) -> str:
        """Path relative to `base`."""
        return self.path.relative_to(self.base).as_posix()

    @property
    def stem(self) -> str:
        """Path relative to `base`, without the extension."""
        return self.name.removesuffix(self.path.suffix)


def find_images(
    arguments: Sequence[str], output: Path, extensions: tuple[str, ...] = IMAGE_EXTENSIONS
) -> tuple[list[Input], LeftOut]:
    """Find the images that files, folders and patterns refer to.

    Folders are searched recursively. Folders and patterns yield only files with an image extension outside `output`; a pattern
    that ends in another extension also yields files with that extension.

    Args:
        arguments: Files, folders and `glob` patterns; an argument that exists as a file or folder is not used as a pattern.
        output: Folder that predictions are written to.
        extensions: Lowercase extensions of images.

    Returns:
        The images without duplicates, in the order of the arguments, and the entries that are left out.

    Raises:
        DataError: No image is found for an argument.
    """
    found: dict[str, Input] = {}
    left_out = LeftOut()
    for argument in arguments:
        path = expand_path(argument, DataError)
        skipped = LeftOut()
        if path.is_file():
            here = [Input(path, path.parent)]
        elif path.is_dir():
            here = _in_folder(path, path, output, skipped, extensions)
        else:
            here = _in_pattern(str(path), output, skipped, extensions)
        if not here:
            others = f"; left out: {skipped}" if str(skipped) else ""
            raise DataError(f"{argument}: no image found (looked for {', '.join(extensions)}{others})")
        for image in here:
            found.setdefault(os.path.abspath(image.path), image)
        left_out.add(skipped)
    return list(found.values()), left_out


def _in_folder(folder: Path, base: Path, output: Path, left_out: LeftOut, extensions: tuple[str, ...]) -> list[Input]:
    files, more = find_files(folder, extensions)
    left_out.add(more)
    return _without_output([Input(file, base) for file in files], base, output, left_out)


def _in_pattern(pattern: str, output: Path, left_out: LeftOut, extensions: tuple[str, ...]) -> list[Input]:
    parts = Path(pattern).parts
    base = Path(*takewhile(lambda part: not glob.has_magic(part), parts))
    accepted = (*extensions, Path(pattern).suffix.lower())
    files: list[Path] = []
    for path in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if path.is_dir():
            if "**" not in parts:  # otherwise, the pattern matches its files too
                files += [image.path for image in _in_folder(path, base, output, left_out, extensions)]
        elif path.suffix.lower() not in accepted:
            left_out.others[path.suffix.lower()] += 1
        elif path.is_file():
            files.append(path)
        else:
            left_out.broken.append(path)
    if "**" in parts:
        # `**` follows links to a parent folder, so a file may match under several paths; keep the shortest.
        shortest = sorted(files, key=lambda path: len(path.parts))
        places = {(os.path.realpath(path.parent), path.name): path for path in reversed(shortest)}
        files = sorted(places.values())
    return _without_output([Input(file, base) for file in files], base, output, left_out)


def _without_output(images: list[Input], base: Path, output: Path, left_out: LeftOut) -> list[Input]:
    """Leave out predictions of earlier calls: files in the output folder, if that is below `base`."""
    output, base = (Path(os.path.realpath(folder)) for folder in (output, base))
    if output == base or not output.is_relative_to(base):
        return images
    kept = [image for image in images if not Path(os.path.realpath(image.path.parent)).is_relative_to(output)]
    left_out.own_output += len(images) - len(kept)
    return kept


def select(images: list[Input], only: Path) -> list[Input]:
    """Select the images that a text file lists.

    Args:
        images: Images to select from.
        only: Text file with one name or path per line; extensions are optional.

    Returns:
        The selected images in their original order.

    Raises:
        DataError: The file is missing, empty or not text, or lists an image that is not among `images`.
    """
    known: dict[str, list[Input]] = defaultdict(list)
    for image in images:
        for name in {image.name, image.path.name, image.path.as_posix()}:
            for key in name, name.removesuffix(image.path.suffix):
                known[composed(key)].append(image)
    if not only.is_file():
        raise DataError(f"{only}: no such file; --only needs a text file with one name per line")
    entries = read_names(only)
    if not entries:
        raise DataError(f"{only}: lists no images; write one name per line")
    wanted: set[Input] = set()
    missing: dict[str, None] = {}  # ordered, without duplicates
    for entry in entries:
        match = match_name(entry, known)
        if match is None:
            missing[entry.strip()] = None
        else:
            wanted.update(known[match])
    if missing:
        first, *more = missing
        others = f" (and {len(more)} more)" if more else ""
        advice = suggest_name(first, known)
        raise DataError(f"{only}: lists {first}, which is not among the images{others}{f'; {advice}' if advice else ''}")
    return [image for image in images if image in wanted]


def output_names(images: list[Input], endings: Sequence[str]) -> list[str]:
    """Unique names for the predictions of images.

    A name is the image's path relative to its base without the extension, its parts joined by `_`, as `Folder` names samples.
    Duplicate names keep the extension if they differ in it, and are prefixed with the name of the base otherwise; remaining
    duplicates are numbered.

    Args:
        images: The images.
        endings: Suffixes of the files that each name produces.
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

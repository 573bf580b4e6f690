"""Image files that annotations name, their names in the imported dataset, and their sizes and orientations."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Size
from refinenet_pl.datasets.readers.image_files import open_image, orientation_of, stored, upright
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, composed
from refinenet_pl.errors import DataError


def image_folders(file: Path, given: Path | None) -> list[Path]:
    """Folders that may contain the images of an annotation file.

    Args:
        file: The annotation file.
        given: The user's folder, which is the only one; None to search next to the file and next to its folder.

    Raises:
        DataError: The user's folder does not exist.
    """
    if given is None:
        above = file.absolute().parent.parent
        return [file.parent, file.parent / "images", above, above / "images"]
    if not given.is_dir():
        raise DataError(f"{given}: no such folder; give the folder of the images with --images")
    return [given]


def find_image(names: Sequence[str], folders: Sequence[Path], place: str) -> tuple[Path, str]:
    """Find an image file.

    Tries each name as it is, and then without its first folders, which exist only on the computer of the annotation.

    Args:
        names: Possible paths of the image, with slashes or backslashes.
        folders: Folders that may contain it, in this order.
        place: File and position of the name, to begin an error with.

    Returns:
        The file, and its name in the imported dataset.

    Raises:
        DataError: There is no such file, or it has the extension of another format.
    """
    parts = [[part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")] for name in names]
    for start in range(max(map(len, parts), default=0)):
        for words in parts:
            for folder in folders if words[start:] else ():
                path = folder.joinpath(*words[start:])
                if path.is_file():
                    _refuse_other_format(path)
                    return path, stem("/".join(words[start:]))
    searched = ", ".join(map(str, folders))
    raise DataError(f"{place}: there is no image {names[0]} in {searched}; add it, or give its folder with --images")


def stem(name: str) -> str:
    """Name without extension, in Unicode form NFC."""
    return composed(PurePosixPath(name).with_suffix("").as_posix())


def _refuse_other_format(path: Path) -> None:
    if path.suffix.lower() not in IMAGE_EXTENSIONS:
        raise DataError(f"{path}: is not one of {' '.join(IMAGE_EXTENSIONS)}; convert it to PNG and correct its name")


def refuse_ambiguous_names(images: Sequence[AnnotatedImage]) -> None:
    """Raise a DataError if two images of a split would have the same name, or a name that the dataset skips."""
    found: dict[tuple[str | None, str], AnnotatedImage] = {}
    for image in images:
        if any(part.startswith(".") for part in image.name.split("/")):
            raise DataError(f"{image.path}: names that begin with a dot are skipped by the dataset; rename it")
        # The dataset joins folders by underscores, and some file systems do not distinguish case.
        other = found.setdefault((image.split, image.name.replace("/", "_").casefold()), image)
        if other is not image:
            raise DataError(
                f"{image.place}: its image {image.path} and {other.path} of {other.place} would both be named {image.name}; "
                "rename or remove one of them"
            )


def measure(image: AnnotatedImage, known_upright: bool) -> tuple[Size, bool]:
    """Open an image and determine the size of its mask, so that both fit as the dataset `folder` reads them.

    Args:
        image: The image.
        known_upright: True if the annotations refer to the upright image.

    Returns:
        Width and height, and True if the image must be saved upright: its EXIF orientation preserves its size, and the dataset
        refuses such an image because it cannot know whether the mask refers to the stored or to the upright form.

    Raises:
        DataError: The image cannot be read, its size differs from that of the annotations, or its orientation is ambiguous.
    """
    with open_image(image.path) as opened:
        forms = upright(opened), stored(opened)
        size = image.size or forms[0].size
        if size not in (form.size for form in forms):
            width, height = forms[0].size
            raise DataError(
                f"{image.path} is {width}x{height}, but {image.place} is for {size[0]}x{size[1]}; use the image that was "
                "annotated"
            )
        if orientation_of(opened) == 1 or forms[0].size != forms[1].size:
            return size, False
        if not known_upright:
            raise DataError(
                f"{image.path}: is stored rotated (EXIF orientation {orientation_of(opened)}), and {image.place} fits both the "
                "stored and the upright image; rotate the image to match the annotations and save it without this tag"
            )
        return size, True

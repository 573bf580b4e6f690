"""Pictures and masks from disk, with errors that name the file and the cure."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from refinenet_pl.data.errors import DataError
from refinenet_pl.data.labels import LabelValues


def read_image(path: Path) -> np.ndarray:
    """Read a picture of any common format as RGB, upright.

    Grey, palette and CMYK pictures are converted, transparency is left out.

    Returns:
        uint8 (height, width, 3).

    Raises:
        DataError: The file is missing, empty, truncated or no picture, or has more than 8 bits a channel.
    """
    with _opened(path) as picture:
        return np.array(ImageOps.exif_transpose(_eight_bits(picture, path)).convert("RGB"))


def read_mask(path: Path, values: LabelValues, palette: Sequence[tuple[int, int, int]] | None = None) -> np.ndarray:
    """Read a mask whose pixel values stand for classes: a greyscale (1, 8 or 16 bits) or palette picture.

    Args:
        path: A PNG, or another lossless format.
        values: What the values stand for.
        palette: Colours that the first entries of a palette picture must have. A program that saved the mask again may have
            sorted its palette, and with it the values, anew. None where the data set prescribes none.

    Returns:
        uint8 (height, width) of class ids and the void id.

    Raises:
        DataError: The file is missing, damaged, a JPEG, not a single channel, or holds a value that stands for nothing.
    """
    with _opened(path) as picture:
        _lossless(picture, path)
        if picture.mode not in ("1", "L", "P", "I;16"):
            raise DataError(
                f"{path}: a mask must hold one class id a pixel (mode L or P), but this picture has mode {picture.mode}; "
                "convert its colours to ids first, or open it as a data set `folder` with masks: colors"
            )
        content = np.array(picture).astype(np.uint16) // _stretch(picture, path)
        if palette is not None and picture.mode == "P":
            _check_palette(picture, np.unique(content), palette, path)
    return values.encode(content, path)


def read_colors(path: Path) -> np.ndarray:
    """Read a mask whose colours stand for classes: RGB, or a palette picture by its colours.

    Returns:
        uint8 (height, width, 3).

    Raises:
        DataError: The file is missing, damaged or a JPEG, which changes colours.
    """
    with _opened(path) as picture:
        _lossless(picture, path)
        return np.array(_eight_bits(picture, path).convert("RGB"))


def read_pair(image_path: Path, mask: np.ndarray, mask_path: Path, strict: bool = True) -> np.ndarray:
    """Read the picture that a mask belongs to.

    A camera held sideways stores the picture as it lay and notes how to turn it (EXIF orientation). Masks are drawn on either
    form; where the two differ in size, that of the mask decides.

    Args:
        image_path: The picture.
        mask: Integer (height, width).
        mask_path: Named in errors.
        strict: What becomes of a picture for which sizes decide nothing. True: an error, because half of the guesses would
            give silently wrong labels. False: it is taken as stored, as MATLAB reads it, with which the published data sets
            were labelled.

    Returns:
        uint8 (height, width, 3), of the mask's size.

    Raises:
        DataError: As `read_image`, or the sizes differ, or the orientation cannot be decided.
    """
    with _opened(image_path) as picture:
        stored = _eight_bits(picture, image_path)
        turn = picture.getexif().get(ExifTags.Base.Orientation, 1)
        upright = ImageOps.exif_transpose(stored)
        size = mask.shape[::-1]
        if turn in range(2, 9) and stored.size == size == upright.size and strict:
            raise DataError(
                f"{image_path}: is stored turned (EXIF orientation {turn}), and nothing tells whether its mask was drawn on "
                "the stored or on the upright picture; save the picture without that tag, as the mask needs it"
            )
        chosen = next((form for form in (stored, upright) if form.size == size), None)
        if chosen is None:
            raise DataError(
                f"{image_path} is {upright.width}x{upright.height} but its mask {mask_path} is {size[0]}x{size[1]}; they must "
                "be of one size"
            )
        return np.array(chosen.convert("RGB"))


def _eight_bits(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # Pillow would clip these, to white all over as a rule
        raise DataError(f"{path}: has more than 8 bits a channel (mode {picture.mode}); convert it to 8 bits first")
    return picture


def _lossless(picture: Image.Image, path: Path) -> None:
    if picture.format in ("JPEG", "MPO"):
        raise DataError(
            f"{path}: this mask is a {picture.format}, which smears labels into others along every outline; save masks as PNG, "
            "anew from where they were drawn"
        )


def _stretch(picture: Image.Image, path: Path) -> int:
    """Factor by which Pillow has multiplied the values of a greyscale PNG of 2 or 4 bits, so that they fill 0..255."""
    if picture.format != "PNG" or picture.mode != "L":
        return 1
    with path.open("rb") as file:
        bits, colour_type = file.read(26)[24:]  # of the header, which is the first chunk of every PNG
    return 255 // (2**bits - 1) if colour_type == 0 and bits in (2, 4) else 1


def _check_palette(picture: Image.Image, present: np.ndarray, palette: Sequence[tuple[int, int, int]], path: Path) -> None:
    colours = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    for value in present:
        if value < len(palette) and (value >= len(colours) or tuple(colours[value]) != tuple(palette[value])):
            here = tuple(colours[value].tolist()) if value < len(colours) else "no colour"
            raise DataError(
                f"{path}: value {value} has {here} in this picture's palette, but {tuple(palette[value])} in the data set's; "
                "some program has saved it with another palette, so its values are not class ids. Take the original file"
            )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture, decoded in full; what Pillow raises for a bad file becomes a DataError."""
    try:
        picture = Image.open(path)
        picture.load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # damaged bytes lead Pillow's parsers to almost anything
        raise DataError(f"{path}: cannot be read as a picture ({error}); is it complete? Copy it anew") from error
    with picture:
        yield picture

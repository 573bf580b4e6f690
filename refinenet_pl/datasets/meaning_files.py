"""Files beside a network's weights that say what its channels and its images mean."""

import json
from typing import Any

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.values import Values

CLASSES_FILE = "classes.json"
"""Names, palette and `ignore_index` of the classes, see `Classes.to_dict`."""

VALUES_FILE = "values.json"
"""Names, kind, unit, range and swapped pairs of the values, see `Values.to_dict`, and their `activation`."""

IMAGES_FILE = "images.json"
"""Channels and range of the images, see `ImageFormat.to_dict`; missing for networks of 8-bit RGB."""

MEANING_FILES = (CLASSES_FILE, VALUES_FILE, IMAGES_FILE)


def meaning_files(
    meaning: Classes | Values, activation: str | None = None, image_format: ImageFormat | None = None
) -> dict[str, str]:
    """Write the meaning of a network's channels and images as JSON texts by file name.

    Args:
        meaning: The classes or values that the channels predict.
        activation: Mapping from the network's output to values; None for classes.
        image_format: Format of the images; None for 8-bit RGB.
    """
    found: dict[str, dict[str, Any]] = {}
    if isinstance(meaning, Classes):
        found[CLASSES_FILE] = meaning.to_dict()
    else:
        found[VALUES_FILE] = meaning.to_dict() | {"activation": activation}
    if image_format is not None:
        found[IMAGES_FILE] = image_format.to_dict()
    return {name: json.dumps(content, indent=1) for name, content in found.items()}

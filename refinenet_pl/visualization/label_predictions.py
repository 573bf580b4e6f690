"""Files of predicted labels, of which a pixel can have several or none."""

from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.values import Values
from refinenet_pl.files import replaced
from refinenet_pl.visualization.color_bar import with_color_bar
from refinenet_pl.visualization.value_predictions import FileFormat
from refinenet_pl.visualization.values import mix_label_colors

_ROWS = 256  # Number of rows that are blended at a time, because float colors need 12 bytes per pixel.


def label_files(stem: Path, values: Values, format: FileFormat) -> list[Path]:
    """Return the files that `save_labels` writes, in the layout of the targets of `ValueFolder`.

    Args:
        stem: Path of the files without suffix and extension.
        values: The labels.
        format: `png` for masks: FOLDER/LABEL/STEM.png for each label, or FOLDER/STEM.png if there is only one; `npy` for
            FOLDER/STEM.npy. FOLDER/STEM_overlay.png is last.
    """
    if format == "png" and len(values) > 1:
        files = [stem.parent / name / f"{stem.name}.png" for name in values.names]
    else:
        files = [stem.with_name(f"{stem.name}.{format}")]
    return [*files, stem.with_name(f"{stem.name}_overlay.png")]


def save_labels(
    stem: Path, image: np.ndarray, probability: np.ndarray, values: Values, format: FileFormat, threshold: float = 0.5
) -> None:
    """Write predicted labels, and the image with their colors and a legend.

    Each file is replaced atomically.

    Args:
        stem: Path of the files without suffix and extension.
        image: The image, uint8 (height, width, 3).
        probability: float32 (height, width, labels).
        values: The labels.
        format: `png` for 8-bit masks with 255 for pixels with the label and 0 for others; `npy` for float32 probabilities,
            (height, width) for one label and (height, width, labels) for several.
        threshold: Probability above which a pixel has the label, in masks and in the overlay.

    Raises:
        OSError: A file cannot be written; the error names it.
    """
    *files, overlaid = label_files(stem, values, format)
    masks = probability > threshold
    if format == "png":
        for channel, file in enumerate(files):
            with replaced(file, durable=False) as stream:
                Image.fromarray(masks[..., channel].astype(np.uint8) * np.uint8(255)).save(stream, "png")
    else:
        with replaced(files[0], durable=False) as stream:
            np.save(stream, probability[..., 0] if len(values) == 1 else probability)
    with replaced(overlaid, durable=False) as stream:
        Image.fromarray(with_color_bar(overlay_labels(image, masks, values), (0.0, 1.0), values)).save(stream, "png")


def overlay_labels(image: np.ndarray, weights: np.ndarray, values: Values, strength: float = 0.55) -> np.ndarray:
    """Blend the colors of labels with an image; pixels without a label keep the image's color.

    Args:
        image: uint8 (height, width, 3).
        weights: Labels (bool) or their probabilities (float), (height, width, labels).
        values: The labels.
        strength: Weight of the colors of pixels with a label, 0 to 1.

    Returns:
        uint8 (height, width, 3).
    """
    blended = np.empty_like(image)
    for start in range(0, len(image), _ROWS):
        rows = slice(start, start + _ROWS)
        part = weights[rows].astype(np.float32)
        kept = 1 - strength * part.sum(-1, keepdims=True).clip(max=1)
        blended[rows] = np.round(image[rows] * kept + strength * mix_label_colors(part, values))
    return blended

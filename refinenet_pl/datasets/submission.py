"""Formats of the evaluation servers."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.cityscapes import LABEL_IDS
from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.files import replaced


@dataclass(frozen=True)
class Submission:
    """Format of one server.

    Attributes:
        dataset: Name of the dataset whose classes the server expects.
        folder: Folder of the masks inside the archive.
        format: `zip` or `gztar`, a format of `shutil.make_archive`.
        encode: Maps class ids, uint8 (height, width), to the image to save.
    """

    dataset: str
    folder: str
    format: str
    encode: Callable[[np.ndarray], Image.Image]

    def classes(self) -> Classes:
        """Classes that the server expects."""
        return find_dataset(self.dataset).classes

    def mask_file(self, output: Path, image: Path) -> Path:
        """File in `output` for the mask of an image."""
        return output / self.dataset / self.folder / f"{image.stem}.png"

    def archive_file(self, output: Path) -> Path:
        """Archive that `pack` writes."""
        return output / (self.dataset + {"zip": ".zip", "gztar": ".tar.gz"}[self.format])

    def save(self, file: Path, mask: np.ndarray) -> None:
        """Write a mask, class ids, uint8 (height, width)."""
        with replaced(file, durable=False) as stream:
            self.encode(mask).save(stream, "png")

    def pack(self, output: Path) -> Path:
        """Pack the masks into an archive, which appears completely or not at all, and return its path."""
        unfinished = shutil.make_archive(str(output / f".{self.dataset}"), self.format, output / self.dataset)
        return Path(unfinished).replace(self.archive_file(output))


def _voc(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette([value for color in VOC_PALETTE for value in color])  # makes it a palette image
    return image


def _cityscapes(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(LABEL_IDS, np.uint8)[mask])


def _ade20k(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask + np.uint8(1))  # 0 is the server's void


SERVERS = {
    # Competition 6: trained on more than VOC's own images, such as any network with ImageNet weights.
    "voc": Submission("voc2012", "results/VOC2012/Segmentation/comp6_test_cls", "gztar", _voc),
    # The server matches files by the city_sequence_frame at the beginning of their names.
    "cityscapes": Submission("cityscapes", ".", "zip", _cityscapes),
    "ade20k": Submission("ade20k", ".", "zip", _ade20k),
}

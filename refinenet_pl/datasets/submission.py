"""What the evaluation servers take."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from refinenet_pl.datasets.cityscapes import LABEL_IDS
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.datasets.voc import VOC_PALETTE


@dataclass(frozen=True)
class Submission:
    """One server's format.

    Attributes:
        dataset: Name of the data set whose classes the server knows.
        folder: Where the masks lie inside the archive.
        archive: `zip` or `gztar`, as `shutil.make_archive` names them.
        encode: From class ids, uint8 (height, width), to the picture to save.
    """

    dataset: str
    folder: str
    archive: str
    encode: Callable[[np.ndarray], Image.Image]

    def classes(self) -> Classes:
        return find_dataset(self.dataset).classes

    def save(self, output: Path, picture: Path, mask: np.ndarray) -> Path:
        """Write one mask under its picture's name, below `output`."""
        path = output / self.dataset / self.folder / f"{picture.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.encode(mask).save(path)
        return path

    def pack(self, output: Path) -> Path:
        """Pack what was saved."""
        return Path(shutil.make_archive(str(output / self.dataset), self.archive, output / self.dataset))


def _voc(mask: np.ndarray) -> Image.Image:
    picture = Image.fromarray(mask)
    picture.putpalette([value for colour in VOC_PALETTE for value in colour])  # makes it a palette picture
    return picture


def _cityscapes(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(np.array(LABEL_IDS, np.uint8)[mask])


def _ade20k(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask + np.uint8(1))  # 0 is the server's void


SERVERS = {
    # Competition 6: trained on more than VOC's own pictures, as every network with ImageNet weights is.
    "voc": Submission("voc2012", "results/VOC2012/Segmentation/comp6_test_cls", "gztar", _voc),
    # The server goes by city_sequence_frame at the beginning of the names.
    "cityscapes": Submission("cityscapes", ".", "zip", _cityscapes),
    "ade20k": Submission("ade20k", ".", "zip", _ade20k),
}

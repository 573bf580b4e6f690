"""PASCAL VOC 2012: images of everyday scenes, 20 object classes and background, with the additional labels of SBD."""

from pathlib import Path

import numpy as np

from refinenet_pl.datasets.cache import Conversion, cache_folder, convert
from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample, find_folder, listed_samples
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.matlab import label_map, read_mat
from refinenet_pl.datasets.readers.text import read_list
from refinenet_pl.errors import DataError

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Background and the 20 object classes, in the spelling of the development kit."""


class VOC2012(PairedDataset):
    """The segmentation part of the PASCAL Visual Object Classes Challenge 2012.

    `root` contains `VOCdevkit`, or is that folder or its folder `VOC2012`. The split `train_aug` also needs
    `benchmark_RELEASE` next to `VOCdevkit`: the Semantic Boundaries Dataset (SBD), which has masks for most images without
    masks in VOC. The split consists of VOC's training images with VOC's masks, and SBD's other images with masks that are
    converted to PNGs when the split is first opened. It contains no images of VOC's `val`. SBD's masks have no void border
    around the objects.

    Evaluation (development kit): void pixels are ignored, one confusion matrix over the split, mean IoU over 21 classes.

    Args:
        root: The folder.
        split: `train`, `val`, `trainval` or `train_aug`.
        cache: Folder for the PNGs of SBD's masks; None for `refinenet_pl_cache` next to `VOCdevkit`.
    """

    title = "PASCAL VOC 2012"
    classes = Classes(names=VOC_CLASSES, palette=VOC_PALETTE[:21])
    split_sizes = {"train": 1464, "val": 1449, "trainval": 2913, "train_aug": 10582}
    unlabeled_sizes = {"test": 1456}
    values = LabelValues.plain(21)
    mask_palette = VOC_PALETTE
    source = (
        "VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012, which unpacks to VOCdevkit; for "
        "train_aug also the Semantic Boundaries Dataset, benchmark.tgz from "
        "http://home.bharathh.info/pubs/codes/SBD/download.html, which unpacks to benchmark_RELEASE, in the same folder"
    )
    license = "images from Flickr, under its terms of use; for research"

    def __init__(self, root: str | Path | None, split: str, cache: str | None = None):
        self.cache = cache
        super().__init__(root, split)

    def find_samples(self) -> list[Sample]:
        """Read the split's lists, and convert the masks of SBD that are not in the cache yet."""
        home = self._home()
        if self.split != "train_aug":
            return _voc_samples(home, self.split)
        samples = _voc_samples(home, "train")
        taken = {sample.name for sample in samples + _voc_samples(home, "val")}
        folder = cache_folder(home, self.cache, "sbd")
        conversions = []
        for name, image, labels in self._sbd_samples(home):
            if name not in taken:
                taken.add(name)
                samples.append(Sample(name, image, folder / f"{name}.png"))
                conversions.append(Conversion(samples[-1].mask, (labels,)))
        convert(conversions, _read_labels, "SBD masks")
        return samples

    def _home(self) -> Path:
        """The folder that contains VOCdevkit/VOC2012."""
        here = self.root.resolve()
        above = {"VOCdevkit": here.parent, "VOC2012": here.parent.parent}.get(here.name, here)
        for home in here, above:
            if (home / "VOCdevkit" / "VOC2012").is_dir():
                return home
        raise DataError(f"{self.root}: contains no folder 'VOCdevkit/VOC2012' and is neither of the two; {self.source}")

    def _sbd_samples(self, home: Path) -> list[Sample]:
        """Images of SBD, with their .mat files in place of masks."""
        archive = find_folder(home, "benchmark_RELEASE/dataset", source=self.source)
        names = [name for part in ("train", "val") for (name,) in read_list(archive / f"{part}.txt")]
        return [Sample(name, archive / "img" / f"{name}.jpg", archive / "cls" / f"{name}.mat") for name in names]


def _voc_samples(home: Path, split: str) -> list[Sample]:
    voc = home / "VOCdevkit" / "VOC2012"
    listing = voc / "ImageSets" / "Segmentation" / f"{split}.txt"
    return listed_samples(listing, voc / "JPEGImages", voc / "SegmentationClass")


def _read_labels(file: Path) -> np.ndarray:
    """Class ids of SBD's GTcls, uint8 (height, width)."""
    truth = read_mat(file, "GTcls")["GTcls"]
    labels = getattr(truth, "Segmentation", None)
    return VOC2012.values.encode(label_map(labels, f"{file}: GTcls.Segmentation"), file)

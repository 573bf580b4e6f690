"""PASCAL-Context: the images of VOC 2010 with labels for every pixel, 59 classes and background."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from refinenet_pl.datasets.cache import Conversion, cache_folder, convert
from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample, find_folder, listed_samples
from refinenet_pl.datasets.readers.io import read_mask
from refinenet_pl.datasets.readers.labels import VOID, LabelValues
from refinenet_pl.datasets.readers.matlab import label_map, read_mat
from refinenet_pl.datasets.readers.text import read_list, read_text
from refinenet_pl.datasets.voc import VOC_CLASSES
from refinenet_pl.errors import DataError

CONTEXT_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "table", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor", "bag", "bed", "bench", "book",
    "building", "cabinet", "ceiling", "cloth", "computer", "cup", "door", "fence", "floor", "flower", "food", "grass",
    "ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform", "sign", "plate", "road", "rock", "shelves",
    "sidewalk", "sky", "snow", "bedclothes", "track", "tree", "truck", "wall", "water", "window", "wood",
)  # fmt: skip
"""Background and the 59 classes, in the order of the task and the spelling of labels.txt."""

LABELS = 459
"""Number of labels of the dataset; a LabelMap contains their numbers, from 1."""

_NUMBERS = (
    0, 2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427, 9, 18, 22, 33, 44, 46, 68, 80,
    85, 104, 115, 144, 158, 159, 162, 187, 189, 220, 232, 259, 260, 105, 296, 355, 295, 324, 326, 349, 354, 360, 366, 19, 415,
    420, 424, 440, 445, 454, 458,
)  # fmt: skip
"""Label of each class; all other labels are background."""

_OFFICIAL = LabelValues(dict.fromkeys(range(LABELS + 1), 0) | {number: label for label, number in enumerate(_NUMBERS)}, void=())
# Names that the task's own list spells differently from labels.txt.
_ALIASES = {"table": "diningtable", "bedclothes": "bedcloth", "cloth": "clothes"}

_STORED = LabelValues.plain(len(CONTEXT_CLASSES))
_TASK_ORDER = np.arange(256, dtype=np.uint8)
# labels.txt is sorted by name, so that ranks of its numbers are ranks of names.
_ALPHABETICAL_ORDER = _TASK_ORDER.copy()
_ALPHABETICAL_ORDER[: len(_NUMBERS)] = np.argsort(_NUMBERS)

# To distinguish the two orders: number of images to read, min number of objects that support an order, and min ratio of the
# objects that support it to those that support the other. The wrong order rarely fits an object by chance, so a smaller ratio
# would mean a folder with masks of both orders.
_IMAGES, _VOTES, _MAJORITY = 300, 5, 9


class PascalContext(PairedDataset):
    """PASCAL-Context (Mottaghi et al., 2014) with 60 classes, including background.

    `root` contains the images, `VOCdevkit` with `VOC2010` (or is that folder), and the masks in one of two forms:

    - `trainval`, the original dataset with one .mat file per image, which has priority. The splits are those of VOC 2010.
      Masks are converted to PNGs when a split is first opened. If `labels.txt` is next to the folder, its names are checked.
    - `VOC2010/SegmentationClassContext` and `VOC2010/ImageSets/SegmentationContext`, written by MMSegmentation's converter from
      the labels of PASCAL in Detail. It sorts classes by name, but its masks are widely used with names in the order of the
      task. The order of the PNGs is detected from the objects that VOC 2010 lists for each image, and ids are converted to the
      order of the task. The splits are a few images smaller.

    Evaluation (RefineNet paper): one confusion matrix over the images of `val`, mean IoU over 60 classes.

    Args:
        root: The folder.
        split: `train` or `val`.
        cache: Folder for the PNGs of the .mat files; None for `refinenet_pl_cache` in `root`.
    """

    title = "PASCAL-Context"
    classes = Classes(names=CONTEXT_CLASSES, palette=VOC_PALETTE[:60])
    split_sizes = {"train": 4998, "val": 5105}
    values = LabelValues.plain(60)
    void_channel = None
    source = (
        "trainval.tar.gz and labels.txt from https://cs.stanford.edu/~roozbeh/pascal-context, the former unpacked to trainval, "
        "and in the same folder VOCtrainval_03-May-2010.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2010, which unpacks "
        "to VOCdevkit"
    )
    license = "images from Flickr, under its terms of use; for research"

    def __init__(self, root: str | Path | None, split: str, cache: str | None = None):
        self.cache = cache
        super().__init__(root, split)

    def find_samples(self) -> list[Sample]:
        """Find the masks, convert them if they are .mat files, and detect the order of their classes otherwise."""
        devkit = find_folder(self.root, "VOCdevkit/VOC2010", "VOC2010", source=self.source)
        self._order = _TASK_ORDER
        for folder in self.root / "trainval", devkit / "trainval":
            # PASCAL-Part unpacks to a folder of the same name, but with a subfolder in place of files.
            if next(folder.glob("[!.]*.mat"), None):
                return self._official_samples(devkit, folder)
        masks = devkit / "SegmentationClassContext"
        if not masks.is_dir():
            raise DataError(f"{self.root}: contains neither 'trainval' with .mat files nor {masks}; {self.source}")
        samples = self._samples(devkit, "SegmentationContext", masks)
        if _are_alphabetical(samples, devkit / "ImageSets" / "Main", self.split):
            self._order = _ALPHABETICAL_ORDER
        return samples

    def read_mask(self, path: Path) -> np.ndarray:
        """Class ids of a mask file in the order of the task, uint8 (height, width)."""
        return self.values.encode(self._order[read_mask(path, _STORED)], path)

    def _official_samples(self, devkit: Path, folder: Path) -> list[Sample]:
        names = folder.parent / "labels.txt"
        if names.is_file():
            _require_names(names)
        samples = self._samples(devkit, "Main", cache_folder(self.root, self.cache, "pascal_context"))
        conversions = [Conversion(sample.mask, (folder / f"{sample.name}.mat",)) for sample in samples]
        convert(conversions, _read_labels, f"{PascalContext.title} {self.split} masks")
        return samples

    def _samples(self, devkit: Path, lists: str, masks: Path) -> list[Sample]:
        return listed_samples(devkit / "ImageSets" / lists / f"{self.split}.txt", devkit / "JPEGImages", masks)


class PascalContext59(PascalContext):
    """PASCAL-Context with 59 classes, as used in many later papers: background is void.

    Files, splits and cache are those of `PascalContext`.
    """

    title = "PASCAL-Context (59 classes)"
    classes = Classes(names=CONTEXT_CLASSES[1:], palette=VOC_PALETTE[1:60])
    values = LabelValues.plain(59, first=1, void=(0, VOID))


def _read_labels(file: Path) -> np.ndarray:
    """Class ids in the order of the task, uint8 (height, width)."""
    labels = read_mat(file, "LabelMap")["LabelMap"]
    return _OFFICIAL.encode(label_map(labels, f"{file}: LabelMap"), file)


def _require_names(file: Path) -> None:
    """Raise a DataError unless the labels of the 59 classes have the expected names."""
    found = {}
    for line in read_text(file).split("\n"):
        label, _, name = line.partition(":")
        found[label.strip()] = name.replace(" ", "")
    for number, name in zip(_NUMBERS[1:], CONTEXT_CLASSES[1:], strict=True):
        if found.get(str(number)) not in (name, _ALIASES.get(name, name)):
            raise DataError(
                f"{file}: label {number} is {found.get(str(number), 'missing')}, but {name} in the official file, so the masks "
                "may mean other classes; download trainval.tar.gz and labels.txt again"
            )


def _are_alphabetical(samples: list[Sample], lists: Path, split: str) -> bool:
    """Detect the order of the ids in the PNGs: True if classes are sorted by name, False if in the order of the task.

    Raises:
        DataError: The objects in the images do not clearly support one of the two.
    """
    objects = _listed_objects(lists, split)
    known = [sample for sample in samples if sample.name in objects]
    votes: Counter[bool] = Counter()
    for sample in known[:: len(known) // _IMAGES + 1]:
        present = set(np.unique(read_mask(sample.mask, _STORED)).tolist())
        for label in objects[sample.name]:
            alphabetical = int(np.flatnonzero(label == _ALPHABETICAL_ORDER)[0])
            if (label in present) != (alphabetical in present):
                votes[alphabetical in present] += 1
    by_name, by_task = votes[True], votes[False]
    if max(by_name, by_task) < max(_VOTES, _MAJORITY * min(by_name, by_task)):
        raise DataError(
            f"{samples[0].mask.parent}: cannot determine whether class ids are sorted by name, as written by MMSegmentation's "
            f"converter, or in the order of the task: of the objects listed in {lists}, {by_name} support the former and "
            f"{by_task} the latter. Unpack all of VOCtrainval_03-May-2010.tar, whose lists are needed here, and convert all "
            f"masks again; or use the original masks: {PascalContext.source}"
        )
    return by_name > by_task


def _listed_objects(lists: Path, split: str) -> dict[str, list[int]]:
    """Those of VOC's 20 classes that VOC lists for each image; the task has the same ids for them."""
    objects = defaultdict(list)
    for label, name in enumerate(VOC_CLASSES[1:], start=1):
        for part in "trainval", split:
            if (lists / f"{name}_{part}.txt").is_file():
                for image, state in read_list(lists / f"{name}_{part}.txt", columns=2):
                    if state == "1":
                        objects[image].append(label)
                break
    return objects

"""PASCAL-Context: the photographs of VOC 2010 with every pixel labeled, 59 classes and background."""

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
"""Background and the 59 classes, in the order of the task, spelled as in labels.txt."""

LABELS = 459
"""Number of labels of the dataset; a LabelMap holds their numbers, from 1."""

_NUMBERS = (
    0, 2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427, 9, 18, 22, 33, 44, 46, 68, 80,
    85, 104, 115, 144, 158, 159, 162, 187, 189, 220, 232, 259, 260, 105, 296, 355, 295, 324, 326, 349, 354, 360, 366, 19, 415,
    420, 424, 440, 445, 454, 458,
)  # fmt: skip
"""The label of each class; all others are background."""

_OFFICIAL = LabelValues(dict.fromkeys(range(LABELS + 1), 0) | {number: label for label, number in enumerate(_NUMBERS)}, void=())
# The task's own list of names differs from labels.txt in these.
_ALIASES = {"table": "diningtable", "bedclothes": "bedcloth", "cloth": "clothes"}

_STORED = LabelValues.plain(len(CONTEXT_CLASSES))
_TASK_ORDER = np.arange(256, dtype=np.uint8)
# labels.txt is sorted by name, so ranks of its numbers are ranks of names.
_ALPHABETICAL_ORDER = _TASK_ORDER.copy()
_ALPHABETICAL_ORDER[: len(_NUMBERS)] = np.argsort(_NUMBERS)

# Images looked at to distinguish the two orders, the min number of objects that must speak for one, and how many times as
# many for it as for the other. In an image with an object of a class, the wrong order alone has its id by rare chance, so a
# smaller majority would mean masks of both orders in one folder.
_PICTURES, _VOTES, _MAJORITY = 300, 5, 9


class PascalContext(PairedDataset):
    """The 60 classes of PASCAL-Context (Mottaghi et al., 2014), background among them.

    `root` holds the images, `VOCdevkit` with `VOC2010` (or is that folder), and the masks in one of two forms:

    - `trainval`, the dataset itself, a .mat file an image, which is taken where it is there. The splits are those of VOC
      2010. Masks are converted to PNGs when a split is first opened. Where `labels.txt` lies beside it, its names are checked.
    - `VOC2010/SegmentationClassContext` and `VOC2010/ImageSets/SegmentationContext`, as MMSegmentation's converter writes them
      from the labels of PASCAL in Detail. It sorts classes by name, but its masks are widely used with names in the order of
      the task. Which order the PNGs have is found by the objects that VOC 2010 lists for each image, and ids become those of
      the task. These lists are a few images shorter.

    Evaluation (the paper's): one confusion matrix over the images of `val`, mean over 60 classes.

    Args:
        root: The folder.
        split: `train` or `val`.
        cache: Folder for the PNGs made from .mat files; `refinenet_pl_cache` in `root` if not given.
    """

    title = "PASCAL-Context"
    classes = Classes(names=CONTEXT_CLASSES, palette=VOC_PALETTE[:60])
    split_sizes = {"train": 4998, "val": 5105}
    values = LabelValues.plain(60)
    void_channel = None
    source = (
        "trainval.tar.gz and labels.txt of https://cs.stanford.edu/~roozbeh/pascal-context, the first unpacked to trainval, "
        "and beside them VOCtrainval_03-May-2010.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2010, which unpacks to "
        "VOCdevkit"
    )
    licence = "pictures of Flickr, under its terms of use; for research"

    def __init__(self, root: str | Path | None, split: str, cache: str | None = None):
        self.cache = cache
        super().__init__(root, split)

    def find_samples(self) -> list[Sample]:
        devkit = find_folder(self.root, "VOCdevkit/VOC2010", "VOC2010", source=self.source)
        self._order = _TASK_ORDER
        for folder in self.root / "trainval", devkit / "trainval":
            # Pascal-Part may be unpacked beside it, to a folder of the same name with another inside.
            if next(folder.glob("[!.]*.mat"), None):
                return self._official_samples(devkit, folder)
        masks = devkit / "SegmentationClassContext"
        if not masks.is_dir():
            raise DataError(f"{self.root}: holds neither 'trainval' with .mat files nor {masks}; {self.source}")
        samples = self._samples(devkit, "SegmentationContext", masks)
        if _are_alphabetical(samples, devkit / "ImageSets" / "Main", self.split):
            self._order = _ALPHABETICAL_ORDER
        return samples

    def read_mask(self, path: Path) -> np.ndarray:
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
    """PASCAL-Context without background, as many later papers have it: the pixels of background are void, 59 classes remain.

    Files, splits and PNGs are those of `PascalContext`.
    """

    title = "PASCAL-Context (59 classes)"
    classes = Classes(names=CONTEXT_CLASSES[1:], palette=VOC_PALETTE[1:60])
    values = LabelValues.plain(59, first=1, void=(0, VOID))


def _read_labels(file: Path) -> np.ndarray:
    """Class ids in the order of the task, uint8 (height, width)."""
    labels = read_mat(file, "LabelMap")["LabelMap"]
    return _OFFICIAL.encode(label_map(labels, f"{file}: LabelMap"), file)


def _require_names(file: Path) -> None:
    """Raise a DataError unless the labels of the 59 classes are called as expected."""
    found = {}
    for line in read_text(file).split("\n"):
        number, _, name = line.partition(":")
        found[number.strip()] = name.replace(" ", "")
    for number, name in zip(_NUMBERS[1:], CONTEXT_CLASSES[1:], strict=True):
        if found.get(str(number)) not in (name, _ALIASES.get(name, name)):
            raise DataError(
                f"{file}: label {number} is {found.get(str(number), 'missing')}, but {name} in the official file, so the masks "
                "may mean other classes; take trainval.tar.gz and labels.txt anew"
            )


def _are_alphabetical(samples: list[Sample], lists: Path, split: str) -> bool:
    """True if the ids in the PNGs are ranks of sorted names, False if they are those of the task.

    Raises:
        DataError: It cannot be told.
    """
    objects = _listed_objects(lists, split)
    known = [sample for sample in samples if sample.name in objects]
    votes = Counter()
    for sample in known[:: len(known) // _PICTURES + 1]:
        present = set(np.unique(read_mask(sample.mask, _STORED)).tolist())
        for label in objects[sample.name]:
            alphabetical = int(np.flatnonzero(label == _ALPHABETICAL_ORDER)[0])
            if (label in present) != (alphabetical in present):
                votes[alphabetical in present] += 1
    for_it, against = votes[True], votes[False]
    if max(for_it, against) < max(_VOTES, _MAJORITY * min(for_it, against)):
        raise DataError(
            f"{samples[0].mask.parent}: it cannot be told whether class ids follow the alphabet, as MMSegmentation's converter "
            f"writes them, or the task: {for_it} objects that {lists} lists speak for the former, {against} for the latter. "
            "Unpack VOCtrainval_03-May-2010.tar whole, whose lists are needed here, and convert all masks anew; or take the "
            f"original masks: {PascalContext.source}"
        )
    return for_it > against


def _listed_objects(lists: Path, split: str) -> dict[str, list[int]]:
    """The classes, of VOC's 20, that VOC says are in each image; they have the same ids in the task."""
    objects = defaultdict(list)
    for label, name in enumerate(VOC_CLASSES[1:], start=1):
        for part in "trainval", split:
            if (lists / f"{name}_{part}.txt").is_file():
                for picture, state in read_list(lists / f"{name}_{part}.txt", columns=2):
                    if state == "1":
                        objects[picture].append(label)
                break
    return objects

"""Cityscapes with fine labels: 5,000 street images of 2048x1024 from 50 cities, 19 classes."""

from pathlib import Path

from torchvision import datasets

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample, find_folder
from refinenet_pl.datasets.readers.finding import find_files
from refinenet_pl.datasets.readers.labels import VOID, LabelValues
from refinenet_pl.errors import DataError

_SCORED = sorted((label for label in datasets.Cityscapes.classes if not label.ignore_in_eval), key=lambda label: label.train_id)

LABEL_IDS: tuple[int, ...] = tuple(label.id for label in _SCORED)
"""Official label id of each of the 19 classes, as the evaluation server expects them."""


class Cityscapes(PairedDataset):
    """The images with fine labels; masks are read from the official label ids (`_labelIds.png`).

    `root` contains `leftImg8bit` and `gtFine`. Class ids are the official train ids. All other labels are void, including
    255, which some files contain in place of the license plate's -1.

    Evaluation (cityscapesScripts): at full resolution, pixels with a void label are ignored, mean IoU over 19 classes.
    """

    title = "Cityscapes"
    classes = Classes(names=tuple(label.name for label in _SCORED), palette=tuple(label.color for label in _SCORED))
    split_sizes = {"train": 2975, "val": 500}
    unlabeled_sizes = {"test": 1525}
    values = LabelValues(
        {label_id: class_id for class_id, label_id in enumerate(LABEL_IDS)},
        void=(*(label.id for label in datasets.Cityscapes.classes if label.ignore_in_eval and label.id >= 0), VOID),
    )
    short_edge = (600, 1100)
    source = (
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from https://www.cityscapes-dataset.com (after "
        "registration), unpacked into one folder"
    )
    license = "Cityscapes terms: non-commercial research, teaching and personal use"

    def find_samples(self) -> list[Sample]:
        """Pair the images and label files in the split's folders."""
        images, labels = (
            find_folder(self.root, f"{part}/{self.split}", source=self.source) for part in ("leftImg8bit", "gtFine")
        )
        names = _names(images, "_leftImg8bit.png")
        # Otherwise a missing image would go unnoticed: the split would only be smaller.
        unpaired = sorted(set(_names(labels, "_gtFine_labelIds.png")).difference(names))
        if unpaired:
            raise DataError(
                f"{labels / unpaired[0]}_gtFine_labelIds.png: no image in {images} (unpaired label files in this split: "
                f"{len(unpaired)}); is the copy complete? Unpack it again"
            )
        return [
            Sample(Path(name).name, images / f"{name}_leftImg8bit.png", labels / f"{name}_gtFine_labelIds.png")
            for name in names
        ]


def _names(folder: Path, ending: str) -> list[str]:
    """CITY/NAME of the files in a split's folder whose names have this ending."""
    files, left_out = find_files(folder, (".png",))
    left_out.refuse_unreadable()
    return [str(file.relative_to(folder)).removesuffix(ending) for file in files if file.name.endswith(ending)]

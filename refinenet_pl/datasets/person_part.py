"""PASCAL Person-Part: images of people, six body parts and background."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from refinenet_pl.datasets.cache import Conversion, cache_folder, convert
from refinenet_pl.datasets.classes import VOC_PALETTE, Classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample, find_folder, listed_samples
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.matlab import label_map, read_mat
from refinenet_pl.errors import DataError

# Class of each part of a person in PASCAL-Part, except the neck: conversions differ in its class, so it is an option.
_PARTS = {
    **dict.fromkeys(("head", "hair", "leye", "reye", "lear", "rear", "lebrow", "rebrow", "nose", "mouth"), 1),
    "torso": 2,
    **dict.fromkeys(("luarm", "ruarm"), 3),
    **dict.fromkeys(("llarm", "rlarm", "lhand", "rhand"), 4),
    **dict.fromkeys(("luleg", "ruleg"), 5),
    **dict.fromkeys(("llleg", "rlleg", "lfoot", "rfoot"), 6),
}
_NECK = {"head": 1, "torso": 2}


class PersonPart(PairedDataset):
    """The people of PASCAL-Part (Chen et al., 2014), with their parts merged into six.

    `root` contains the images in `VOCdevkit` (or is that folder), of VOC 2010 or, for the PNGs, VOC 2012; and the masks, in
    one of two forms:

    - `png`: `pascal_person_part`, the masks and lists published with DeepLab;
    - `mat`: `Annotations_Part`, the original dataset. Parts are merged here, and the PNGs are cached. A split consists of the
      images of VOC 2010's split with at least one labeled part of a person. Where parts overlap, the later one in the file
      covers the earlier one.

    Measured: in four masks of RefineNet's PyTorch port, the three clearly visible necks belong to the head, hence the default
    of `neck`. In eight official annotations, the class of the neck affects 1.8 % of the pixels of parts, the order 7.4 %.
    Not verified: that the port's masks are DeepLab's, and that both forms agree in every pixel.

    Evaluation (as published): one confusion matrix over the images of `val`, mean IoU over 7 classes, including background.

    Args:
        root: The folder.
        split: `train` or `val`. The paper states one image more for each than the lists contain.
        form: Form of the masks; None for the PNGs if they exist, otherwise the .mat files.
        neck: Class of the neck: `head`, as in the PNGs, or `torso`, as in other conversions; `torso` requires the form `mat`.
        cache: Folder for the PNGs of the form `mat`; None for `refinenet_pl_cache` in `root`.

    Raises:
        DataError: In addition, `form` or `neck` is unknown, or the PNGs do not have this `neck`.
    """

    title = "PASCAL Person-Part"
    classes = Classes(
        names=("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs"),
        palette=VOC_PALETTE[:7],
    )
    split_sizes = {"train": 1716, "val": 1817}
    values = LabelValues.plain(7)
    void_channel = None
    source = (
        "pascal_person_part.zip from http://www.liangchiehchen.com/projects/DeepLab.html, which unpacks to "
        "pascal_person_part, or trainval.tar.gz from http://roozbehm.info/pascal-parts/pascal-parts.html, which unpacks to "
        "Annotations_Part; and in the same folder VOCtrainval_03-May-2010.tar from "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2010, which unpacks to VOCdevkit"
    )
    license = "images from Flickr, under its terms of use; for research"

    def __init__(
        self,
        root: str | Path | None,
        split: str,
        form: Literal["png", "mat"] | None = None,
        neck: Literal["head", "torso"] = "head",
        cache: str | None = None,
    ):
        if form not in (None, "png", "mat"):
            raise DataError(f"PersonPart has no form {form!r} of masks; choose png or mat")
        if neck not in _NECK:
            raise DataError(f"PersonPart: neck cannot be {neck!r}; choose {' or '.join(_NECK)}")
        self.form = form
        self.neck = neck
        self.cache = cache
        super().__init__(root, split)

    def find_samples(self) -> list[Sample]:
        """List the samples of the chosen form."""
        form = self.form or ("png" if (self.root / "pascal_person_part").is_dir() else "mat")
        if form == "mat":
            return self._mat_samples()
        if self.neck != "head":
            raise DataError(
                f"{self.root}: in the PNGs of pascal_person_part, the neck is already merged into the head; for neck: torso, "
                "also set the option form: mat, which needs Annotations_Part"
            )
        return self._png_samples()

    def _png_samples(self) -> list[Sample]:
        folder = find_folder(self.root, "pascal_person_part", source=self.source)
        images = find_folder(
            self.root,
            *(f"{devkit}{year}/JPEGImages" for devkit in ("VOCdevkit/", "") for year in ("VOC2010", "VOC2012")),
            source=self.source,
        )
        listing = folder / "pascal_person_part_trainval_list" / f"{self.split}_id.txt"
        return listed_samples(listing, images, folder / "pascal_person_part_gt")

    def _mat_samples(self) -> list[Sample]:
        annotations = find_folder(self.root, "Annotations_Part", "trainval/Annotations_Part", source=self.source)
        devkit = find_folder(self.root, "VOCdevkit/VOC2010", "VOC2010", source=self.source)
        masks = cache_folder(self.root, self.cache, "person_part") / f"neck_{self.neck}"
        samples = listed_samples(devkit / "ImageSets" / "Main" / f"{self.split}.txt", devkit / "JPEGImages", masks)
        conversions = [Conversion(sample.mask, (annotations / f"{sample.name}.mat",), (self.neck,)) for sample in samples]
        convert(conversions, _merge_parts, f"{self.title} {self.split} masks")
        return [sample for sample in samples if _has_parts(sample.mask)]


def _has_parts(mask: Path) -> bool:
    with mask.open("rb") as file:
        return file.read(24)[16:] != b"\0\0\0\1" * 2  # width and height of a PNG


def _merge_parts(file: Path, neck: str) -> np.ndarray:
    """Class ids, uint8 (height, width); a single background pixel if no part of a person has pixels."""
    parts = {**_PARTS, "neck": _NECK[neck]}
    merged = None
    content = read_mat(file, "anno")["anno"]
    for thing in _structs(_field(content, "objects", file)):
        if _field(thing, "class", file) != "person":
            continue
        for part in _structs(_field(thing, "parts", file)):
            name = _field(part, "part_name", file)
            if name not in parts:
                raise DataError(
                    f"{file}: {name!r} is not a part of a person in PASCAL-Part; is this the official file? Copy it again"
                )
            inside = label_map(_field(part, "mask", file), f"{file}: mask of {name}") > 0
            if merged is None:
                merged = np.zeros(inside.shape, np.uint8)
            if inside.shape != merged.shape:
                raise DataError(f"{file}: has masks of sizes {merged.shape} and {inside.shape}; copy it again")
            merged[inside] = parts[name]
    return np.zeros((1, 1), np.uint8) if merged is None or not merged.any() else merged


def _structs(value: Any) -> np.ndarray:
    """A struct array, which scipy returns as a struct if it has one element."""
    return np.atleast_1d(value)


def _field(struct: Any, name: str, file: Path) -> Any:
    try:
        return getattr(struct, name)
    except AttributeError:
        raise DataError(f"{file}: a struct has no field {name!r}; is this the official file? Copy it again") from None

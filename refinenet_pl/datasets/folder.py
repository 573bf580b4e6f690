"""Custom datasets: two folders of images and masks, and a file that defines the classes."""

from pathlib import Path

import numpy as np

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.classes_file import ClassesFile, FileColors, FileValues, read_classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample
from refinenet_pl.datasets.folder_pairs import find_pairs
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.readers.channels import check_images, extensions_of
from refinenet_pl.datasets.readers.io import read_colors, read_palette
from refinenet_pl.datasets.readers.labels import VOID
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path

CLASSES_FILE = "classes.yaml"
MASK_EXTENSIONS = (".png", ".tif", ".tiff", ".bmp")

# Max number of masks that are checked when a split is opened.
CHECKED = 64


class Folder(PairedDataset):
    """A custom dataset.

    `root` contains `classes.yaml` and the splits, in one of two layouts:

    - `images/train` and `masks/train`, `images/val` and `masks/val`, and so on, with any subfolders, including linked ones;
    - `images` and `masks`, and the lists `train.txt`, `val.txt`, and so on, with one image per line: its path in `images`,
      with or without its extension. Lists are UTF-8, or UTF-16 with a byte order mark.

    Files and folders whose names begin with a dot are ignored, and so are files with other extensions.

    A mask is a PNG, TIFF or BMP with the name of its image, apart from the extension. Keys of `classes.yaml`:

    - `names`: list of the class names, 2 to 254. The only required key.
    - `colors`: list of [red, green, blue], one per class; by default, the colors of PASCAL VOC.
    - `masks`: `values` (default) for masks that are read by pixel value (grayscale or palette images), or `colors` for masks
      that are read by color.
    - `values`: list of the value of each class in the masks; by default, 0, 1, 2, ...
    - `void`: value, or list of values, of pixels to ignore, [] for none; by default, 255. With `masks: colors`, a list of
      [red, green, blue]; by default, none.
    - `images`: format of images other than 8-bit RGB: `channels`, and `range`, [min, max] of the pixel values, which are mapped
      to 0..255. Images can then also be NumPy files, and have 16 bits or floating-point values, see `read_channels`.

    Opening a split checks up to 64 of its masks, so that common mistakes end a run before it starts, and do not lead to
    training on wrong labels.

    Attributes:
        classes: Classes of `classes.yaml`.
        file: Content of `classes.yaml`.

    Raises:
        DataError: In addition, `classes.yaml` contradicts itself, an image or a mask lacks its counterpart, or the masks are
            implausible.
    """

    title = "Custom dataset"
    split_sizes = {"train": None, "val": None, "test": None}
    strict_orientation = True
    source = (
        "your own folder: classes.yaml with `names: [background, road, ...]`, images in images/train and images/val, their "
        "masks (PNG, with the same names) in masks/train and masks/val; or all of them in images and masks, with lists "
        "train.txt and val.txt of file names"
    )
    license = "your own"

    def __init__(self, root: str | Path | None, split: str):
        super().__init__(root, split)
        self.file = read_classes(self.root / CLASSES_FILE)
        self.classes = self.file.classes
        self._colors = FileColors(self.file) if self.file.by_color else None
        if not self.file.by_color:
            self.values = FileValues(self.file)
        self._refuse_implausible_masks()
        if self.image_format is not None:
            check_images([sample.image for sample in self.samples], self.image_format)

    @classmethod
    def classes_of(cls, root: str | Path | None) -> Classes:
        """Classes of the `classes.yaml` at `root`."""
        return cls._file_at(root).classes

    @classmethod
    def image_format_of(cls, root: str | Path | None) -> ImageFormat | None:
        """Format of the images by the `classes.yaml` at `root`."""
        return cls._file_at(root).images

    @classmethod
    def _file_at(cls, root: str | Path | None) -> ClassesFile:
        if root is None:
            raise DataError(f"{cls.__name__} reads its classes from disk; give its folder as root: {cls.source}")
        return read_classes(expand_path(root, DataError) / CLASSES_FILE)

    def find_samples(self) -> list[Sample]:
        """Find the split's folders or its list, and pair images and masks by name."""
        self.image_format = self.image_format_of(self.root)
        extensions = extensions_of(self.image_format)
        samples, self.left_out = find_pairs(
            self.root, self.split, "mask", MASK_EXTENSIONS, self.source, image_extensions=extensions
        )
        return samples

    def read_mask(self, path: Path) -> np.ndarray:
        """Class ids of a mask file, uint8 (height, width)."""
        return super().read_mask(path) if self._colors is None else self._colors.encode(read_colors(path), path)

    def _refuse_implausible_masks(self) -> None:
        """Raise a DataError if the masks can be read, but obviously not with this meaning."""
        first = np.linspace(0, len(self) - 1, min(len(self), CHECKED), dtype=int).tolist()
        # A class may be rare: all masks are checked before a split is refused for having only one class.
        others = sorted(set(range(len(self))) - set(first))
        seen = np.zeros(VOID + 1, bool)
        for position, index in enumerate(first + others):
            if position >= len(first) and np.count_nonzero(seen[:VOID]) > 1:
                break
            path = self.samples[index].mask
            if self.file.own_colors and not self.file.by_color:
                self._refuse_contradicting_palette(path)
            seen[np.unique(self.read_mask(path))] = True
        present = np.flatnonzero(seen[:VOID]).tolist()
        if len(present) > 1:
            return
        masks = f"{self.samples[0].mask} and all other masks of the split {self.split}"
        key = "colors" if self.file.by_color else "values"
        void = ", ".join(map(str, self.file.void_colors if self.file.by_color else self.file.void))
        if not present:
            raise DataError(
                f"{masks} are void in every pixel (void: {void}), so there is nothing to train or evaluate on; correct `void` "
                f"and `{key}` in {self.file.path}"
            )
        name = self.classes.names[present[0]]
        value = (self.classes.palette if self.file.by_color else self.file.values)[present[0]]
        if seen[VOID] and value == 0:
            raise DataError(
                f"{masks} contain only the values 0 and {void}, and {void} is void, so the foreground would be ignored: the "
                f"loss would be 0 and the mIoU 1.0; put `values: [0, {self.file.void[0]}]` and another `void`, such as "
                f"`void: []`, into {self.file.path}"
            )
        raise DataError(
            f"{masks} contain a single class, {name!r} ({value}){' and void' if seen[VOID] else ''}: the loss would converge "
            f"to 0 and the mIoU would be 1.0; correct `{key}` and `void` in {self.file.path}, or the masks"
        )

    def _refuse_contradicting_palette(self, path: Path) -> None:
        """Raise a DataError if the values of a palette mask mean one class and its colors another."""
        found = read_palette(path)
        if found is None:
            return
        present, colors = found
        of_value = dict(zip(self.file.values, self.classes.names, strict=True))
        of_color = dict(zip(self.classes.palette, self.classes.names, strict=True))
        for value in present:
            color = colors[value] if value < len(colors) else None
            if color in of_color and of_color[color] != of_value.get(value):
                meaning = repr(of_value[value]) if value in of_value else "void or nothing"
                raise DataError(
                    f"{path}: the value {value} means {meaning}, but in this mask's palette it has the color of "
                    f"{of_color[color]!r}, {list(color)}; put `masks: colors` into {self.file.path} if the colors are "
                    "right, or correct its `colors` or `values` if the values are"
                )

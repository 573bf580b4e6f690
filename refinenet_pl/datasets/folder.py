"""Custom datasets: two folders of images and masks, and a file that defines the classes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.classes_file import FileColors, FileValues, read_classes
from refinenet_pl.datasets.file_pairs import PairedDataset, Sample, find_folder
from refinenet_pl.datasets.readers.finding import LeftOut, find_files
from refinenet_pl.datasets.readers.io import read_colors, read_palette
from refinenet_pl.datasets.readers.labels import VOID
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, composed, match_name, read_names, suggest_name
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

    @classmethod
    def classes_of(cls, root: str | Path | None) -> Classes:
        """Classes of the `classes.yaml` at `root`."""
        if root is None:
            raise DataError(f"{cls.__name__} reads its classes from disk; give its folder as root: {cls.source}")
        return read_classes(expand_path(root, DataError) / CLASSES_FILE).classes

    def find_samples(self) -> list[Sample]:
        """Find the split's folders or its list, and pair images and masks by name."""
        listing = self.root / f"{self.split}.txt"
        in_folders = (self.root / "images" / self.split).is_dir()
        if in_folders and listing.exists():
            raise DataError(f"{self.root}: has both a folder images/{self.split} and a list {listing.name}; remove one of them")
        if not in_folders and not listing.exists():
            raise DataError(
                f"{self.root}: has no split {self.split}: neither a folder images/{self.split} nor a list {listing.name}; "
                f"{self.source}"
            )
        subfolder = f"/{self.split}" if in_folders else ""
        image_folder = find_folder(self.root, f"images{subfolder}", source=self.source)
        mask_folder = find_folder(self.root, f"masks{subfolder}", source=self.source)
        images, masks = self._by_stem(image_folder, IMAGE_EXTENSIONS), self._by_stem(mask_folder, MASK_EXTENSIONS)
        if in_folders:
            stems = list(images)
            _refuse_unpaired_masks([path for stem, path in masks.items() if stem not in images], image_folder)
        else:
            stems = _read_stems(listing, images, image_folder)
        _refuse_unpaired_images({stem: images[stem] for stem in stems if stem not in masks}, mask_folder)
        samples: dict[str, Sample] = {}
        for stem in stems:
            name = stem.replace("/", "_")
            if name in samples:
                raise DataError(f"{samples[name].image} and {images[stem]} would both be named {name}; rename one of them")
            samples[name] = Sample(name, images[stem], masks[stem])
        return list(samples.values())

    def _by_stem(self, folder: Path, extensions: tuple[str, ...]) -> dict[str, Path]:
        """Files of a folder by stem; entries that are ignored are added to `left_out`."""
        found, left_out = _find_by_stem(folder, extensions)
        if str(left_out):
            part = f"in {folder.relative_to(self.root)}: {left_out}"
            self.left_out = f"{self.left_out}; {part}" if self.left_out else part
        return found

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


def _find_by_stem(folder: Path, extensions: tuple[str, ...]) -> tuple[dict[str, Path], LeftOut]:
    """Find the files with one of these extensions.

    Returns:
        The files, by their path in the folder without the extension, in Unicode form NFC; and the entries that are ignored.
    """
    files, left_out = find_files(folder, extensions)
    left_out.refuse_unreadable()
    found: dict[str, Path] = {}
    # A broken link is a missing file, which is an error if it belongs to the split.
    for path in files + left_out.broken:
        stem = composed(path.relative_to(folder).with_suffix("").as_posix())
        if stem in found:
            raise DataError(
                f"{found[stem]} and {path} differ only in their extensions or the Unicode form of their names; rename or "
                "remove one of them"
            )
        found[stem] = path
    return found, left_out


def _read_stems(listing: Path, images: dict[str, Path], image_folder: Path) -> list[str]:
    """Stems that a split's list names, in its order."""
    entries = read_names(listing)
    if not entries:
        raise DataError(f"{listing}: lists no images; write one file name without its extension per line")
    stems, unknown = [], []
    for entry in entries:
        stem = match_name(entry, images)
        if stem is None:
            unknown.append(entry.strip())
        else:
            stems.append(stem)
    if unknown:
        raise DataError(
            f"{listing}: lists {_first_five(unknown)}, but {image_folder} contains no such image (extensions: "
            f"{' '.join(IMAGE_EXTENSIONS)}); {suggest_name(unknown[0], images) or 'correct the list or add the image'}"
        )
    repeated = [stem for stem, number in Counter(stems).items() if number > 1]
    if repeated:
        raise DataError(
            f"{listing}: lists {', '.join(repeated[:5])} more than once; remove {len(stems) - len(set(stems))} lines"
        )
    return stems


def _refuse_unpaired_masks(masks: list[Path], image_folder: Path) -> None:
    if masks:
        raise DataError(
            f"{_first_five(masks)}: no image of that name in {image_folder} (extensions: {' '.join(IMAGE_EXTENSIONS)}); add or "
            "rename it, or remove the mask"
        )


def _refuse_unpaired_images(images: dict[str, Path], mask_folder: Path) -> None:
    if not images:
        return
    lossy, _ = _find_by_stem(mask_folder, (".jpg", ".jpeg"))
    jpegs = [lossy[stem] for stem in images if stem in lossy]
    if jpegs:
        raise DataError(
            f"{_first_five(jpegs)}: masks saved as JPEG, whose compression changes labels along every outline; save masks as "
            "PNG again, from the original labels"
        )
    raise DataError(
        f"{_first_five(list(images.values()))}: no mask of that name in {mask_folder} (extensions: "
        f"{' '.join(MASK_EXTENSIONS)}); add or rename it, or remove the image"
    )


def _first_five(things: Sequence[str | Path]) -> str:
    """The first five, and the number of the others."""
    more = f" and {len(things) - 5} more" if len(things) > 5 else ""
    return ", ".join(map(str, things[:5])) + more

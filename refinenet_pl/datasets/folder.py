"""Images and masks of one's own: two folders and a file that names the classes."""

from collections import Counter
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

# How many masks are looked at when a split is opened.
LOOKED_AT = 64


class Folder(PairedDataset):
    """A dataset of one's own.

    `root` holds `classes.yaml` and the splits, in one of two forms:

    - `images/train` and `masks/train`, `images/val` and `masks/val`, and so on; these may have subfolders, linked ones too;
    - `images` and `masks`, and the lists `train.txt`, `val.txt`, and so on, with one image a line: its path below `images`,
      with or without its extension. Lists are UTF-8, or UTF-16 with its mark.

    Files and folders whose names begin with a dot do not count, nor do files with other extensions.

    A mask is a PNG, TIFF or BMP that has the name of its image, apart from the extension. Keys of `classes.yaml`:

    - `names`: list of the class names, 2 to 254. The only key that must be there.
    - `colors`: list of [red, green, blue], one a class; without it, the colors of PASCAL VOC.
    - `masks`: `values` for masks that are read by pixel value (grayscale or palette images), which is the default, or
      `colors` for masks that are read by color.
    - `values`: list of the value that stands for each class in the masks; without it, 0, 1, 2, ...
    - `void`: value, or list of values, of pixels that do not count, [] for none; without it, 255. With `masks: colors` a list
      of [red, green, blue]; without it, none.

    Opening a split looks at up to 64 of its masks, so that the usual mistakes end a run before it starts, and does not train
    on wrong labels.

    Attributes:
        classes: As `classes.yaml` has them.

    Raises:
        DataError: Also where `classes.yaml` contradicts itself, an image or mask lacks its counterpart, or the masks cannot
            be meant as they are read.
    """

    title = "Folder of one's own"
    split_sizes = {"train": None, "val": None, "test": None}
    strict_orientation = True
    source = (
        "a folder of your own: classes.yaml with `names: [background, road, ...]`, pictures in images/train and images/val, "
        "their masks (PNG, of the same names) in masks/train and masks/val; or all of them in images and masks, with lists "
        "train.txt and val.txt of file names"
    )
    licence = "your own"

    def __init__(self, root: str | Path | None, split: str):
        super().__init__(root, split)
        self.file = read_classes(self.root / CLASSES_FILE)
        self.classes = self.file.classes
        self.values = FileColors(self.file) if self.file.by_color else FileValues(self.file)
        self._refuse_what_cannot_be_meant()

    @classmethod
    def classes_of(cls, root: str | Path | None) -> Classes:
        if root is None:
            raise DataError(f"the classes of a {cls.__name__} are read from its files: give its folder as root; {cls.source}")
        return read_classes(expand_path(root, DataError) / CLASSES_FILE).classes

    def find_samples(self) -> list[Sample]:
        listing = self.root / f"{self.split}.txt"
        in_folders = (self.root / "images" / self.split).is_dir()
        if in_folders and listing.exists():
            raise DataError(f"{self.root}: has both a folder images/{self.split} and a list {listing.name}; remove one of them")
        if not in_folders and not listing.exists():
            raise DataError(
                f"{self.root}: has no split {self.split}: neither a folder images/{self.split} nor a list {listing.name}; "
                f"{self.source}"
            )
        below = f"/{self.split}" if in_folders else ""
        image_folder = find_folder(self.root, f"images{below}", source=self.source)
        mask_folder = find_folder(self.root, f"masks{below}", source=self.source)
        images, masks = self._by_stem(image_folder, IMAGE_EXTENSIONS), self._by_stem(mask_folder, MASK_EXTENSIONS)
        if in_folders:
            stems = list(images)
            _refuse_masks_alone([path for stem, path in masks.items() if stem not in images], image_folder)
        else:
            stems = _read_stems(listing, images, image_folder)
        _refuse_images_alone({stem: images[stem] for stem in stems if stem not in masks}, mask_folder)
        samples = {}
        for stem in stems:
            name = stem.replace("/", "_")
            if name in samples:
                raise DataError(f"{samples[name].image} and {images[stem]} would both be called {name}; rename one of them")
            samples[name] = Sample(name, images[stem], masks[stem])
        return list(samples.values())

    def _by_stem(self, folder: Path, extensions: tuple[str, ...]) -> dict[str, Path]:
        """The files of a folder by stem; what is left out is added to `left_out`."""
        found, left_out = _find_by_stem(folder, extensions)
        if str(left_out):
            part = f"in {folder.relative_to(self.root)}: {left_out}"
            self.left_out = f"{self.left_out}; {part}" if self.left_out else part
        return found

    def read_mask(self, path: Path) -> np.ndarray:
        return self.values.encode(read_colors(path), path) if self.file.by_color else super().read_mask(path)

    def _refuse_what_cannot_be_meant(self) -> None:
        """Look for masks that are read without an error, but cannot mean what is read."""
        first = np.linspace(0, len(self) - 1, min(len(self), LOOKED_AT), dtype=int).tolist()
        # A class may be rare: before a split is refused for having only one, all of its masks are looked at.
        others = sorted(set(range(len(self))) - set(first))
        seen = np.zeros(VOID + 1, bool)
        for position, index in enumerate(first + others):
            if position >= len(first) and np.count_nonzero(seen[:VOID]) > 1:
                break
            path = self.samples[index].mask
            if self.file.own_colors and not self.file.by_color:
                self._refuse_another_palette(path)
            seen[np.unique(self.read_mask(path))] = True
        present = np.flatnonzero(seen[:VOID]).tolist()
        if len(present) > 1:
            return
        where = f"{self.samples[0].mask} and all other masks of the split {self.split}"
        kind = "colors" if self.file.by_color else "values"
        void = ", ".join(str(value) for value in self.file.void)
        if not present:
            raise DataError(
                f"{where} are void in every pixel (void: {void}), so there is nothing to learn or to score; correct `void` and "
                f"`{kind}` in {self.file.path}"
            )
        name, value = self.classes.names[present[0]], self.file.values[present[0]]
        if seen[VOID] and value == 0:
            raise DataError(
                f"{where} hold only the values 0 and {void}, and {void} is void: foreground is taken for void, the loss would "
                f"be 0 and the mIoU 1.0; put `values: [0, {self.file.void[0]}]` and another `void`, such as `void: []`, into "
                f"{self.file.path}"
            )
        raise DataError(
            f"{where} hold a single class, {name!r} ({value}){' and void' if seen[VOID] else ''}: the loss would go to 0 and "
            f"the mIoU be 1.0; correct `{kind}` and `void` in {self.file.path}, or the masks"
        )

    def _refuse_another_palette(self, path: Path) -> None:
        """Refuse a palette mask whose values mean one class and whose colors another."""
        found = read_palette(path)
        if found is None:
            return
        present, colors = found
        of_value = dict(zip(self.file.values, self.classes.names, strict=True))
        of_color = dict(zip(self.classes.palette, self.classes.names, strict=True))
        for value in present:
            color = colors[value] if value < len(colors) else None
            if color in of_color and of_color[color] != of_value.get(value):
                meant = repr(of_value[value]) if value in of_value else "void or nothing"
                raise DataError(
                    f"{path}: the value {value} means {meant}, but in this mask's palette it has the color of "
                    f"{of_color[color]!r}, {list(color)}; put `masks: colors` into {self.file.path} if the colors are "
                    "right, or correct its `colors` or `values` if the values are"
                )


def _find_by_stem(folder: Path, extensions: tuple[str, ...]) -> tuple[dict[str, Path], LeftOut]:
    """Find the files with one of these extensions.

    Returns:
        The files by their path in the folder without the extension, composed; and the entries that are left out.
    """
    files, left_out = find_files(folder, extensions)
    left_out.refuse_unreadable()
    found: dict[str, Path] = {}
    # A link to nothing is a file that is missing, which is an error if it belongs to the split.
    for path in files + left_out.broken:
        stem = composed(path.relative_to(folder).with_suffix("").as_posix())
        if stem in found:
            raise DataError(
                f"{found[stem]} and {path} differ in their extensions or the Unicode form of their names only; rename or "
                "remove one of them"
            )
        found[stem] = path
    return found, left_out


def _read_stems(listing: Path, images: dict[str, Path], image_folder: Path) -> list[str]:
    """The stems that a split's list names, in its order."""
    entries = read_names(listing)
    if not entries:
        raise DataError(f"{listing}: names no pictures; write one file name without its extension a line")
    matched = [(entry, match_name(entry, images)) for entry in entries]
    unknown = [entry.strip() for entry, stem in matched if stem is None]
    if unknown:
        raise DataError(
            f"{listing}: names {_named(unknown)}, but {image_folder} holds no such picture (extensions: "
            f"{' '.join(IMAGE_EXTENSIONS)}); {suggest_name(unknown[0], images) or 'correct the list or add the image'}"
        )
    stems = [stem for _, stem in matched]
    twice = [stem for stem, number in Counter(stems).items() if number > 1]
    if twice:
        raise DataError(f"{listing}: names {', '.join(twice[:5])} more than once; remove {len(stems) - len(set(stems))} lines")
    return stems


def _refuse_masks_alone(masks: list[Path], image_folder: Path) -> None:
    if masks:
        raise DataError(
            f"{_named(masks)}: no picture of that name in {image_folder} (extensions: {' '.join(IMAGE_EXTENSIONS)}); add or "
            "rename it, or remove the mask"
        )


def _refuse_images_alone(images: dict[str, Path], mask_folder: Path) -> None:
    if not images:
        return
    lossy, _ = _find_by_stem(mask_folder, (".jpg", ".jpeg"))
    jpegs = [lossy[stem] for stem in images if stem in lossy]
    if jpegs:
        raise DataError(
            f"{_named(jpegs)}: masks saved as JPEG, which smears labels into others along every outline; save masks as PNG "
            "again, from the original labels"
        )
    raise DataError(
        f"{_named(list(images.values()))}: no mask of that name in {mask_folder} (extensions: {' '.join(MASK_EXTENSIONS)}); "
        "add or rename it, or remove the image"
    )


def _named(things: list) -> str:
    """The first five, and how many more."""
    more = f" and {len(things) - 5} more" if len(things) > 5 else ""
    return ", ".join(map(str, things[:5])) + more

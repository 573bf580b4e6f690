"""PASCAL Person-Part in both of its forms, DeepLab's PNGs and PASCAL-Part's .mat files, with the images of VOC 2010."""

from pathlib import Path

import numpy as np
import scipy.io

from helpers.layouts.files import Size, generator, write_lines, write_palette_mask, write_photo
from helpers.matlab import struct_array

VOC, PNG = "VOCdevkit/VOC2010", "pascal_person_part"
# Class of each part, in the order in which they belong to a first and a second person; that of the neck is the default.
PARTS = {
    "head": 1, "leye": 1, "reye": 1, "lear": 1, "rear": 1, "torso": 2, "neck": 1, "luarm": 3, "llarm": 4, "lhand": 4,
    "luleg": 5, "llleg": 6, "lebrow": 1, "rebrow": 1, "nose": 1, "mouth": 1, "hair": 1, "ruarm": 3, "rlarm": 4, "rhand": 4,
    "ruleg": 5, "rlleg": 6, "lfoot": 6, "rfoot": 6,
}  # fmt: skip
# Sizes of the images in VOC 2010's lists, in their order.
TRAIN: dict[str, Size] = {
    "2008_000008": (60, 80),
    "2008_000015": (64, 76),
    "2008_000019": (60, 80),
    "2008_000023": (80, 60),
    "2008_000028": (54, 80),
}
VAL: dict[str, Size] = {"2008_000002": (60, 80), "2008_000003": (72, 60), "2008_000007": (60, 78)}
# Images without a part of a person: a dog, a person too small for parts, and no object.
WITHOUT_PARTS = {"2008_000015": "dog", "2008_000023": "person", "2008_000003": None}
SPLITS = {split: [name for name in names if name not in WITHOUT_PARTS] for split, names in (("train", TRAIN), ("val", VAL))}

Parts = list[tuple[str, np.ndarray]]


def parts_of(name: str) -> Parts:
    """Parts of the people in an image and their masks, in the order of the file; they overlap."""
    rng = generator(name)
    return [(part, rng.random((TRAIN | VAL)[name]) < 0.1) for part in PARTS]


def mask_of(name: str, neck: int = PARTS["neck"]) -> np.ndarray:
    """Class ids; the last part covers the others."""
    parts = parts_of(name)
    ids = np.array([0] + [neck if part == "neck" else PARTS[part] for part, _ in parts], np.uint8)
    ranks = np.stack([rank * mask for rank, (_, mask) in enumerate(parts, start=1)])
    return ids[ranks.max(axis=0)]


def image_path(name: str) -> str:
    return f"{VOC}/JPEGImages/{name}.jpg"


def build(root: Path) -> None:
    for split, names in {"train": TRAIN, "val": VAL}.items():
        write_lines(root / VOC / f"ImageSets/Main/{split}.txt", names)
        write_lines(root / PNG / f"pascal_person_part_trainval_list/{split}_id.txt", SPLITS[split])
        for name, size in names.items():
            write_photo(root / image_path(name), size)
            write_annotation(root / f"Annotations_Part/{name}.mat", things_of(name))
        for name in SPLITS[split]:
            write_palette_mask(root / PNG / f"pascal_person_part_gt/{name}.png", mask_of(name))


def things_of(name: str) -> list[tuple[str, Parts]]:
    """The objects in an image, and the parts of each."""
    size = (TRAIN | VAL)[name]
    if name in WITHOUT_PARTS:
        things = {
            "dog": [("dog", [("head", np.ones(size, bool)), ("muzzle", np.ones(size, bool))])],
            "person": [("person", [])],
        }
        return things.get(WITHOUT_PARTS[name], [])
    parts = parts_of(name)
    # The last part is the only one of its person, which MATLAB stores as a struct of one element.
    dog = ("dog", [("head", np.ones(size, bool)), ("tail", np.ones(size, bool))])
    return [("person", parts[:12]), dog, ("person", parts[12:-1]), ("person", []), ("person", parts[-1:])]


def write_annotation(path: Path, things: list[tuple[str, Parts]]) -> None:
    """Write the struct anno. Objects and their parts are struct arrays of one row, or [] if there are none."""
    objects = []
    for name, parts in things:
        structs = struct_array(("part_name", "mask"), [(part, mask.astype(np.uint8)) for part, mask in parts])
        number = {"dog": 12, "person": 15}[name]
        objects.append((name, number, np.ones((60, 80), np.uint8), structs if parts else np.empty((0, 0))))
    path.parent.mkdir(parents=True, exist_ok=True)
    array = struct_array(("class", "class_ind", "mask", "parts"), objects) if things else np.empty((0, 0))
    scipy.io.savemat(path, {"anno": {"imname": path.stem, "objects": array}}, do_compression=True)

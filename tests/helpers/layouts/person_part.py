"""PASCAL Person-Part in both of its forms: DeepLab's PNGs, and Pascal-Part's .mat files; with the pictures of VOC 2010."""

from pathlib import Path

import numpy as np
import scipy.io

from helpers.layouts.voc2012 import write_lines, write_palette_mask, write_picture

# Class of each part of a person, in the order in which a first and a second person have them; the neck's is in dispute.
PARTS = {
    "head": 1, "leye": 1, "reye": 1, "lear": 1, "rear": 1, "torso": 2, "neck": 1, "luarm": 3, "llarm": 4, "lhand": 4,
    "luleg": 5, "llleg": 6, "lebrow": 1, "rebrow": 1, "nose": 1, "mouth": 1, "hair": 1, "ruarm": 3, "rlarm": 4, "rhand": 4,
    "ruleg": 5, "rlleg": 6, "lfoot": 6, "rfoot": 6,
}  # fmt: skip
# Size (height, width) of each picture of VOC 2010, in the order of its lists.
TRAIN = {
    "2008_000008": (60, 80),
    "2008_000015": (64, 76),
    "2008_000019": (60, 80),
    "2008_000023": (80, 60),
    "2008_000028": (54, 80),
}
VAL = {"2008_000002": (60, 80), "2008_000003": (72, 60), "2008_000007": (60, 78)}
# Pictures without a part of a person: one of a dog, one of a person too small for parts, one of nothing.
WITHOUT_PARTS = {"2008_000015": "dog", "2008_000023": "person", "2008_000003": None}


def labelled(names: dict[str, tuple[int, int]]) -> list[str]:
    return [name for name in names if name not in WITHOUT_PARTS]


def parts_of(name: str) -> list[tuple[str, np.ndarray]]:
    """Parts of the people in a picture and their masks, in the order of the file; they overlap."""
    rng = np.random.default_rng(int(name[-6:]))
    return [(part, rng.random((TRAIN | VAL)[name]) < 0.1) for part in PARTS]


def mask_of(name: str, neck: int = PARTS["neck"]) -> np.ndarray:
    """Class ids: where parts overlap, that of the last."""
    parts = parts_of(name)
    ids = np.array([0] + [neck if part == "neck" else PARTS[part] for part, _ in parts], np.uint8)
    ranks = np.stack([rank * mask for rank, (_, mask) in enumerate(parts, start=1)])
    return ids[ranks.max(axis=0)]


def build(root: Path) -> None:
    voc = root / "VOCdevkit" / "VOC2010"
    masks = root / "pascal_person_part"
    for split, names in {"train": TRAIN, "val": VAL}.items():
        write_lines(voc / "ImageSets" / "Main" / f"{split}.txt", list(names))
        write_lines(masks / "pascal_person_part_trainval_list" / f"{split}_id.txt", labelled(names))
        for name, size in names.items():
            write_picture(voc / "JPEGImages" / f"{name}.jpg", size, int(name[-6:]))
            write_annotation(root / "Annotations_Part" / f"{name}.mat", things_of(name))
        for name in labelled(names):
            write_palette_mask(masks / "pascal_person_part_gt" / f"{name}.png", mask_of(name))


def things_of(name: str) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    """What is in a picture, and the parts of each thing."""
    size = (TRAIN | VAL)[name]
    if name in WITHOUT_PARTS:
        things = {
            "dog": [("dog", [("head", np.ones(size, bool)), ("muzzle", np.ones(size, bool))])],
            "person": [("person", [])],
        }
        return things.get(WITHOUT_PARTS[name], [])
    parts = parts_of(name)
    # The last part is a person's only one, which MATLAB stores as a struct of one element.
    dog = ("dog", [("head", np.ones(size, bool)), ("tail", np.ones(size, bool))])
    return [("person", parts[:12]), dog, ("person", parts[12:-1]), ("person", []), ("person", parts[-1:])]


def write_annotation(path: Path, things: list[tuple[str, list[tuple[str, np.ndarray]]]]) -> None:
    """Write the struct anno, whose objects and their parts are struct arrays of one row, and [] where there are none."""
    objects = np.empty((1, len(things)), [(field, object) for field in ("class", "class_ind", "mask", "parts")])
    for entry, (name, parts) in zip(objects[0], things, strict=True):
        structs = np.empty((1, len(parts)), [("part_name", object), ("mask", object)])
        for struct, (part, mask) in zip(structs[0], parts, strict=True):
            struct["part_name"], struct["mask"] = part, mask.astype(np.uint8)
        entry["class"], entry["class_ind"] = name, {"dog": 12, "person": 15}.get(name, 1)
        entry["mask"] = np.ones((60, 80), np.uint8)
        entry["parts"] = structs if parts else np.empty((0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    anno = {"imname": path.stem, "objects": objects if things else np.empty((0, 0))}
    scipy.io.savemat(path, {"anno": anno}, do_compression=True)

"""The scene parsing challenge's part of ADE20K: pictures and annotations by split, as the archive unpacks."""

from pathlib import Path

import numpy as np
from PIL import Image

# Split's folder, name and size (height, width), in the order of the names; one picture is grey, as a few of the real ones are.
SAMPLES = (
    ("training", "ADE_train_00000001", (64, 80)),
    ("training", "ADE_train_00000002", (60, 80)),
    ("training", "ADE_train_00000010", (80, 56)),
    ("validation", "ADE_val_00000001", (60, 90)),
    ("validation", "ADE_val_00000002", (60, 80)),
)
GREY = "ADE_train_00000002"


def samples_of(folder: str) -> list[int]:
    return [index for index, sample in enumerate(SAMPLES) if sample[0] == folder]


def annotation_of(index: int) -> np.ndarray:
    """Official classes, uint8: 1 to 150, and 0 for everything else."""
    return np.random.default_rng(index).integers(0, 151, SAMPLES[index][2], np.uint8)


def image_path(index: int) -> str:
    folder, name, _ = SAMPLES[index]
    return f"ADEChallengeData2016/images/{folder}/{name}.jpg"


def annotation_path(index: int) -> str:
    folder, name, _ = SAMPLES[index]
    return f"ADEChallengeData2016/annotations/{folder}/{name}.png"


def build(root: Path) -> None:
    # Written in reverse, so that the disk's order is not that of the names.
    for index, (_, name, (height, width)) in reversed(list(enumerate(SAMPLES))):
        image, annotation = root / image_path(index), root / annotation_path(index)
        for path in image, annotation:
            path.parent.mkdir(parents=True, exist_ok=True)
        # Coarse, so that JPEG keeps about what it is given.
        colours = np.random.default_rng(1000 + index).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        pixels = Image.fromarray(colours.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])
        pixels.convert("L" if name == GREY else "RGB").save(image, quality=95)
        Image.fromarray(annotation_of(index)).save(annotation)
    folder = root / "ADEChallengeData2016"
    (folder / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1576\t11664\t1172\t1\twall\n")
    (folder / "sceneCategories.txt").write_text("".join(f"{name} bedroom\n" for _, name, _ in SAMPLES))

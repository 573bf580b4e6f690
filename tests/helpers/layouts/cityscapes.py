"""Cityscapes: pictures and fine labels by split and city, as the two archives unpack."""

from pathlib import Path

import numpy as np
from PIL import Image

# Split, city, sequence and frame, and size (height, width); in the order of the file names.
SAMPLES = (
    ("train", "aachen", "000000_000019", (60, 80)),
    ("train", "aachen", "000001_000019", (60, 80)),
    ("train", "hanover", "000000_000164", (56, 96)),
    ("val", "frankfurt", "000000_000294", (60, 80)),
    ("val", "munster", "000000_000019", (64, 72)),
    ("test", "berlin", "000000_000019", (60, 80)),
)
# Official label id of each train id; every other of the ids 0..33 is void.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16,
    32: 17, 33: 18,
}  # fmt: skip


def samples_of(split: str) -> list[int]:
    return [index for index, sample in enumerate(SAMPLES) if sample[0] == split]


def picture_of(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (*SAMPLES[index][3], 3), np.uint8)


def labels_of(index: int) -> np.ndarray:
    """Official label ids, uint8 in 0..33, and 255, which stands for the license plate's -1."""
    labels = np.random.default_rng(1000 + index).integers(0, 35, SAMPLES[index][3], np.uint8)
    return np.where(labels == 34, np.uint8(255), labels)


def mask_of(index: int) -> np.ndarray:
    """Train ids, with 255 for void."""
    return np.vectorize(lambda label: TRAIN_IDS.get(label, 255))(labels_of(index))


def image_path(index: int) -> str:
    split, city, frame, _ = SAMPLES[index]
    return f"leftImg8bit/{split}/{city}/{city}_{frame}_leftImg8bit.png"


def label_path(index: int) -> str:
    split, city, frame, _ = SAMPLES[index]
    return f"gtFine/{split}/{city}/{city}_{frame}_gtFine_labelIds.png"


def build(root: Path) -> None:
    for index, (split, _, _, size) in enumerate(SAMPLES):
        image, labels = root / image_path(index), root / label_path(index)
        for path in image, labels:
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture_of(index)).save(image)
        # The labels of the test split are empty: all of it is "out of roi".
        content = np.full(size, 3, np.uint8) if split == "test" else labels_of(index)
        Image.fromarray(content).save(labels)
        beside = str(labels).removesuffix("labelIds.png")
        Image.fromarray(content.astype(np.uint16)).save(f"{beside}instanceIds.png")
        Image.fromarray(np.zeros((*size, 4), np.uint8)).save(f"{beside}color.png")
        Path(f"{beside}polygons.json").write_text('{"imgHeight": 60, "imgWidth": 80, "objects": []}')
    for name in "README", "license.txt":
        (root / name).write_text("Cityscapes\n")

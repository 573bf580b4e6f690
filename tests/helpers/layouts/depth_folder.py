"""Custom dataset of depths, as 16-bit PNGs in millimeters."""

from pathlib import Path

import numpy as np
import yaml

from helpers.layouts.files import write_image, write_photo

VALUES = {"kind": "depth", "unit": "m", "divisor": 1000, "invalid": 0, "range": [0.1, 20]}


def build(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "values.yaml").write_text(yaml.safe_dump(VALUES))
    for split, count in ("train", 4), ("val", 2):
        for number in range(count):
            write_photo(root / "images" / split / f"{number}.jpg", (60, 80))
            stored = np.random.default_rng(number).integers(500, 9000, (60, 80)).astype(np.uint16)
            write_image(root / "targets" / split / f"{number}.png", stored)

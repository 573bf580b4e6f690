"""Synthetic landscapes: the built-in dataset, rendered with NumPy, nothing to download."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes_renderer import BALL_CEILING, BALL_RADIUS, SceneRenderer
from refinenet_pl.errors import DataError

KEPT = 2**28
"""Bytes of memory for rendered samples of a split."""


class Scenes(SegmentationDataset):
    """Synthetic landscapes that test each part of RefineNet; every image is rendered when it is first read.

    - Balls and lamps look the same, and so do roads and rivers. An image with a moon contains lamps, one with a sun balls; red
      flags indicate a river, blue ones a road. Distinguishing them requires context tens of pixels away.
    - Poles and wires are 1 or 2 pixels wide, at any tilt. Outlines are sharp. Buildings, trees and balls vary in size.
    - Meadow and crop have the same mean color and differ in texture. Brightness and tint vary between images.

    An image depends only on (seed, split, index, size), not on `samples`.

    Args:
        root: Ignored, because there are no files.
        split: `train`, `val` or `test`.
        size: Height and width in pixels, at least 64.
        samples: Number of images in this split; None for that of `split_sizes`.
        seed: At least 0; different seeds give different images.

    Raises:
        DataError: An argument is not an integer or out of range, or the split is unknown.
    """

    title = "Scenes"
    classes = Classes(
        names=("sky", "meadow", "crop", "road", "river", "building", "tree", "pole", "flag", "ball", "lamp"),
        palette=(
            (135, 190, 235), (120, 180, 70), (215, 190, 80), (128, 64, 128), (40, 90, 200), (150, 60, 50),
            (20, 100, 40), (240, 240, 240), (255, 140, 0), (230, 30, 90), (0, 230, 200),
        ),
        ignore_index=255,
    )  # fmt: skip
    split_sizes: ClassVar[Mapping[str, int]] = {"train": 800, "val": 200, "test": 200}
    source = "rendered by this class, nothing to download"
    license = "MIT, like the code"

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        size: int = 128,
        samples: int | None = None,
        seed: int = 0,
    ):
        super().__init__(root, split)
        for name, value in ("size", size), ("samples", samples), ("seed", seed):
            if not isinstance(value, int) and (name != "samples" or value is not None):
                raise DataError(f"{name}: {value!r} is not an integer")
        if size < 64:
            raise DataError(f"size: {size} pixels are too few for the objects in the images; give 64 or more")
        if samples is not None and samples < 1:
            raise DataError(f"samples: a split cannot have {samples} images; give 1 or more, or null for the default number")
        if seed < 0:
            raise DataError(f"seed: {seed} is negative; give 0 or more")
        self.size = size
        self.samples = self.split_sizes[split] if samples is None else samples
        self.seed = seed
        self._rendered: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.samples

    def name(self, index: int) -> str:
        """Split and index of a sample, such as `val_00007`."""
        return f"{self.split}_{range(self.samples)[index]:05d}"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Render a sample, or copy it if it was rendered before and the samples fit into `KEPT` bytes of memory."""
        if self.samples * self.size**2 * 4 > KEPT:
            return self.render(index)
        if index not in self._rendered:
            self._rendered[index] = self.render(index)
        image, mask = self._rendered[index]
        return image.copy(), mask.copy()

    def render(self, index: int, night: bool | None = None, red: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Render a sample, optionally with a different distant context; all other pixels stay equal.

        Args:
            index: Index of the sample.
            night: True for a moon and lamps, False for a sun and balls; None for those of the sample.
            red: True for red flags and a river, False for blue flags and a road; None for those of the sample.

        Returns:
            The image, uint8 (size, size, 3), and its mask, uint8 (size, size).
        """
        scene = self.scene(index, night, red)
        return scene.photograph(), scene.label

    def scene(self, index: int, night: bool | None = None, red: bool | None = None) -> SceneRenderer:
        """Render all objects of a sample, see `render`."""
        stream = list(self.split_sizes).index(self.split), range(self.samples)[index]
        rng = np.random.default_rng([self.seed, *stream])
        own_night, own_red = rng.integers(2, size=2) == 1
        night, red = own_night if night is None else night, own_red if red is None else red

        scene = SceneRenderer(rng, self.size)
        sun, *flags = scene.slots(3, of=4)
        scene.sky(night, sun)
        scene.ground()
        scene.band(red)
        # From far to near, so that near objects cover far ones.
        for depth in np.sort(rng.uniform(0, 1, rng.integers(6, 11))):
            render = scene.building if rng.integers(2) else scene.tree
            render(rng.uniform(0, self.size), scene.horizon + (0.03 + 0.22 * depth) * self.size, 0.5 + depth)
        for column in scene.slots(int(rng.integers(2, 5)), of=5):
            radius = scene.between(*BALL_RADIUS)
            scene.ball(column, rng.uniform(BALL_CEILING * self.size + radius, self.size - radius), radius, night)
        masts = [scene.flag(column, red) for column in flags]
        scene.void(self.classes.ignore_index)

        for mast in masts:
            scene.line(*mast)
        tops = [(x, rng.uniform(0.28, 0.42) * self.size) for x in np.sort(scene.slots(2, of=3))]
        for x, y in tops:
            scene.line(x, y, x + scene.between(-12, 12), scene.horizon + scene.between(20, 50), width=2)
        ends = [(-1, tops[0][1] + scene.between(-8, 8)), *tops, (self.size, tops[1][1] + scene.between(-8, 8))]
        for start, end in zip(ends[:-1], ends[1:], strict=True):
            scene.line(*start, *end, sag=scene.between(1, 6))
        for _ in range(3):
            x, y, angle, length = *rng.uniform((0, 0.55), 1, 2) * self.size, rng.uniform(0, np.pi), scene.between(12, 30)
            scene.line(x, y, x + length * np.cos(angle), y + length * np.sin(angle), width=int(rng.integers(1, 3)))
        return scene

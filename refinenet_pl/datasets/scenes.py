"""Drawn landscapes: the built-in dataset, made with NumPy, nothing to download."""

import numpy as np

from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes_renderer import BALL_CEILING, BALL_RADIUS, Landscape
from refinenet_pl.errors import DataError


class Scenes(SegmentationDataset):
    """Landscapes that show what the parts of RefineNet are for; every image is rendered on request.

    - Balls and lamps look the same, and so do roads and rivers. An image with the moon high in the sky has lamps, one with
      the sun has balls; red flags mean a river, blue ones a road. This needs surroundings that are tens of pixels away.
    - Poles and wires are 1 or 2 pixels wide, at any tilt; outlines are sharp; buildings, trees and balls come in many sizes.
    - Meadow and crop have one mean color and differ in texture. Every image has a brightness and tint of its own.

    An image depends on (seed, split, index, size) and on nothing else, not on `samples`.

    Args:
        root: Not used, for there are no files.
        split: "train", "val" or "test".
        size: Height and width in pixels, 64 or more.
        samples: Number of images in this split; None for that of `split_sizes`.
        seed: 0 or more. Another seed gives other images.
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
    split_sizes = {"train": 800, "val": 200, "test": 200}
    source = "drawn by this class, nothing to download"
    licence = "MIT, as the code"

    def __init__(self, root=None, split: str = "train", size: int = 128, samples: int | None = None, seed: int = 0):
        super().__init__(root, split)
        for name, value in ("size", size), ("samples", samples), ("seed", seed):
            if not isinstance(value, int) and (name != "samples" or value is not None):
                raise DataError(f"the {name} {value!r} is not a whole number")
        if size < 64:
            raise DataError(f"a size of {size} pixels is too small for the things in the pictures; give 64 or more")
        if samples is not None and samples < 1:
            raise DataError(f"a split of {samples} pictures is not possible; give 1 or more, or None for the usual number")
        if seed < 0:
            raise DataError(f"the seed {seed} is negative; give 0 or more")
        self.size = size
        self.samples = self.split_sizes[split] if samples is None else samples
        self.seed = seed

    def __len__(self) -> int:
        return self.samples

    def name(self, index: int) -> str:
        return f"{self.split}_{range(self.samples)[index]:05d}"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.draw(index)

    def draw(self, index: int, night: bool | None = None, red: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw an image, if asked with other far surroundings than its own; all else in it stays, to the pixel.

        Args:
            index: Which sample.
            night: Whether the moon is in the sky, and balls are lamps; None for what the image has.
            red: Whether flags are red, and the road is a river; None for what the image has.

        Returns:
            The image, uint8 (size, size, 3), and its mask, uint8 (size, size).
        """
        stream = list(self.split_sizes).index(self.split), range(self.samples)[index]
        rng = np.random.default_rng([self.seed, *stream])
        own_night, own_red = rng.integers(2, size=2) == 1
        night, red = own_night if night is None else night, own_red if red is None else red

        scene = Landscape(rng, self.size)
        sun, *flags = scene.slots(3, of=4)
        scene.sky(night, sun)
        scene.ground()
        scene.band(red)
        # From far to near, so that near things hide far ones.
        for depth in np.sort(rng.uniform(0, 1, rng.integers(6, 11))):
            thing = scene.building if rng.integers(2) else scene.tree
            thing(rng.uniform(0, self.size), scene.horizon + (0.03 + 0.22 * depth) * self.size, 0.5 + depth)
        for column in scene.slots(rng.integers(2, 5), of=5):
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
            scene.line(x, y, x + length * np.cos(angle), y + length * np.sin(angle), width=rng.integers(1, 3))
        return scene.photograph(), scene.label

"""Values of the synthetic landscapes: depth, heatmaps of keypoints, and labels that are not exclusive."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.datasets.scenes_renderer import CROP, FARTHEST, FLAG, MEADOW, POLE, TREE, SceneRenderer
from refinenet_pl.datasets.values import Values

# Standard deviation of a keypoint's heatmap, in pixels of an image of 128x128.
SPREAD = 3.0
FAR = 6.0
"""Meters from which the label `far` begins."""


class SceneValues(ValueDataset):
    """Images of `Scenes`, with values that the renderer knows.

    Args:
        root: Ignored, because there are no files.
        split, size, samples, seed: See `Scenes`.
    """

    split_sizes: ClassVar[Mapping[str, int]] = Scenes.split_sizes
    source = Scenes.source
    license = Scenes.license

    def __init__(
        self,
        root: str | Path | None = None,
        split: str = "train",
        size: int = 128,
        samples: int | None = None,
        seed: int = 0,
    ):
        super().__init__(root, split)
        self.scenes = Scenes(root, split, size, samples, seed)

    def __len__(self) -> int:
        return len(self.scenes)

    def name(self, index: int) -> str:
        """Split and index of a sample, such as `val_00007`."""
        return self.scenes.name(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Render a sample."""
        scene = self.scenes.scene(index)
        return scene.photograph(), self.target(scene)

    @abstractmethod
    def target(self, scene: SceneRenderer) -> np.ndarray:
        """Values of a rendered scene, float32 (size, size, channels), NaN where unknown."""


class ScenesDepth(SceneValues):
    """Distance from the camera in meters.

    The ground is a plane seen from 1.6 m above it. Objects have the distance of the ground at their base. The depth of sky,
    flags and wires is unknown, as is that of the ground near the horizon.
    """

    title = "Scenes, depth"
    values = Values(("depth",), "depth", "m", (0.5, FARTHEST))

    def target(self, scene: SceneRenderer) -> np.ndarray:
        """Depth in meters."""
        return scene.depth[..., None]


class ScenesKeypoints(SceneValues):
    """Heatmaps of three keypoints: the centers of the sun or moon, of the left flag, and of the right flag."""

    title = "Scenes, keypoints"
    values = Values(("light", "left flag", "right flag"), "heatmap", "", (0.0, 1.0), swapped=((1, 2),))

    def target(self, scene: SceneRenderer) -> np.ndarray:
        """Heatmaps, Gaussians with a max of 1."""
        points = [scene.light, *sorted(scene.flags)]
        squared = [(scene.x - column) ** 2 + (scene.y - row) ** 2 for column, row in points]
        return np.exp(-np.stack(squared, -1) / (2 * (SPREAD * scene.unit) ** 2)).astype(np.float32)


class ScenesLabels(SceneValues):
    """Two labels of each pixel, of which it can have both or none: `vegetation` (meadow, crop, trees) and `far` (6 m or more).

    The sky is far. The distance of flags and of lines without a base on the ground is unknown, and so are both labels of the
    outlines of objects, whose class is void.
    """

    title = "Scenes, labels"
    values = Values(("vegetation", "far"), "labels", range=(0.0, 1.0))

    def target(self, scene: SceneRenderer) -> np.ndarray:
        """Labels, 0 or 1."""
        vegetation = np.isin(scene.label, (MEADOW, CROP, TREE))
        # The depth of the sky and beyond `FARTHEST` is NaN.
        far = ~(scene.depth < FAR)
        target = np.stack([vegetation, far], -1).astype(np.float32)
        target[np.isnan(scene.depth) & np.isin(scene.label, (FLAG, POLE)), 1] = np.nan
        target[scene.label == Scenes.classes.ignore_index] = np.nan
        return target

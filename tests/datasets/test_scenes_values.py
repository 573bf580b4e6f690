"""Depth, keypoints and labels of the synthetic landscapes."""

import numpy as np
import pytest

from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.datasets.scenes_renderer import BALL, BUILDING, CAMERA_HEIGHT, CROP, MEADOW, SKY, TREE
from refinenet_pl.datasets.scenes_values import FAR, ScenesDepth, ScenesKeypoints, ScenesLabels

SPLIT = {"split": "val", "samples": 6}


DATASETS = [ScenesDepth(**SPLIT), ScenesKeypoints(**SPLIT), ScenesLabels(**SPLIT)]


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.title)
def test_images_are_those_of_scenes(dataset):
    for index in range(len(dataset)):
        image, target = dataset.read(index)
        assert np.array_equal(image, Scenes(**SPLIT).read(index)[0])
        assert target.shape == (128, 128, len(dataset.values)) and target.dtype == np.float32
        assert not dataset.values.outside(target).any()
        assert dataset.name(index) == f"val_{index:05d}"


def test_depth_of_the_ground_is_that_of_a_plane():
    dataset = Scenes(**SPLIT)
    for index in range(len(dataset)):
        scene = dataset.scene(index)
        rows, columns = np.nonzero(np.isin(scene.label, (MEADOW, CROP)) & ~np.isnan(scene.depth))
        # The void line around an object belongs to it on one side only.
        expected = CAMERA_HEIGHT * scene.size / (rows - scene.horizon)
        assert len(rows) > 1000 and np.allclose(scene.depth[rows, columns], expected, rtol=1e-4)


def test_depth_of_objects():
    dataset = Scenes(**SPLIT)
    for index in range(len(dataset)):
        scene = dataset.scene(index)
        assert np.isnan(scene.depth[scene.label == SKY]).all()
        for label in BUILDING, BALL:
            found = np.unique(scene.thing[scene.label == label])
            depths = [np.unique(scene.depth[(scene.thing == thing) & (scene.label == label)]) for thing in found if thing]
            assert all(len(values) == 1 for values in depths)  # one distance per object


def test_keypoints_are_at_the_objects():
    dataset, scenes = ScenesKeypoints(**SPLIT), Scenes(**SPLIT)
    for index in range(len(dataset)):
        _, target = dataset.read(index)
        scene = scenes.scene(index)
        peaks = [np.unravel_index(np.argmax(target[..., channel]), target.shape[:2]) for channel in range(3)]
        points = [scene.light, *sorted(scene.flags)]
        for (row, column), point in zip(peaks, points, strict=True):
            assert np.hypot(column - point[0], row - point[1]) < 1
        assert peaks[1][1] < peaks[2][1] and len(scene.flags) == 2


def test_labels_are_not_exclusive():
    dataset, scenes = ScenesLabels(**SPLIT), Scenes(**SPLIT)
    found = set()
    for index in range(len(dataset)):
        _, target = dataset.read(index)
        scene = scenes.scene(index)
        vegetation, far = target[..., 0], target[..., 1]
        assert np.isnan(target[scene.label == 255]).all() and (far[scene.label == SKY] == 1).all()
        labeled = scene.label != 255
        assert np.array_equal(vegetation[labeled] == 1, np.isin(scene.label, (MEADOW, CROP, TREE))[labeled])
        ground = labeled & ~np.isnan(scene.depth)
        assert np.array_equal(far[ground] == 1, scene.depth[ground] >= FAR)
        found |= set(zip(vegetation[ground], far[ground], strict=True))
    assert found == {(0, 0), (0, 1), (1, 0), (1, 1)}

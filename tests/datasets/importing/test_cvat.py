"""CVAT: layers, rotated shapes, and subsets."""

import shutil

import numpy as np
from helpers.annotation_files import change, cvat, scene
from helpers.files import touch
from helpers.importing import masks

from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.importing.annotations import Options
from refinenet_pl.datasets.importing.cvat import read


def test_layers_and_rotated_shapes(tmp_path):
    box = '<box label="road" xtl="8" ytl="2" xbr="10" ybr="14" rotation="90.0" z_order="1"></box>'
    ellipse = '<ellipse label="car" cx="20" cy="3" rx="2" ry="1" rotation="90" z_order="-1"></ellipse>'
    source = cvat(tmp_path / "in", ["a"], box + ellipse + '<polyline label="car" points="1,1;2,2"></polyline>')
    annotations = read(source, Options())
    assert annotations.notes == ["shapes of the type polyline, left out because they have no area: 1"]
    expected = scene()
    expected[7:9, 3:15] = 1  # the higher layer covers the smaller car
    expected[1:4, 19:21] = 2  # the lower layer does not cover the road
    (mask,) = masks(annotations, tmp_path / "out")
    assert np.array_equal(mask, expected)
    assert Folder(tmp_path / "out", "train").classes.palette == ((0, 0, 0), (128, 64, 128), (0, 0, 142))


def test_subsets_of_a_project(tmp_path):
    source = cvat(tmp_path / "in", ["a"])
    touch(tmp_path / "in/images/Train", "x")
    shutil.move(tmp_path / "in/images/a.jpg", tmp_path / "in/images/Train/a.jpg")
    change(source, 'name="a.jpg"', 'name="a.jpg" subset="Train"')
    change(source, "</labels>", "<label><name>wet</name><type>tag</type></label></labels>")
    annotations = read(source.parent, Options())
    assert annotations.images[0].name == "Train/a" and annotations.names == ["road", "car"]

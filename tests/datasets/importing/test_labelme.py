"""Labelme: shapes, void and background labels, and lists of the classes."""

import base64
import io

import numpy as np
import pytest
from helpers.annotation_files import labelme, scene, shape, write_json
from helpers.importing import masks
from PIL import Image

from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.importing.annotations import Options
from refinenet_pl.datasets.importing.labelme import read
from refinenet_pl.datasets.importing.writer import write
from refinenet_pl.errors import DataError


def test_shapes(tmp_path):
    folder = labelme(tmp_path / "in", ["sub/a"])
    png = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [255, 255]], np.uint8)).save(png, "PNG")
    shapes = [
        shape("__ignore__", [[0, 0], [24, 1]], "rectangle"),
        shape("ball", [[12, 8], [12, 4]], "circle"),
        shape("_background_", [[10, 7], [14, 7], [14, 9], [10, 9]], "oriented_rectangle"),
        shape("ball", [[20, 12], [22, 14]], "mask", mask=base64.b64encode(png.getvalue()).decode()),
        shape("ball", [[1, 1]], "point"),
    ]
    write_json(folder / "sub/a.json", {"shapes": shapes, "imagePath": "..\\old\\a.jpg"})
    annotations = read(folder, Options())
    assert annotations.notes == ["shapes of the type point, left out because they have no area: 1"]
    assert annotations.names == ["ball", "_background_"] and annotations.images[0].name == "sub/a"
    (mask,) = masks(annotations, tmp_path / "out")
    assert mask[12:14, 20:22].tolist() == [[1, 0], [0, 0]] and (mask[0] == 255).all()
    assert mask[7:9, 10:14].all() and (mask == 0).sum() == pytest.approx(np.pi * 16 - 8 + 3, abs=2)


def test_class_list(tmp_path):
    folder = labelme(tmp_path / "in", ["a"])
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncar\nroad\n")
    annotations = read(folder, Options(classes=tmp_path / "labels.txt"))
    (mask,) = masks(annotations, tmp_path / "out")
    assert (
        np.array_equal(mask, np.array([0, 2, 1])[scene()])
        and Folder(tmp_path / "out", "train").classes.names[0] == "_background_"
    )
    (tmp_path / "labels.txt").write_text("car\n")
    annotations = read(folder, Options(classes=tmp_path / "labels.txt"))
    with pytest.raises(DataError, match="a.json: shape 1: the label 'road' is not in the list"):
        write(annotations, tmp_path / "other", split="train")

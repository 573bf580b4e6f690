"""COCO: crowds, colors, and images in folders."""

import numpy as np
from helpers.annotation_files import change, coco, runs, scene
from helpers.importing import masks
from pycocotools import mask as reference

from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.importing.annotations import Options
from refinenet_pl.datasets.importing.coco import read
from refinenet_pl.datasets.importing.writer import write


def test_crowds_are_void_unless_they_are_to_have_their_class(tmp_path):
    source = coco(tmp_path / "in", ["a"])
    code = reference.encode(np.asfortranarray(scene() == 2, np.uint8))["counts"].decode()
    change(source, '"iscrowd": 0', '"iscrowd": 1')
    change(source, str(runs((scene() == 2).T)), f'"{code}"')
    annotations = read(source, Options())
    assert annotations.notes == ["crowd regions (iscrowd), which are void unless --crowd class gives them their class: 1"]
    expected = np.where(scene() == 2, 255, scene())
    assert np.array_equal(masks(annotations, tmp_path / "void")[0], expected)
    kept = read(source, Options(crowd="class"))
    assert np.array_equal(masks(kept, tmp_path / "class")[0], scene()) and kept.notes == []


def test_names_in_folders_and_colors(tmp_path):
    source = coco(tmp_path / "in", ["a", "town/a"])
    change(source, '"name": "car"', '"color": [0, 0, 142], "name": "car"')
    change(source, '"a.jpg"', '"C:\\\\data\\\\a.jpg"')
    annotations = read(source, Options())
    assert [image.name for image in annotations.images] == ["a", "town/a"]
    write(annotations, tmp_path / "out", split="val")
    dataset = Folder(tmp_path / "out", "val")
    assert dataset.classes.palette == ((0, 0, 0), (128, 0, 0), (0, 0, 142)) and dataset.name(1) == "town_a"

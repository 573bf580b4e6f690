"""YOLO: `data.yaml` and its splits."""

import shutil

import pytest
from helpers.annotation_files import HEIGHT, WIDTH, yolo
from helpers.layouts.files import write_photo

from refinenet_pl.datasets.importing.annotations import Options
from refinenet_pl.datasets.importing.yolo import read
from refinenet_pl.errors import DataError


def test_splits(tmp_path):
    folder = yolo(tmp_path / "in", ["a", "b", "c"])
    write_photo(folder / "images/val/empty.jpg", (HEIGHT, WIDTH))
    text = (folder / "data.yaml").read_text()
    for content in text, text.replace("images/train", "../images/train"), "path: /another/computer\n" + text:
        (folder / "data.yaml").write_text(content)
        images = read(folder / "data.yaml", Options()).images
        assert [(image.split, image.name, len(image.regions)) for image in images] == [
            ("train", "a", 2), ("train", "b", 2), ("val", "c", 2), ("val", "empty", 0)
        ]  # fmt: skip
    (folder / "train.txt").write_text("./images/train/b.jpg\n")
    (folder / "data.yaml").write_text("train: [train.txt, images/val]\nnames: [road, car]\n")
    images = read(folder, Options()).images
    assert [(image.split, image.name) for image in images] == [(None, "b"), (None, "c"), (None, "empty")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("names: [road, car]", "none of the keys train, val and test"),
        ("train: images/other\nnames: [road, car]", "there is no .*images/other"),
        ("train: images/train", "names: must list the classes"),
        ("train: images/train\nnames: {1: road, 2: car}", "must be 0 to 1, without gaps"),
        ("train: images/train\nnames: [road, car]\nnc: 3", "nc is 3, but there are 2 names"),
        ("train: images/train\nnames: [road, road]", "two classes have the name 'road'"),
        ("train: {", "not YAML"),
    ],
)
def test_configuration(tmp_path, content, problem):
    folder = yolo(tmp_path)
    (folder / "data.yaml").write_text(content)
    with pytest.raises(DataError, match=f"{folder / 'data.yaml'}: .*{problem}"):
        read(folder, Options())


def test_without_labels(tmp_path):
    folder = yolo(tmp_path)
    shutil.rmtree(folder / "labels")
    with pytest.raises(DataError, match="there are no label files, such as .*labels/train/a.txt"):
        read(folder, Options())

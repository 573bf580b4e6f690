"""The readers of all formats: the same scene in each, and damaged files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.annotation_files import BUILDERS, FILES, STEMS, scene
from helpers.files import count_refusals, files_below
from PIL import Image

from refinenet_pl.cli.data_import import READERS
from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.importing.annotations import Options
from refinenet_pl.datasets.importing.writer import write
from refinenet_pl.errors import DataError

FORMATS = sorted(BUILDERS)
DEFAULTS = Options()


@pytest.fixture(params=FORMATS)
def files(request, tmp_path) -> tuple[str, Path, Path]:
    """Format, folder and source."""
    return request.param, tmp_path / "in", BUILDERS[request.param](tmp_path / "in")


def load(kind: str, source: Path, output: Path, options: Options = DEFAULTS, **choices) -> Folder:
    """Import a source and open its training images."""
    write(READERS[kind](source, options), output, **choices)
    return Folder(output, "train")


def test_each_format_yields_the_same_masks(files, tmp_path):
    kind, folder, source = files
    train = load(kind, source, tmp_path / "out")
    val = Folder(tmp_path / "out", "val")
    assert train.classes.names == ("background", "road", "car") and (len(train), len(val)) == (4, 1)
    assert sorted(dataset.name(index) for dataset in (train, val) for index in range(len(dataset))) == list(STEMS)
    for dataset in train, val:
        for index, sample in enumerate(dataset.samples):
            image, mask = dataset.read(index)
            (original,) = folder.rglob(f"{sample.name}.jpg")
            assert np.array_equal(mask, scene()) and np.array_equal(image, np.asarray(Image.open(original)))


def test_truncated_file(files, tmp_path):
    kind, folder, source = files
    file = folder / FILES[kind]
    file.write_text(file.read_text().rstrip()[:-20])
    with pytest.raises(DataError, match=f"{file}.*: ") as refused:
        load(kind, source, tmp_path / "out")
    assert "truncated" in str(refused.value) or kind == "yolo"
    assert not (tmp_path / "out").exists()


def test_damaged_bytes(files):
    kind, folder, source = files
    assert count_refusals(lambda _: READERS[kind](source, Options()), folder / FILES[kind], DataError, 100) > 50


def test_missing_image(files, tmp_path):
    kind, folder, source = files
    for image in folder.rglob("b.jpg"):
        image.unlink()
    if kind == "yolo":  # labels without an image, which is what the format's own tools ignore
        assert len(load(kind, source, tmp_path / "out")) == 3
    else:
        with pytest.raises(DataError, match=r"there is no image .*b\.jpg in .*--images"):
            load(kind, source, tmp_path / "out")


def test_image_of_another_size(files, tmp_path):
    kind, folder, source = files
    (image,) = folder.rglob("b.jpg")
    Image.new("RGB", (40, 30)).save(image)
    if kind == "yolo":  # shares of any size
        assert load(kind, source, tmp_path / "out").read(1)[1].shape == (30, 40)
    else:
        with pytest.raises(DataError, match=rf"{image} is 40x30, but {folder}.* is for 24x16"):
            load(kind, source, tmp_path / "out")


def test_damaged_image(files, tmp_path):
    kind, folder, source = files
    (image,) = folder.rglob("b.jpg")
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(DataError, match=f"{image}: "):
        load(kind, source, tmp_path / "out")
    assert files_below(tmp_path / "out") == [] and [path.name for path in tmp_path.iterdir()] == ["in"]


def test_images_elsewhere(files, tmp_path):
    kind, folder, source = files
    if kind == "yolo":
        (tmp_path / "names.txt").write_text("road\ncar\n")
        options = Options(images=folder / "images", classes=tmp_path / "names.txt")
        assert len(load(kind, source, tmp_path / "out", options, split="train")) == 5
        return
    (tmp_path / "elsewhere").mkdir()
    for image in list(folder.rglob("*.jpg")):
        shutil.move(image, tmp_path / "elsewhere")
    assert len(load(kind, source, tmp_path / "out", Options(images=tmp_path / "elsewhere"))) == 4
    with pytest.raises(DataError, match="nowhere: no such folder; .*--images"):
        READERS[kind](source, Options(images=tmp_path / "nowhere"))


@pytest.mark.parametrize("kind", FORMATS)
def test_missing_source(kind, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        READERS[kind](tmp_path / "nowhere", Options())

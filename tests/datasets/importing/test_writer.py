"""Written datasets: overlaps, pixels without annotation, colors, orientation."""

import numpy as np
import pytest
from helpers.files import files_below
from helpers.image_files import orientation
from helpers.importing import HEIGHT, WIDTH, annotated, region
from PIL import Image

from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.importing.annotations import AnnotatedImage, Annotations
from refinenet_pl.datasets.importing.writer import write
from refinenet_pl.errors import DataError


def read_mask(output) -> np.ndarray:
    return np.asarray(Image.open(output / "masks/train/a.png"))


@pytest.mark.parametrize(
    ("order", "layers", "expected"),
    [
        ("area", (0, 0, 0), "cat"),  # the smallest on top
        ("file", (0, 0, 0), "dog"),  # the last on top
        ("area", (0, 1, 0), "dog"),
        ("file", (0, 1, 0), "dog"),
        ("file", (1, 0, 0), "cat"),
    ],
)
def test_overlaps(tmp_path, order, layers, expected):
    areas = [("cat", 4, 4, 6, 6), ("dog", 2, 2, 8, 8), ("cat", 0, 0, 20, 12)] if order == "area" else [
        ("cat", 0, 0, 20, 12), ("dog", 2, 2, 8, 8), ("dog", 4, 4, 6, 6)
    ]  # fmt: skip
    regions = [region(label, *corners, layer=layer) for (label, *corners), layer in zip(areas, layers, strict=True)]
    write(annotated(tmp_path / "in", "a", regions=regions), tmp_path / "out", split="train", order=order)
    mask = read_mask(tmp_path / "out")
    names = ("background", "cat", "dog")
    assert names[mask[5, 5]] == expected and (order == "area" or layers[0] or names[mask[0, 0]] == "cat")


def test_regions_of_equal_area_keep_the_order_of_the_file(tmp_path):
    regions = [region("dog", 0, 0, 4, 4), region("cat", 1, 0, 5, 4), region("dog", 10, 0, 20, 12)]
    write(annotated(tmp_path / "in", "a", regions=regions), tmp_path / "out", split="train")
    assert read_mask(tmp_path / "out")[0, :6].tolist() == [2, 1, 1, 1, 1, 0]


def test_pixels_without_annotation_are_background_or_void(tmp_path):
    regions = [region("cat", 0, 0, 5, 5), region("dog", 10, 0, 20, 12), region(None, 10, 0, 11, 1)]
    annotations = annotated(tmp_path / "in", "a", regions=regions)
    annotations.images += annotated(tmp_path / "in", "b", regions=[region(None, 0, 0, 9, 9)]).images
    written = write(annotations, tmp_path / "void", split="train", unlabeled="void")
    assert (written.left_out, written.sizes) == (1, {"train": 1})
    mask = read_mask(tmp_path / "void")
    assert Folder(tmp_path / "void", "train").classes.names == ("cat", "dog")
    assert mask[0, 0] == 0 and mask[0, 11] == 1 and mask[0, 10] == 255 and mask[11, 0] == 255
    write(annotated(tmp_path / "in", "a", classes="cat dog Background"), tmp_path / "own", split="train")
    assert read_mask(tmp_path / "own")[11, 0] == 2, "a class of this name is the background"


def test_masks_show_the_colors_of_the_classes(tmp_path):
    colors = {"cat": (9, 9, 9), "dog": (9, 9, 9)}
    write(annotated(tmp_path / "in", "a", colors=colors), tmp_path / "out", split="train")
    classes = Folder(tmp_path / "out", "train").classes
    assert classes.palette[:2] == ((0, 0, 0), (9, 9, 9)) and len(set(classes.palette)) == 3
    shown = np.asarray(Image.open(tmp_path / "out/masks/train/a.png").convert("RGB"))
    assert np.array_equal(shown, classes.colorize(read_mask(tmp_path / "out")))


def test_counts(tmp_path):
    regions = [region("cat", -3, 0, 5, 5), region("dog", 3.6, 0, 4.4, 9), region("dog", 0, 0, 20.3, 12)]
    written = write(annotated(tmp_path / "in", "a", regions=regions), tmp_path / "out", split="train")
    assert (written.regions, written.clipped, written.empty) == (3, 1, 1)


@pytest.mark.parametrize("turn", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("square", [False, True])
def test_masks_fit_upright_images(tmp_path, turn, square):
    """The annotated corner is the bright one of the image as the dataset reads it."""
    upright = np.zeros((64, 64 if square else 96, 3), np.uint8)
    upright[:16, -16:] = 255
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright).transpose(back[turn]) if turn > 1 else Image.fromarray(upright)
    stored.save(tmp_path / "a.jpg", exif=orientation(turn))
    width = upright.shape[1]
    image = AnnotatedImage("a", tmp_path / "a.jpg", "a.json", (width, 64), [region("cat", width - 16, 0, width, 16)])
    written = write(Annotations("source", [image], ["cat"]), tmp_path / "out", split="train")
    pixels, mask = Folder(tmp_path / "out", "train").read(0)
    assert pixels.shape == upright.shape and pixels[mask == 1].min() > 200 and pixels[mask == 0].max() < 60
    again = turn in (2, 3) or (square and turn != 1)
    assert written.upright == again and files_below(tmp_path / "out/images") == [f"train/a.{'png' if again else 'jpg'}"]


def test_unknown_orientation(tmp_path):
    annotations = annotated(tmp_path, "a", upright=False)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg", exif=orientation(3))
    with pytest.raises(DataError, match="a.jpg: is stored rotated .EXIF orientation 3., and a.json fits both"):
        write(annotations, tmp_path / "out", split="train")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.jpg", exif=orientation(6))  # fits only as it is stored
    write(annotations, tmp_path / "out", split="train")
    assert Folder(tmp_path / "out", "train").read(0)[0].shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("classes", "unlabeled", "problem"),
    [
        ("cat", "void", "has 1 classes.*--unlabeled background"),
        ("cat", "background", "the label 'dog' is not in the list"),
        (" ".join(f"c{index}" for index in range(254)), "background", "has 255 classes, but 2 to 254 are possible"),
    ],
)
def test_unsuitable_classes(tmp_path, classes, unlabeled, problem):
    with pytest.raises(DataError, match=problem):
        write(annotated(tmp_path / "in", "a", classes=classes), tmp_path / "out", split="train", unlabeled=unlabeled)
    assert not (tmp_path / "out").exists()


def test_254_classes_have_distinct_colors(tmp_path):
    names = " ".join(["cat", "dog", *(f"c{index}" for index in range(251))])
    write(annotated(tmp_path / "in", "a", classes=names, colors={"cat": (224, 224, 192)}), tmp_path / "out", split="train")
    assert len(set(Folder(tmp_path / "out", "train").classes.palette)) == 254

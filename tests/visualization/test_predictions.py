"""Pictures in of any format, predictions out."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.readers.io import read_image, read_mask
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.errors import DataError
from refinenet_pl.visualization.predictions import overlay, save_prediction, with_legend

CLASSES = Classes(("road", "car", "tree"), ((200, 30, 40), (20, 160, 60), (30, 60, 220)), 255)
VALUES = LabelValues.plain(3)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# Reading


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm"])
def test_colour_picture_comes_back_exactly(tmp_path, ending):
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / f"x.{ending}")
    read = read_image(tmp_path / f"x.{ending}")
    assert read.dtype == np.uint8 and read.flags.writeable
    assert np.array_equal(read, noise(20, 30, 3))


def test_grey_picture_gets_three_equal_channels(tmp_path):
    Image.fromarray(noise(20, 30)).save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png"), np.repeat(noise(20, 30)[..., None], 3, axis=2))


def test_black_and_white_picture_becomes_0_and_255(tmp_path):
    Image.fromarray(noise(20, 30) > 127).save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png")[..., 0], np.where(noise(20, 30) > 127, 255, 0))


def test_palette_picture_is_read_as_its_colours(tmp_path):
    ids = noise(20, 30) % 3
    picture = Image.fromarray(ids, mode="P")
    picture.putpalette([value for colour in CLASSES.palette for value in colour])
    picture.save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png"), CLASSES.colorize(ids))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_left_out(tmp_path, mode):
    pixels = noise(20, 30, len(mode))
    Image.fromarray(pixels, mode=mode).save(tmp_path / "x.png")
    expected = pixels[..., :3] if mode == "RGBA" else np.repeat(pixels[..., :1], 3, axis=2)
    assert np.array_equal(read_image(tmp_path / "x.png"), expected)


def test_cmyk_jpeg_is_read_as_its_colours(tmp_path):
    colour = np.broadcast_to(np.array([200, 100, 50], np.uint8), (16, 16, 3))
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "x.jpg", quality=100)
    with Image.open(tmp_path / "x.jpg") as saved:
        assert saved.mode == "CMYK"
    assert np.abs(read_image(tmp_path / "x.jpg").astype(int) - colour).max() <= 4


@pytest.mark.parametrize(("dtype", "ending"), [(np.uint16, "png"), (np.uint16, "tif"), (np.int32, "tif"), (np.float32, "tif")])
def test_picture_of_more_than_8_bits_is_refused_and_not_clipped_to_white(tmp_path, dtype, ending):
    Image.fromarray(noise(20, 30).astype(dtype)).save(tmp_path / f"x.{ending}")
    with pytest.raises(DataError, match="8 bits") as refused:
        read_image(tmp_path / f"x.{ending}")
    assert str(tmp_path / f"x.{ending}") in str(refused.value)


# Colours


def test_ids_of_no_class_are_painted_black():
    painted = CLASSES.colorize(np.array([[0, 1, 2], [3, 255, -1]]))
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[list(colour) for colour in CLASSES.palette], [[0, 0, 0]] * 3]


@pytest.mark.parametrize(
    ("names", "palette", "ignore_index", "message"),
    [
        (("a", "b"), ((0, 0, 0),), 255, "2 class names but 1 colours"),
        (("a", "b"), ((0, 0, 0), (1, 1, 1)), 1, "ignore_index 1 is the id of the class 'b'"),
    ],
)
def test_classes_that_contradict_themselves_are_refused(names, palette, ignore_index, message):
    with pytest.raises(ValueError, match=message):
        Classes(names, palette, ignore_index)


# Writing


@pytest.fixture
def saved(tmp_path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Picture, mask of road and tree, and the files written for them."""
    image, mask = noise(100, 150, 3), (noise(100, 150) % 2) * np.uint8(2)
    save_prediction(tmp_path / "street.01", image, mask, CLASSES)
    return image, mask, {path.name: np.array(Image.open(path)) for path in tmp_path.iterdir()}


def test_prediction_is_three_files_beside_each_other(saved):
    assert set(saved[2]) == {"street.01.png", "street.01_color.png", "street.01_overlay.png"}


def test_ids_come_back_exactly(saved, tmp_path):
    _, mask, files = saved
    assert files["street.01.png"].dtype == np.uint8 and np.array_equal(files["street.01.png"], mask)
    assert np.array_equal(read_mask(tmp_path / "street.01.png", VALUES), mask)


def test_colours_are_the_classes_above_a_strip(saved):
    _, mask, files = saved
    colours = files["street.01_color.png"]
    assert colours.shape[0] > 100 and colours.shape[1:] == (150, 3)
    assert np.array_equal(colours[:100], CLASSES.colorize(mask))


def test_legend_shows_the_colours_of_the_classes_that_occur_and_no_other(saved):
    strip = saved[2]["street.01_color.png"][100:].reshape(-1, 3)
    shown = [int((strip == colour).all(1).sum()) for colour in CLASSES.palette]
    assert shown[0] > 50 and shown[1] == 0 and shown[2] > 50


def test_overlay_mixes_picture_and_colours(saved):
    image, mask, files = saved
    expected = 0.45 * image + 0.55 * CLASSES.colorize(mask)
    assert np.abs(files["street.01_overlay.png"] - expected).max() <= 0.5 + 1e-6


def test_overlay_strength_goes_from_picture_to_colours():
    image, colours = noise(5, 6, 3), noise(5, 6, 3)[::-1]
    assert np.array_equal(overlay(image, colours, 0.0), image) and np.array_equal(overlay(image, colours, 1.0), colours)


def test_overlay_is_rounded_as_a_whole_image_would_be():
    image, colors = noise(700, 500, 3), noise(700, 500, 3)[::-1]
    whole = np.round(image * (1 - 0.55) + colors * 0.55).astype(np.uint8)
    assert np.array_equal(overlay(image, colors), whole)
    assert np.array_equal(overlay(image, colors.copy(), out=colors.copy()), whole)


def test_writing_takes_a_few_times_the_memory_of_the_image(tmp_path):
    image, mask = noise(2000, 3000, 3), noise(2000, 3000) % np.uint8(3)
    tracemalloc.start()
    save_prediction(tmp_path / "x", image, mask, CLASSES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * image.nbytes


def test_legend_takes_more_rows_in_a_narrow_picture():
    many = Classes(tuple(f"class {n}" for n in range(12)), tuple((20 * n, 255 - 20 * n, 7) for n in range(12)), 255)
    colours = np.full((100, 100, 3), 9, np.uint8)
    one, all_ = with_legend(colours, np.array([0]), many), with_legend(colours, np.arange(12), many)
    assert one.shape[1] == all_.shape[1] == 100 and all_.shape[0] > one.shape[0]
    strip = all_[100:].reshape(-1, 3)
    assert all((strip == colour).all(1).any() for colour in many.palette)


def test_legend_does_not_name_void():
    colours = np.zeros((40, 60, 3), np.uint8)
    with_void = with_legend(colours, np.array([1, 255]), CLASSES)
    assert np.array_equal(with_void, with_legend(colours, np.array([1]), CLASSES))


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5)])
def test_odd_sizes_are_written_all_the_same(tmp_path, size):
    save_prediction(tmp_path / "x", noise(*size, 3), np.zeros(size, np.uint8), CLASSES)
    assert len(list(tmp_path.iterdir())) == 3

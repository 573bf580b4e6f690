"""Reading of images of a declared format: gray, 16 bits, floating-point values and any number of channels."""

from itertools import product

import numpy as np
import pytest
import tifffile
from helpers.image_files import PHOTO, orientation, palette_image, png, refusal
from PIL import Image

from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.readers.channels import read_channels, turned
from refinenet_pl.datasets.readers.image_files import open_image, upright
from refinenet_pl.datasets.readers.io import read_image, read_pair
from refinenet_pl.datasets.readers.tiff_bands import read_bands

GRAY16 = ImageFormat(1, (0, 65535))
COLORS = np.array([(9, 8, 7), (1, 2, 3)])
RNG = np.random.default_rng(3)
DEEP = RNG.integers(0, 65536, (6, 8, 5)).astype(np.uint16)
FLOATS = RNG.uniform(-1, 3, (6, 8, 5)).astype(np.float32)


def assert_mapped(image: np.ndarray, stored: np.ndarray, format: ImageFormat) -> None:
    """The image is float32 (height, width, channels), with the range mapped to 0..255."""
    low, high = format.range
    expected = (stored.astype(float).reshape(*stored.shape[:2], -1) - low) * 255 / (high - low)
    assert image.dtype == np.float32 and image.shape == expected.shape
    assert np.abs(image - expected).max() < 1e-4


def test_values_are_mapped_without_rounding_and_clipping(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0, 100, 150, -50, 1]], np.int16))
    image = read_image(tmp_path / "x.npy", format=ImageFormat(1, (0, 100)))
    assert image[0, :, 0] == pytest.approx([0, 255, 382.5, -127.5, 2.55])


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_gray_of_16_bits(tmp_path, extension):
    Image.fromarray(DEEP[..., 0]).save(tmp_path / f"x{extension}")
    assert_mapped(read_image(tmp_path / f"x{extension}", format=GRAY16), DEEP[..., 0], GRAY16)
    assert "more than 8 bits" in refusal(read_image, tmp_path / f"x{extension}")


@pytest.mark.parametrize("channels", [2, 3])
def test_png_of_16_bits_with_several_channels(tmp_path, channels):
    values = DEEP[0, :, :channels]
    (tmp_path / "x.png").write_bytes(png(values.ravel().tolist(), 16, channels))
    format = ImageFormat(channels, (0, 65535))
    assert_mapped(read_image(tmp_path / "x.png", format=format), values[None], format)


@pytest.mark.parametrize(
    ("name", "image", "channels", "expected"),
    [
        ("gray.jpg", Image.fromarray(np.full((6, 8), 77, np.uint8)), 1, np.full((6, 8), 77)),
        ("bilevel.png", Image.fromarray(PHOTO[..., 0] > 99), 1, np.where(PHOTO[..., 0] > 99, 255, 0)),
        ("rgb.png", Image.fromarray(PHOTO), 3, PHOTO),
        ("rgba.png", Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]])), 4, np.dstack([PHOTO, PHOTO[..., 0]])),
        ("without_alpha.png", Image.fromarray(np.dstack([PHOTO, PHOTO[..., 0]])), 3, PHOTO),
        ("gray_alpha.png", Image.fromarray(PHOTO[..., :2].copy(), "LA"), 1, PHOTO[..., 0]),
        ("palette.png", palette_image(PHOTO[..., 0] % 2, COLORS.tolist()), 3, COLORS[PHOTO[..., 0] % 2]),
    ],
)  # fmt: skip
def test_images_of_8_bits(tmp_path, name, image, channels, expected):
    image.save(tmp_path / name, quality=100)
    format = ImageFormat(channels, (0, 510))
    assert_mapped(read_image(tmp_path / name, format=format), expected, format)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize(("compression", "tile"), [(None, None), ("zlib", None), ("zlib", (16, 16)), (None, (16, 32))])
def test_tiff_bands(tmp_path, dtype, compression, tile):
    stored = RNG.uniform(0, 200, (37, 53, 5)).astype(dtype)
    predictor = compression is not None and dtype[0] != "f"  # tifffile cannot write that of floating-point values
    for byteorder, planar in product("<>", ("contig", "separate")):
        data = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
        layout = {"tile": tile, "rowsperstrip": None if tile else 7, "byteorder": byteorder, "planarconfig": planar}
        tifffile.imwrite(
            tmp_path / "x.tif", data, photometric="minisblack", compression=compression, predictor=predictor, **layout
        )
        assert np.array_equal(read_bands(tmp_path / "x.tif").pixels, stored)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize(
    ("stored", "predictor"), [(DEEP[..., 0], 1), (DEEP[..., 0], 2), (FLOATS[..., 0], 1), (FLOATS[..., 0], 3)]
)
def test_compressed_tiff_of_one_band(tmp_path, compression, stored, predictor):
    Image.fromarray(stored).save(tmp_path / "x.tif", compression=compression, tiffinfo={317: predictor})
    with Image.open(tmp_path / "x.tif") as image:
        assert np.array_equal(image, stored) and image.tag_v2.get(317, 1) in (1, predictor)
    assert np.array_equal(read_bands(tmp_path / "x.tif").pixels[..., 0], stored)


@pytest.mark.parametrize(("shape", "kept"), [((6, 8, 5), True), ((5, 6, 8), False)])
def test_numpy_files_have_the_channels_last_or_first(tmp_path, shape, kept):
    format = ImageFormat(5, (-1, 3))
    np.save(tmp_path / "x.npy", FLOATS if kept else np.moveaxis(FLOATS, -1, 0))
    assert_mapped(read_image(tmp_path / "x.npy", format=format), FLOATS, format)


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation(tmp_path, value):
    Image.fromarray(PHOTO).save(tmp_path / "x.png", exif=orientation(value))
    with open_image(tmp_path / "x.png") as image:
        assert np.array_equal(turned(PHOTO, value), np.asarray(upright(image)))
    rgb = ImageFormat(3, (0, 255))
    expected = read_image(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png", format=rgb), expected) and expected.dtype == np.uint8
    if value >= 5:  # the mask's size decides
        for mask in np.zeros(PHOTO.shape[:2]), np.zeros(PHOTO.shape[1::-1]):
            assert read_pair(tmp_path / "x.png", mask, tmp_path / "m.png", format=rgb).shape[:2] == mask.shape


@pytest.mark.parametrize(
    ("array", "format", "words"),
    [
        (FLOATS, ImageFormat(4, (-1, 3)), "has 5 channels, but `images` declares 4"),
        (FLOATS, ImageFormat(5, (0, 0.5)), "further outside the range 0 to 0.5 than its length"),
        (np.full((6, 8), np.nan, np.float32), GRAY16, "NaN or infinite"),
        (np.full((6, 8), -np.inf), GRAY16, "NaN or infinite"),
        (np.zeros((5, 8, 5)), ImageFormat(5, (0, 1)), "whose first and last size"),
        (np.zeros((2, 5, 8, 5)), ImageFormat(5, (0, 1)), "(height, width, channels)"),
    ],
)
def test_other_values_are_refused(tmp_path, array, format, words):
    np.save(tmp_path / "x.npy", array)
    assert words in refusal(lambda path: read_channels(path, format), tmp_path / "x.npy")


def test_damaged_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    assert "no such file" in refusal(lambda path: read_channels(path, GRAY16), path)
    tifffile.imwrite(path, DEEP, photometric="minisblack", planarconfig="contig", compression="zlib")
    format = ImageFormat(5, (0, 65535))
    assert read_channels(path, format)[0].shape == DEEP.shape
    path.write_bytes(path.read_bytes()[:-40])
    assert "copy it again" in refusal(lambda path: read_channels(path, format), path)
    tifffile.imwrite(path, np.moveaxis(DEEP, -1, 0), photometric="minisblack")
    assert "5 pages" in refusal(lambda path: read_channels(path, format), path)

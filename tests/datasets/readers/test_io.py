"""Reading of images, masks and image-mask pairs: conversions, values, palettes and orientation."""

import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.image_files import MASK, PHOTO, VALUES, mask_of, orientation, pack, pair_of, palette_image, png, refusal, tiff
from PIL import Image

from refinenet_pl.datasets.readers.io import read_colors, read_image, read_mask, read_pair
from refinenet_pl.datasets.readers.labels import LabelValues

PALETTE = ((9, 8, 7), (100, 0, 0), (0, 100, 0), (0, 0, 100))
GRAY = PHOTO[..., 0].copy()
ALPHA = PHOTO[..., 1]
UNIFORM = np.broadcast_to(np.array([200, 100, 50], np.uint8), PHOTO.shape)


def gray_rgb(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("gray.png", Image.fromarray(GRAY), gray_rgb(GRAY)),
        ("bilevel.png", Image.fromarray(GRAY > 127), gray_rgb(np.where(GRAY > 127, 255, 0))),
        ("palette.png", palette_image(MASK, PALETTE), np.array(PALETTE)[MASK]),
        ("rgba.png", Image.fromarray(np.dstack([PHOTO, ALPHA])), PHOTO),
        ("gray_alpha.png", Image.fromarray(np.dstack([GRAY, ALPHA])), gray_rgb(GRAY)),
        ("cmyk.tif", Image.fromarray(PHOTO).convert("CMYK"), PHOTO),
        ("cmyk.jpg", Image.fromarray(UNIFORM).convert("CMYK"), UNIFORM),
    ],
)
def test_converts_images_to_rgb(tmp_path, name, image, expected):
    image.save(tmp_path / name, quality=100)
    for read in (read_image, pair_of, read_colors) if name.endswith("png") else (read_image, pair_of):
        tolerance = 4 if image.mode == "CMYK" else 0
        assert np.abs(read(tmp_path / name).astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize(("value", "square"), [(2, False), (3, False), (4, False), (3, True), (6, True), (8, True)])
def test_ambiguous_orientation_is_an_error_or_read_as_stored(tmp_path, value, square):
    stored = PHOTO[:, :24] if square else PHOTO
    path, mask = tmp_path / "x.png", np.zeros(stored.shape[:2], np.uint8)
    Image.fromarray(stored).save(path, exif=orientation(value))
    assert f"EXIF orientation {value}" in refusal(lambda path: read_pair(path, mask, tmp_path / "m.png"), path)
    assert np.array_equal(read_pair(path, mask, tmp_path / "m.png", strict=False), stored)


@pytest.mark.parametrize(("value", "size"), [(1, "36x24"), (6, "24x36")])
def test_refuses_pairs_of_different_sizes(tmp_path, value, size):
    Image.fromarray(PHOTO).save(tmp_path / "x.png", exif=orientation(value))
    message = refusal(lambda path: read_pair(path, np.zeros((5, 7)), tmp_path / "m.png"), tmp_path / "x.png")
    assert f"x.png is {size}, but its mask {tmp_path / 'm.png'} is 7x5" in message


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_tiff_masks_of_any_type(tmp_path, dtype, byteorder, compression):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, MASK.astype(dtype), byteorder=byteorder, compression=compression, photometric="minisblack")
    assert np.array_equal(mask_of(path), MASK)
    for read in (read_image, read_colors, pair_of) if dtype != "u1" else ():
        assert "8 bits first" in refusal(read, path)


@pytest.mark.parametrize(
    ("problem", "dtype", "value"),
    [("the floating-point value {:g}", "f4", value) for value in (1.5, np.nan, np.inf, 1e20)]
    + [("the floating-point value {:g}", "f8", value) for value in (0.5, 2**24 + 1)]
    + [("values {} in 1 pixels", dtype, -1) for dtype in ("f4", "i1", "i2", "i4")]
    + [("values {} in 1 pixels", "u4", 2**32 - 1), ("values {} in 1 pixels", "i4", 70000)],
)
def test_reports_undefined_values(tmp_path, problem, dtype, value):
    mask = MASK.astype(dtype)
    mask[3, 4] = value
    tifffile.imwrite(tmp_path / "x.tif", mask, byteorder="<", photometric="minisblack")
    assert problem.format(value) in refusal(mask_of, tmp_path / "x.tif")


def gray_tiff(values: list[int], bits: int, photometric: int = 1) -> bytes:
    numbers = {256: len(values), 257: 1, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 1}
    return tiff(numbers, pack(values, bits))


@pytest.mark.parametrize(("encode", "depth"), [(png, d) for d in (1, 2, 4, 8, 16)] + [(gray_tiff, d) for d in (1, 2, 4)])
def test_gray_masks_of_any_depth(tmp_path, encode, depth):
    path, values = tmp_path / "x", sorted({0, 1, 2 % 2**depth, 2**depth - 1})
    ids = [0, 1, len(values) - 1, 0, len(values) - 2]
    path.write_bytes(encode([values[index] for index in ids], depth))
    assert read_mask(path, LabelValues({value: index for index, value in enumerate(values)}, void=()))[0].tolist() == ids
    if depth == 16:
        assert "more than 8 bits per channel" in refusal(read_image, path)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_refuses_tiff_masks_whose_value_0_is_white(tmp_path, depth):
    (tmp_path / "x.tif").write_bytes(gray_tiff([0, 1], depth, photometric=0))
    assert "whose value 0 is white" in refusal(mask_of, tmp_path / "x.tif")


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
@pytest.mark.parametrize("extension", ["png", "tif"])
def test_equal_channels_are_values(tmp_path, mode, extension):
    path, image = tmp_path / f"x.{extension}", Image.fromarray(MASK).convert(mode)
    if "A" in mode:
        image.putalpha(100)
    image.save(path)
    assert np.array_equal(mask_of(path), MASK)
    if mode != "LA":
        image.putpixel((2, 3), (1, 2, 1, 255)[: len(mode)])
        image.save(path)
        assert "is in color" in refusal(mask_of, path)


@pytest.mark.parametrize("saved_as", ["JPEG", "MPO", "WEBP", "JPEG2000", "PPM", "TGA", "TIFF"])
def test_refuses_masks_in_formats_that_may_change_values(tmp_path, saved_as):
    path = tmp_path / "x.png"
    options = {"TIFF": {"compression": "jpeg"}, "MPO": {"save_all": True, "append_images": [Image.fromarray(255 - MASK)]}}
    Image.fromarray(MASK).save(path, saved_as, **options.get(saved_as, {}))
    for read in mask_of, read_colors:
        assert saved_as in refusal(read, path)
    assert np.abs(read_image(path).astype(int) - gray_rgb(MASK)).max() < 8, "the first image of an MPO"


def save_bmp_of_5_bits(path: Path) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 36, 24, 1, 16, 0, 2 * MASK.size, 0, 0, 0, 0)
    pixels = np.uint16(33 * 32 + 1) * MASK.astype(np.uint16)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 54 + pixels.nbytes, 0, 0, 54) + header + pixels.tobytes())


def save_png_of_16_bits(path: Path, channels: int) -> None:
    """Save values that are equal in their low bytes, and 0 and 1 in their high bytes."""
    path.write_bytes(png([1, 257] * channels, 16, channels))


@pytest.mark.parametrize(
    ("form", "save"),
    [
        ("CMYK with 8 bits", partial(Image.new("CMYK", (4, 5)).save, format="TIFF")),
        ("LAB with 8 bits", partial(Image.new("LAB", (4, 5)).save, format="TIFF")),
        ("RGB with 5 bits", save_bmp_of_5_bits),
        ("with 16 bits", partial(save_png_of_16_bits, channels=2)),
        ("RGB with 16 bits", partial(save_png_of_16_bits, channels=3)),
    ],
)
def test_refuses_masks_without_exact_8_bit_channels(tmp_path, form, save):
    save(tmp_path / "x.png")
    for read in mask_of, read_colors:
        assert f"{form} per channel" in refusal(read, tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").dtype == np.uint8


def test_premultiplied_colors_are_exact_only_if_opaque(tmp_path):
    path, opacity = tmp_path / "x.tif", np.full(MASK.shape, 255, np.uint8)
    for opaque in True, False:
        opacity[2, 3] = 255 if opaque else 100
        tifffile.imwrite(path, np.dstack([MASK, MASK, MASK, opacity]), photometric="rgb", extrasamples=["assocalpha"])
        if opaque:
            assert np.array_equal(mask_of(path), MASK)
        else:
            assert "may not preserve the exact values" in refusal(mask_of, path)


def test_expected_palette(tmp_path):
    path = tmp_path / "x.png"
    palette_image(MASK, PALETTE).save(path)
    assert np.array_equal(read_mask(path, VALUES, PALETTE), MASK)
    palette_image(MASK, PALETTE[::-1]).save(path)
    assert np.array_equal(read_mask(path, VALUES), MASK)
    Image.fromarray(MASK).save(path)
    assert np.array_equal(read_mask(path, VALUES, PALETTE), MASK)
    ids = np.where(MASK == 2, 1, MASK)
    palette_image(ids, (*PALETTE[:2], (5, 5, 5), PALETTE[3])).save(path)
    assert np.array_equal(read_mask(path, VALUES, PALETTE), ids), "color 2 does not occur"


@pytest.mark.parametrize(
    ("palette", "problem"),
    [
        ((*PALETTE[:2], PALETTE[3], PALETTE[2]), "value 2 is (0, 0, 100)"),
        ((PALETTE[0], (100, 0, 1), *PALETTE[2:]), "value 1 is (100, 0, 1)"),
        (PALETTE[:3], "value 3 is "),
    ],
    ids=["other order", "other color", "too short"],
)
def test_unexpected_palette(tmp_path, palette, problem):
    palette_image(MASK, palette).save(tmp_path / "x.png")
    assert problem in refusal(partial(read_mask, values=VALUES, palette=PALETTE), tmp_path / "x.png")

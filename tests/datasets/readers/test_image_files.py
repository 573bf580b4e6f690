"""Image files of every kind that users have: the right pixels, or an error that names the file, the cause and the fix."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from refinenet_pl.datasets.readers import image_files
from refinenet_pl.datasets.readers.io import read_colors, read_image, read_mask, read_pair, read_palette
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.errors import DataError

VALUES = LabelValues.plain(4)
MASK = np.random.default_rng(1).integers(0, 4, (24, 36), np.uint8)
PHOTO = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
TURNED = np.rot90(PHOTO, -1)


def refusal(read, path: Path) -> str:
    with pytest.raises(DataError) as refused:
        read(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{path}: ")


def mask_of(path: Path) -> np.ndarray:
    return read_mask(path, VALUES)


# EXIF

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
TAGS = [
    0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010E, 0x010F, 0x0110, 0x0111, 0x0115, 0x0116, 0x0117, 0x011A, 0x011B, 0x011C,
    0x0128, 0x012D, 0x0131, 0x0132, 0x013B, 0x013E, 0x0201, 0x0202, 0x0211, 0x8298, 0x8769, 0x8825, 0x9C9B, 0xA005, 0xC4A5,
]  # fmt: skip


def exif(*entries: tuple[int, int, int, bytes], end: str = "<") -> bytes:
    """TIFF structure with one directory; each entry is tag, type, count and value."""
    directory = struct.pack(f"{end}H", len(entries))
    behind, extra = 8 + 2 + 12 * len(entries) + 4, b""
    for tag, kind, count, value in sorted(entries):
        if len(value) > 4:
            field, extra = struct.pack(f"{end}L", behind + len(extra)), extra + value
        else:
            field = value.ljust(4, b"\0")
        directory += struct.pack(f"{end}HHL", tag, kind, count) + field
    return (b"II*\0" if end == "<" else b"MM\0*") + struct.pack(f"{end}L", 8) + directory + bytes(4) + extra


def jpeg_with(block: bytes) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PHOTO).save(stream, "JPEG", quality=95)
    content, segment = stream.getvalue(), b"Exif\0\0" + block
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]


def turn(value: int, end: str = "<") -> tuple[int, int, int, bytes]:
    return 0x0112, 3, 1, struct.pack(f"{end}H", value)


def test_odd_tags_beside_a_plain_orientation_do_not_hide_it(tmp_path):
    path, rng = tmp_path / "x.jpg", np.random.default_rng(0)
    path.write_bytes(jpeg_with(exif(turn(6))))
    expected = read_image(path)
    assert expected.shape == (36, 24, 3)
    for tag in TAGS:
        for kind, size in SIZES.items():
            for count in 1, 3:
                end = "<>"[tag % 2]
                path.write_bytes(jpeg_with(exif(turn(6, end), (tag, kind, count, rng.bytes(size * count)), end=end)))
                assert np.array_equal(read_image(path), expected), (hex(tag), kind, count)


def test_damaged_exif_is_no_damaged_image(tmp_path):
    path, block = tmp_path / "x.jpg", exif(turn(6), (0x010F, 2, 9, b"a company"), (0x8825, 4, 1, struct.pack("<L", 9999)))
    shapes = set()
    for length in range(len(block)):
        path.write_bytes(jpeg_with(block[:length]))
        shapes.add(read_image(path).shape)
    rng = np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(block)
        changed[rng.integers(len(block))] = rng.integers(256)
        path.write_bytes(jpeg_with(bytes(changed)))
        shapes.add(read_image(path).shape)
    assert shapes == {(24, 36, 3), (36, 24, 3)}


@pytest.mark.parametrize("entry", [turn(0), turn(9), turn(255), (0x0112, 2, 2, b"6\0")])
def test_an_orientation_that_is_none_changes_nothing(tmp_path, entry):
    (tmp_path / "x.jpg").write_bytes(jpeg_with(exif(entry)))
    assert read_image(tmp_path / "x.jpg").shape == PHOTO.shape


@pytest.mark.parametrize("ending", ["png", "webp", "tif", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_every_format(tmp_path, ending, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    options = {"lossless": True} if ending == "webp" else {"quality": 95, "subsampling": 0} if ending == "jpg" else {}
    Image.fromarray(PHOTO).save(tmp_path / f"x.{ending}", exif=tags, **options)
    forms = [
        PHOTO, PHOTO[:, ::-1], PHOTO[::-1, ::-1], PHOTO[::-1], PHOTO.transpose(1, 0, 2), np.rot90(PHOTO, -1),
        PHOTO[::-1, ::-1].transpose(1, 0, 2), np.rot90(PHOTO),
    ]  # fmt: skip
    upright = forms[orientation - 1]
    read = read_image(tmp_path / f"x.{ending}")
    close = (lambda one, other: np.abs(one.astype(int) - other).mean() < 40) if ending == "jpg" else np.array_equal
    assert close(read, upright)
    if orientation >= 5:  # the size of the mask decides
        for form in PHOTO, upright:
            assert close(read_pair(tmp_path / f"x.{ending}", np.zeros(form.shape[:2]), tmp_path / "m.png"), form)


def test_damaged_pixels_behind_an_intact_header_are_noticed(tmp_path):
    for ending in "png", "jpg", "webp", "tif", "bmp":
        path = tmp_path / f"x.{ending}"
        Image.fromarray(PHOTO).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
        refusal(read_image, path)
        refusal(lambda path: read_pair(path, MASK, path), path)
    Image.fromarray(PHOTO).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[:60] + bytes(20) + content[80:])
    refusal(read_image, tmp_path / "x.png")


# BMP


def bmp(bits: int, table: list[tuple[int, int, int]], indices: np.ndarray, core: bool = False, top_down: bool = False) -> bytes:
    """A BMP with a color table; `core` is the short header of OS/2."""
    height, width = indices.shape
    packed = {
        1: lambda row: np.packbits(row),
        4: lambda row: row[::2] << 4 | np.append(row[1::2], [0] * (width % 2)),
        8: lambda row: row,
    }
    rows = [packed[bits](row).astype(np.uint8).tobytes() for row in indices]
    stride = (width * bits + 31) // 32 * 4
    data = b"".join(row.ljust(stride, b"\0") for row in (rows if top_down else rows[::-1]))
    palette = b"".join(bytes(color[::-1]) + (b"" if core else b"\0") for color in table)
    if core:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack(
            "<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, 0, len(data), 0, 0, len(table), 0
        )
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


GRAY = [(value, value, value) for value in range(16)]
TABLES = {
    "black and white": [(0, 0, 0), (255, 255, 255)],
    "white and black": [(255, 255, 255), (0, 0, 0)],
    "black and red": [(0, 0, 0), (255, 0, 0)],
    "sixteen grays": GRAY,
    "colors": [(9, 8, 7), (100, 0, 0), (0, 100, 0), (0, 0, 100)],
}


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bmp_of_any_depth_and_table(tmp_path, bits, table, top_down):
    colors = TABLES[table]
    if len(colors) > 2**bits:
        pytest.skip("more colors than values")
    indices = (MASK % min(len(colors), 4))[:, :35]
    path = tmp_path / "x.bmp"
    path.write_bytes(bmp(bits, colors, indices, top_down=top_down))
    assert np.array_equal(mask_of(path), indices)
    painted = np.array(colors, np.uint8)[indices]
    assert np.array_equal(read_colors(path), painted) and np.array_equal(read_image(path), painted)


def test_bmp_with_the_short_header(tmp_path):
    path = tmp_path / "x.bmp"
    table = TABLES["colors"] + [(0, 0, 0)] * 252
    path.write_bytes(bmp(8, table, MASK, core=True))
    assert np.array_equal(mask_of(path), MASK)


def test_damaged_bmp_of_a_depth_that_pillow_misreads(tmp_path):
    path, whole = tmp_path / "x.bmp", bmp(8, TABLES["black and white"], MASK % 2)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refusal(mask_of, path)
    path.write_bytes(whole[:30] + struct.pack("<I", 1) + whole[34:])  # compressed by run lengths
    assert "save it as PNG" in refusal(mask_of, path)


# Masks by value


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
def test_tiff_masks_of_every_type_are_read_by_value(tmp_path, dtype, byteorder, compression):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, MASK.astype(dtype), byteorder=byteorder, compression=compression, photometric="minisblack")
    assert np.array_equal(mask_of(path), MASK)
    if dtype != "u1":
        assert "8 bits" in refusal(read_image, path) and "8 bits" in refusal(read_colors, path)


@pytest.mark.parametrize("dtype", ["i8", "f2"])
def test_tiff_masks_of_types_that_pillow_does_not_read(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "x.tif", MASK.astype(dtype), photometric="minisblack")
    said = "is a TIFF that is damaged or of a kind that Pillow does not read; save it as PNG"
    assert refusal(mask_of, tmp_path / "x.tif").startswith(said)


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (1.5, "f4", "holds 1.5 in floating point"),
        (np.nan, "f4", "holds nan in floating point"),
        (np.inf, "f4", "holds inf in floating point"),
        (1e20, "f4", "holds 1e\\+20 in floating point"),
        (2**24 + 1, "f8", "holds 1.67772e\\+07 in floating point"),
        (0.5, "f8", "holds 0.5 in floating point"),
        (-1, "f4", "values -1 in 1 pixels"),
        (-1, "i1", "values -1 in 1 pixels"),
        (-1, "i2", "values -1 in 1 pixels"),
        (-1, "i4", "values -1 in 1 pixels"),
        (2**32 - 1, "u4", "values 4294967295 in 1 pixels"),
        (70000, "i4", "values 70000 in 1 pixels"),
    ],
)
def test_values_without_a_meaning_are_named_as_they_are(tmp_path, value, dtype, said):
    mask = MASK.astype(dtype)
    mask[3, 4] = value
    tifffile.imwrite(tmp_path / "x.tif", mask, byteorder="<", photometric="minisblack")
    with pytest.raises(DataError, match=said):
        mask_of(tmp_path / "x.tif")


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [0, 1])
def test_gray_tiff_of_few_bits(tmp_path, bits, photometric):
    path, values = tmp_path / "x.tif", np.array([[0, 1, 2 % 2**bits, 3 % 2**bits, 1]], np.uint8)
    path.write_bytes(tiff(bits, photometric, values))
    if photometric == 0:
        assert "whose value 0 is white" in refusal(mask_of, path)
    else:
        assert np.array_equal(mask_of(path), values)


def tiff(bits: int, photometric: int, values: np.ndarray) -> bytes:
    """An uncompressed gray TIFF of one row, with several pixels a byte."""
    text = "".join(f"{value:0{bits}b}" for value in values[0])
    data = bytes(int(text[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(text), 8))
    tags = [
        (256, values.shape[1]),
        (257, 1),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 0),
        (277, 1),
        (278, 1),
        (279, len(data)),
    ]
    offset = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, offset if tag == 273 else value) for tag, value in tags)
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4) + data


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_channels_that_are_equal_are_values(tmp_path, mode, ending):
    path, image = tmp_path / f"x.{ending}", Image.fromarray(MASK).convert(mode)
    if "A" in mode:
        image.putalpha(100)
    image.save(path)
    assert np.array_equal(mask_of(path), MASK)
    if mode != "LA":
        image.putpixel((2, 3), (1, 2, 1, 255)[: len(mode)])
        image.save(path)
        assert "is in color" in refusal(mask_of, path) and "masks: colors" in refusal(mask_of, path)


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_masks_in_inexact_colors_are_refused(tmp_path, mode):
    Image.new(mode, (4, 5)).save(tmp_path / "x.tif")
    assert f"is {mode} of 8 bits a channel" in refusal(mask_of, tmp_path / "x.tif")
    assert "no exact colors" in refusal(read_colors, tmp_path / "x.tif")


@pytest.mark.parametrize("saved_as", ["WEBP", "JPEG2000", "PPM", "TGA", "TIFF"])
def test_masks_in_formats_that_may_change_values_are_refused(tmp_path, saved_as):
    path = tmp_path / "x.png"
    Image.fromarray(MASK).save(path, saved_as, **({"compression": "jpeg"} if saved_as == "TIFF" else {}))
    for read in mask_of, read_colors:
        assert f"has the format {saved_as}" in refusal(read, path) and "save masks as PNG" in refusal(read, path)
    assert read_image(path).shape == (24, 36, 3)


def test_colors_that_are_multiplied_by_opacity_are_exact_only_without_transparency(tmp_path):
    path, opacity = tmp_path / "x.tif", np.full(MASK.shape, 255, np.uint8)
    for opaque in True, False:
        opacity[2, 3] = 255 if opaque else 100
        pixels = np.dstack([MASK, MASK, MASK, opacity])
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["assocalpha"])
        if opaque:
            assert np.array_equal(mask_of(path), MASK)
        else:
            assert "need not hold exactly the values" in refusal(mask_of, path)


def test_masks_with_5_bits_a_channel_are_refused(tmp_path):
    gray = np.uint16(33 * 32 + 1) * (MASK[:, :36].astype(np.uint16))
    header = struct.pack("<IiiHHIIiiII", 40, 36, 24, 1, 16, 0, gray.nbytes, 0, 0, 0, 0)
    (tmp_path / "x.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 54 + gray.nbytes, 0, 0, 54) + header + gray.tobytes())
    assert "is RGB of 5 bits a channel" in refusal(mask_of, tmp_path / "x.bmp")
    assert "is RGB of 5 bits a channel" in refusal(read_colors, tmp_path / "x.bmp")
    assert np.array_equal(read_image(tmp_path / "x.bmp")[::-1, :, 0], np.array([0, 8, 16, 24])[MASK])


# TIFFs that Pillow reads wrongly


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another number in the first entry of a tag."""
    start = struct.unpack_from("<L", content, 4)[0]
    for place in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        if struct.unpack_from("<H", content, place)[0] == tag:
            return content[: place + 8] + struct.pack("<L", value) + content[place + 12 :]
    raise KeyError(tag)


DARK = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) % 256
MISREAD = {
    "16 bits a channel with separate channels": (
        PHOTO.transpose(2, 0, 1).astype(np.uint16), {"photometric": "rgb", "planarconfig": "separate"}, (),
    ),
    "a volume": (np.stack([MASK] * 4), {"photometric": "minisblack", "volumetric": True, "tile": (16, 16, 16)}, ()),
    "color table has 8 bits": (MASK, {"photometric": "palette", "colormap": DARK}, ()),
    "not stored (sparse)": (MASK, {"photometric": "minisblack"}, (273, 0)),
    "fewer pixels of color": (PHOTO, {"photometric": "ycbcr"}, (530, 2 << 16 | 2)),
}  # fmt: skip


@pytest.mark.parametrize("said", MISREAD)
@pytest.mark.parametrize("read", [read_image, mask_of, read_colors])
def test_tiffs_that_pillow_reads_wrongly_are_refused(tmp_path, read, said):
    path, (pixels, options, patch) = tmp_path / "x.tif", MISREAD[said]
    tifffile.imwrite(path, pixels, byteorder="<", **options)
    if patch:
        path.write_bytes(with_tag(path.read_bytes(), *patch))
    assert said in refusal(read, path) and "which Pillow reads wrongly; save it as PNG" in refusal(read, path)


def test_a_preview_is_not_taken_for_the_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(PHOTO[::4, ::4].copy(), photometric="rgb", subfiletype=1, subifds=1)
        file.write(PHOTO, photometric="rgb")
    assert "begins with a preview, as the raw files of cameras do" in refusal(read_image, tmp_path / "x.tif")


def test_odd_tags_of_a_tiff_do_not_hide_its_orientation_or_its_pixels(tmp_path):
    path, rng = tmp_path / "x.tif", np.random.default_rng(0)
    pixels, (height, width, _) = PHOTO.tobytes(), PHOTO.shape
    numbers = [(256, width), (257, height), (259, 1), (262, 2), (274, 6), (277, 3), (278, height), (279, len(pixels))]
    needed = [(tag, 4, 1, struct.pack("<L", value)) for tag, value in numbers] + [(258, 3, 3, struct.pack("<HHH", 8, 8, 8))]
    for tag in 0x010E, 0x010F, 0x011A, 0x0128, 0x0132, 0x013E, 0x02BC, 0x83BB, 0x8769, 0x8773, 0x8825, 0x9C9B, 0xA005:
        for kind, size in SIZES.items():
            for count in 1, 3, 9:
                odd = tag, kind, count, rng.bytes(size * count)
                start = len(exif(*needed, odd, (273, 4, 1, bytes(4))))
                path.write_bytes(exif(*needed, odd, (273, 4, 1, struct.pack("<L", start))) + pixels)
                assert np.array_equal(read_image(path), TURNED), (hex(tag), kind, count)


def png16(channels: int) -> bytes:
    """A PNG of 16 bits a channel whose values are 1 and 257: equal in their low bytes, or 0 and 1 in their high ones."""
    rows = b"".join(b"\0" + struct.pack(">HH", 1, 257) * channels for _ in range(2))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 2 * channels // channels, 2, 16, {1: 0, 2: 4, 3: 2}[channels], 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("channels", [2, 3])
def test_channels_of_16_bits_are_not_cut_to_8_in_masks(tmp_path, channels):
    (tmp_path / "x.png").write_bytes(png16(channels))
    assert "of 16 bits a channel" in refusal(mask_of, tmp_path / "x.png")
    assert "of 16 bits a channel" in refusal(read_colors, tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").shape == (2, 2, 3)


def test_palette_of_a_mask(tmp_path):
    image = Image.fromarray(MASK % 2, "P")
    image.putpalette([9, 8, 7, 1, 2, 3])
    image.save(tmp_path / "x.png")
    values, colors = read_palette(tmp_path / "x.png")
    assert values == [0, 1] and colors[:2] == [(9, 8, 7), (1, 2, 3)]
    Image.fromarray(MASK).save(tmp_path / "x.png")
    assert read_palette(tmp_path / "x.png") is None


# Several images in one file


@pytest.mark.parametrize(
    ("ending", "what"), [("tif", "2 pages"), ("gif", "2 frames"), ("png", "2 frames"), ("webp", "2 frames")]
)
@pytest.mark.parametrize("read", [read_image, mask_of])
def test_several_pages_or_frames_are_refused(tmp_path, ending, what, read):
    frames = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
    frames[0].save(tmp_path / f"x.{ending}", save_all=True, append_images=frames[1:])
    assert f"holds {what}, of which only one could be used" in refusal(read, tmp_path / f"x.{ending}")


def test_previews_of_a_tiff_are_no_pages_and_the_photo_of_a_phone_is_the_first(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(PHOTO, photometric="rgb")
        file.write(PHOTO[::2, ::2].copy(), photometric="rgb", subfiletype=1)
        file.write(MASK > 1, photometric="mask", subfiletype=4)  # as GDAL tells which pixels count
    assert np.array_equal(read_image(tmp_path / "x.tif"), PHOTO)
    Image.new("RGB", (8, 6), (200, 0, 0)).save(
        tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (8, 6), (0, 0, 200))]
    )
    assert read_image(tmp_path / "x.jpg")[0, 0, 0] > 150


# What is no image

OTHERS = {
    "version https://git-lfs.github.com/spec/v1\noid sha256:1\n": "is a Git LFS pointer, not the file; run `git lfs pull`",
    "%PDF-1.7": "is a PDF document",
    "PK\x03\x04": "is a ZIP archive; unpack it",
    "\x1f\x8b\x08": "is a gzip archive; unpack it",
    "%!PS-Adobe": "is a PostScript drawing",
    "\0\5\x16\7\0\2\0\0Mac OS X": "is a companion file of macOS (AppleDouble), not the image; remove it",
    "MATLAB 5.0 MAT-file": "is a MATLAB file",
    "\x89HDF\r\n\x1a\n" + "\0" * 50: "is an HDF5 file",
    "\0\0\0\x0cJXL \r\n\x87\n": "is an image in the format JPEG XL; convert it to JPEG or PNG",
    "\x76\x2f\x31\x01\2\0\0\0": "is an image in the format OpenEXR",
    "II*\0\x10\0\0\0CR\2\0": "is a camera's raw file; convert it",
    "\0\0\0\x18ftypcrx \0\0\0\1": "is a camera's raw file; convert it",
    "MM\0+\0\x08\0\0": "is a TIFF that is damaged or of a kind that Pillow does not read; save it as PNG",
    "\0\0\0\x1cftypavis\0\0\0\0": "is an image in the format AVIF; convert it to JPEG or PNG",
    "\0\0\0\x08wide\0\0\x10\0mdat\1\2\3": "is a video",
    '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>': "is an XML file, not an image",
    "Stra\xc3\x9fe und Gr\xc3\xbc\xc3\x9fe": "is a text file, not an image",
    "\xff\xfeh\0e\0l\0l\0o\0": "is a text file, not an image",
    "\0" * 700: "begins with zeros only; the file is truncated or damaged",
    "\x80\4\x95\0\1\2\3\4\5": "is in no format that is known here (its first bytes are 80 04 95 00 01 02 03 04)",
    "\x00\x00\x00\x20ftypheic\0\0\0\0mif1heic": "is an image in the format HEIC; convert it to JPEG or PNG",
    "\x00\x00\x00\x20ftypisom\0\0\2\0isomiso2avc1mp41": "is a video; extract its frames",
    "RIFF\0\0\0\0AVI LIST": "is a video",
    "\n<!DOCTYPE html><html>Log in</html>": "is a web page",
    '<?xml version="1.0"?><svg/>': "is an SVG drawing",
    "just some words\nin two lines\n": "is a text file, not an image",
    "": "is empty; the file is truncated or damaged",
    "\x89PNG\r\n\x1a\n\0\0": "cannot be read as an image; the file is truncated",
    "\xff\xd8\xff\xe0": "cannot be read as an image; the file is truncated",
}


@pytest.mark.parametrize("content", OTHERS, ids=lambda content: repr(content[:12]))
@pytest.mark.parametrize("read", [read_image, mask_of, read_colors, read_palette])
def test_a_file_of_another_kind_is_named_as_what_it_is(tmp_path, read, content):
    path = tmp_path / "x.png"
    path.write_bytes(content.encode("latin-1"))
    assert OTHERS[content] in refusal(read, path)


def test_a_folder_and_a_missing_file(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    assert refusal(read_image, tmp_path / "x.jpg").startswith("is a folder, not an image")
    assert refusal(read_image, tmp_path / "y.jpg") == "no such file"
    (tmp_path / "file").touch()
    assert refusal(read_image, tmp_path / "file/y.jpg") == "no such file"


def test_what_cannot_be_opened_is_not_called_damaged(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "is a pipe or a device, not an image" in refusal(read_image, tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert "(Too many levels of symbolic links); correct its path" in refusal(read_image, tmp_path / "loop.png")
    assert "(File name too long); correct its path" in refusal(read_image, tmp_path / f"{'x' * 300}.png")
    if os.geteuid() != 0:
        (tmp_path / "x.png").touch(mode=0)
        assert refusal(read_image, tmp_path / "x.png") == "may not be read; give permission to read it"


def test_forms_that_pillow_does_not_read_are_not_called_damaged(tmp_path):
    path, whole = tmp_path / "x.bmp", bmp(8, TABLES["colors"], MASK)
    for place, value in (28, 2), (30, 4), (14, 16):  # bits, compression and header that Pillow lacks
        path.write_bytes(whole[:place] + struct.pack("<H", value) + whole[place + 2 :])
        said = refusal(read_image, path)
        assert said.startswith("is of a form that cannot be read (Unsupported BMP") and said.endswith("; save it as PNG")
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, PHOTO[..., :2].copy(), photometric="minisblack", extrasamples=["assocalpha"], planarconfig="contig")
    assert "save it as PNG" in refusal(read_image, path) and "copy" not in refusal(read_image, path).lower()


def test_an_image_with_a_large_block_of_text_is_not_called_damaged(tmp_path):
    path, text = tmp_path / "x.png", b"note\0\0" + zlib.compress(bytes(2**21))
    Image.fromarray(PHOTO).save(path)
    content = path.read_bytes()
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    path.write_bytes(content[:33] + chunk + content[33:])
    assert refusal(read_image, path).startswith("has a larger block of text than Pillow reads")


# Size


def test_an_image_above_the_limit_is_read_where_it_is_asked_for(tmp_path, monkeypatch):
    Image.fromarray(PHOTO).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    said = refusal(read_image, tmp_path / "x.png")
    assert "(864 pixels) exceeds limit of 600 pixels" in said and "--tile" in said and "copy" not in said.lower()
    assert np.array_equal(read_image(tmp_path / "x.png", any_size=True), PHOTO)
    assert Image.MAX_IMAGE_PIXELS == 300
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's, about an attack
        assert np.array_equal(read_image(tmp_path / "x.png"), PHOTO)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "1"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_an_image_converted_in_chunks_is_the_same(tmp_path, monkeypatch, mode, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(PHOTO).convert(mode).save(tmp_path / "x.tif", exif=tags)
    whole = read_image(tmp_path / "x.tif")
    for pixels in 1, 100, 24 * 36 - 1:
        monkeypatch.setattr(image_files, "_CHUNK", pixels)
        assert np.array_equal(read_image(tmp_path / "x.tif"), whole)


@pytest.mark.parametrize("size", [(1, 1), (1, 30000), (30000, 1)])
@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm"])
def test_odd_sizes(tmp_path, size, ending):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"x.{ending}")
    assert np.array_equal(read_image(tmp_path / f"x.{ending}"), pixels)

"""Opening of image files: the correct pixels, or an error that names the file, the cause and the fix."""

import os
import struct
import warnings
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers.image_files import MASK, PHOTO, bmp, directory, mask_of, orientation, pair_of, png_chunk, refusal, tiff
from PIL import Image

from refinenet_pl.datasets.readers import image_files
from refinenet_pl.datasets.readers.io import read_colors, read_image, read_pair, read_palette

READERS = [read_image, mask_of, read_colors, read_palette, pair_of]
TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # size of each TIFF type in bytes

JPEG_TAGS = [
    0x0100, 0x0101, 0x0102, 0x0103, 0x0106, 0x010E, 0x010F, 0x0110, 0x0111, 0x0115, 0x0116, 0x0117, 0x011A, 0x011B, 0x011C,
    0x0128, 0x012D, 0x0131, 0x0132, 0x013B, 0x013E, 0x0201, 0x0202, 0x0211, 0x8298, 0x8769, 0x8825, 0x9C9B, 0xA005, 0xC4A5,
]  # fmt: skip
TIFF_TAGS = [0x010E, 0x010F, 0x011A, 0x0128, 0x0132, 0x013E, 0x02BC, 0x83BB, 0x8769, 0x8773, 0x8825, 0x9C9B, 0xA005]


def save_jpeg(path: Path, exif: bytes) -> None:
    Image.fromarray(PHOTO).save(path, quality=95, exif=b"Exif\0\0" + exif)


def turn(value: int, end: str = "<") -> tuple[int, int, int, bytes]:
    return 0x0112, 3, 1, struct.pack(f"{end}H", value)


def test_odd_exif_tags_do_not_hide_the_orientation(tmp_path):
    path, rng = tmp_path / "x.jpg", np.random.default_rng(0)
    save_jpeg(path, directory(turn(6)))
    expected = read_image(path)
    assert expected.shape == (36, 24, 3)
    for tag, kind, count in product(JPEG_TAGS, TYPES, (1, 3)):
        end = "<>"[tag % 2]
        save_jpeg(path, directory(turn(6, end), (tag, kind, count, rng.bytes(TYPES[kind] * count)), end=end))
        assert np.array_equal(read_image(path), expected), (hex(tag), kind, count)


def test_odd_tiff_tags_hide_neither_orientation_nor_pixels(tmp_path):
    path, rng = tmp_path / "x.tif", np.random.default_rng(0)
    numbers = {256: 36, 257: 24, 259: 1, 262: 2, 274: 6, 277: 3, 278: 24}
    for tag, kind, count in product(TIFF_TAGS, TYPES, (1, 3, 9)):
        odd = tag, kind, count, rng.bytes(TYPES[kind] * count)
        path.write_bytes(tiff(numbers, PHOTO.tobytes(), (258, 3, 3, struct.pack("<HHH", 8, 8, 8)), odd))
        assert np.array_equal(read_image(path), np.rot90(PHOTO, -1)), (hex(tag), kind, count)


def test_damaged_exif_does_not_damage_the_image(tmp_path):
    path, rng = tmp_path / "x.jpg", np.random.default_rng(0)
    block = directory(turn(6), (0x010F, 2, 9, b"a company"), (0x8825, 4, 1, struct.pack("<L", 9999)))
    damaged = [block[:length] for length in range(len(block))]
    for _ in range(200):
        changed = bytearray(block)
        changed[rng.integers(len(block))] = rng.integers(256)
        damaged.append(bytes(changed))
    shapes = set()
    for content in damaged:
        save_jpeg(path, content)
        shapes.add(read_image(path).shape)
    assert shapes == {(24, 36, 3), (36, 24, 3)}
    for invalid in turn(0), turn(9), turn(255), (0x0112, 2, 2, b"6\0"):
        save_jpeg(path, directory(invalid))
        assert read_image(path).shape == PHOTO.shape


@pytest.mark.parametrize("extension", ["png", "webp", "tif", "jpg"])
@pytest.mark.parametrize(
    ("value", "upright"),
    enumerate(
        [PHOTO, PHOTO[:, ::-1], PHOTO[::-1, ::-1], PHOTO[::-1], PHOTO.transpose(1, 0, 2), np.rot90(PHOTO, -1),
         PHOTO[::-1, ::-1].transpose(1, 0, 2), np.rot90(PHOTO)], start=1,
    ),
)  # fmt: skip
def test_orientation(tmp_path, extension, value, upright):
    path = tmp_path / f"x.{extension}"
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95, "subsampling": 0}}.get(extension, {})
    Image.fromarray(PHOTO).save(path, exif=orientation(value), **options)
    tolerance = 40 if extension == "jpg" else 0
    assert np.abs(read_image(path).astype(int) - upright).mean() <= tolerance
    if value == 1 or value >= 5:  # the size of the mask decides
        for form, strict in product((PHOTO, upright), (True, False)):
            pixels = read_pair(path, np.zeros(form.shape[:2]), tmp_path / "m.png", strict)
            assert np.abs(pixels.astype(int) - form).mean() <= tolerance


TABLES = {
    "black and white": [(0, 0, 0), (255, 255, 255)],
    "white and black": [(255, 255, 255), (0, 0, 0)],
    "black and red": [(0, 0, 0), (255, 0, 0)],
    "sixteen grays": [(value, value, value) for value in range(16)],
    "colors": [(9, 8, 7), (100, 0, 0), (0, 100, 0), (0, 0, 100)],
}


@pytest.mark.parametrize("options", [{}, {"top_down": True}, {"core": True}], ids=["plain", "top down", "OS/2"])
@pytest.mark.parametrize(
    ("bits", "table"), [(bits, key) for bits in (1, 4, 8) for key in TABLES if len(TABLES[key]) <= 2**bits]
)
def test_bmp_of_any_depth_and_color_table(tmp_path, bits, table, options):
    path, colors = tmp_path / "x.bmp", TABLES[table]
    indices = (MASK % min(len(colors), 4))[:, :35]
    path.write_bytes(bmp(bits, colors, indices, **options))
    assert np.array_equal(mask_of(path), indices)
    expected = np.array(colors, np.uint8)[indices]
    assert np.array_equal(read_colors(path), expected) and np.array_equal(read_image(path), expected)


def test_damaged_bmp_of_a_depth_that_pillow_misreads(tmp_path):
    path, whole = tmp_path / "x.bmp", bmp(8, TABLES["black and white"], MASK % 2)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refusal(mask_of, path)
    path.write_bytes(whole[:30] + struct.pack("<I", 1) + whole[34:])  # run-length encoded
    assert "save it as PNG" in refusal(mask_of, path)


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """Replace the number in the first entry of a tag of a little-endian TIFF."""
    place = content.index(struct.pack("<H", tag), struct.unpack_from("<L", content, 4)[0])
    return content[: place + 8] + struct.pack("<L", value) + content[place + 12 :]


COLOR_MAP_OF_8_BITS = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) % 256
MISREAD = {
    "separate channels of 16 bits": (
        PHOTO.transpose(2, 0, 1).astype(np.uint16), {"photometric": "rgb", "planarconfig": "separate"}, (),
    ),
    "TIFF volume": (np.stack([MASK] * 4), {"photometric": "minisblack", "volumetric": True, "tile": (16, 16, 16)}, ()),
    "color table has 8 bits": (MASK, {"photometric": "palette", "colormap": COLOR_MAP_OF_8_BITS}, ()),
    "missing parts (sparse)": (MASK, {"photometric": "minisblack"}, (273, 0)),
    "chroma subsampling": (PHOTO, {"photometric": "ycbcr"}, (530, 2 << 16 | 2)),
}  # fmt: skip


@pytest.mark.parametrize("problem", MISREAD)
@pytest.mark.parametrize("read", [read_image, mask_of, read_colors])
def test_refuses_tiffs_that_pillow_decodes_incorrectly(tmp_path, read, problem):
    path, (pixels, options, patch) = tmp_path / "x.tif", MISREAD[problem]
    tifffile.imwrite(path, pixels, byteorder="<", **options)
    if patch:
        path.write_bytes(with_tag(path.read_bytes(), *patch))
    assert problem in refusal(read, path)


@pytest.mark.parametrize(
    ("extension", "number"), [("tif", "2 pages"), ("gif", "2 frames"), ("png", "2 frames"), ("webp", "2 frames")]
)
@pytest.mark.parametrize("read", [read_image, mask_of])
def test_refuses_several_pages_or_frames(tmp_path, extension, number, read):
    frames = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
    frames[0].save(tmp_path / f"x.{extension}", save_all=True, append_images=frames[1:])
    assert f"has {number}" in refusal(read, tmp_path / f"x.{extension}")


def test_previews_and_transparency_masks_of_a_tiff(tmp_path):
    path, preview = tmp_path / "x.tif", PHOTO[::2, ::2].copy()
    with tifffile.TiffWriter(path) as file:
        file.write(PHOTO, photometric="rgb")
        file.write(preview, photometric="rgb", subfiletype=1)
        file.write(MASK > 1, photometric="mask", subfiletype=4)  # as written by GDAL
    assert np.array_equal(read_image(path), PHOTO)
    with tifffile.TiffWriter(path) as file:
        file.write(preview, photometric="rgb", subfiletype=1, subifds=1)
        file.write(PHOTO, photometric="rgb")
    assert "begins with a preview" in refusal(read_image, path)


OTHERS = {
    b"version https://git-lfs.github.com/spec/v1\noid": "Git LFS pointer", b"\0\5\x16\7\0\2\0\0Mac OS X": "macOS metadata file",
    b"MM\0+\0\x08\0\0": "TIFF that is damaged or in a variant that Pillow does not support",
    b"PK\3\4": "ZIP archive", b"\x1f\x8b\x08": "gzip archive", b"%PDF-1.7": "PDF document", b"%!PS-Adobe": "PostScript drawing",
    b"MATLAB 5.0 MAT-file": "MATLAB file", b"\x89HDF\r\n\x1a\n" + bytes(50): "HDF5 file",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL image", b"\x76\x2f\x31\1\2\0\0\0": "OpenEXR image",
    b"\0\0\0\x1cftypavis\0\0\0\0": "AVIF image", b"\0\0\0\x20ftypheic\0\0\0\0mif1heic": "HEIC image",
    b"II*\0\x10\0\0\0CR\2\0": "camera raw file", b"\0\0\0\x18ftypcrx \0\0\0\1": "camera raw file",
    b"\0\0\0\x08wide\0\0\x10\0mdat\1\2\3": "video", b"\0\0\0\x20ftypisom\0": "video", b"RIFF\0\0\0\0AVI LIST": "video",
    b'<?xml version="1.0"?><Error/>': "XML file", b'<?xml version="1.0"?><svg/>': "SVG drawing",
    b"\n<!DOCTYPE html><html>Log in</html>": "web page", b"just some words\nin two lines\n": "text file",
    "Straße und Grüße".encode(): "text file", "hello".encode("utf-16"): "text file",
    b"": "empty", bytes(700): "zero bytes only", b"\x80\4\x95\0\1\2\3\4\5": "first bytes: 80 04 95 00 01 02 03 04",
    b"\x89PNG\r\n\x1a\n\0\0": "cannot be read as an image", b"\xff\xd8\xff\xe0": "cannot be read as an image",
}  # fmt: skip


@pytest.mark.parametrize("content", OTHERS)
@pytest.mark.parametrize("read", READERS)
def test_identifies_files_of_another_format(tmp_path, read, content):
    (tmp_path / "x.png").write_bytes(content)
    assert OTHERS[content] in refusal(read, tmp_path / "x.png")


def test_folders_and_missing_files(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "file").touch()
    for read in READERS:
        assert "is a folder" in refusal(read, tmp_path / "x.jpg")
        assert refusal(read, tmp_path / "y.jpg") == refusal(read, tmp_path / "file/y.jpg") == "no such file"


def test_files_that_cannot_be_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "is a pipe or a device" in refusal(read_image, tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert "Too many levels of symbolic links" in refusal(read_image, tmp_path / "loop.png")
    assert "File name too long" in refusal(read_image, tmp_path / f"{'x' * 300}.png")
    if os.geteuid() != 0:
        (tmp_path / "x.png").touch(mode=0)
        assert "permission denied" in refusal(read_image, tmp_path / "x.png")


def test_variants_that_pillow_does_not_support(tmp_path):
    path, whole = tmp_path / "x.bmp", bmp(8, TABLES["colors"], MASK)
    for place, value in (28, 2), (30, 4), (14, 16):  # bits, compression and header size
        path.write_bytes(whole[:place] + struct.pack("<H", value) + whole[place + 2 :])
        assert "not supported (Unsupported BMP" in refusal(read_image, path)
    path, gray_alpha = tmp_path / "x.tif", {"extrasamples": ["assocalpha"], "planarconfig": "contig"}
    for pixels, options in (PHOTO[..., :2].copy(), gray_alpha), (MASK.astype("i8"), {}), (MASK.astype("f2"), {}):
        tifffile.imwrite(path, pixels, photometric="minisblack", **options)
        assert "save it as PNG" in refusal(read_image, path)


def test_large_text_block(tmp_path):
    path, text = tmp_path / "x.png", b"note\0\0" + zlib.compress(bytes(2**21))
    Image.fromarray(PHOTO).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:33] + png_chunk(b"zTXt", text) + content[33:])
    assert "text block" in refusal(read_image, path)


def test_limit_of_pixels(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    Image.fromarray(PHOTO).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    assert "(864 pixels) exceeds limit of 600 pixels" in refusal(read_image, path)
    assert np.array_equal(read_image(path, any_size=True), PHOTO)
    assert Image.MAX_IMAGE_PIXELS == 300
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # without Pillow's warning about a decompression bomb
        assert np.array_equal(read_image(path), PHOTO)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "1"])
@pytest.mark.parametrize("value", [1, 6])
def test_conversion_in_chunks_is_exact(tmp_path, monkeypatch, mode, value):
    Image.fromarray(PHOTO).convert(mode).save(tmp_path / "x.tif", exif=orientation(value))
    whole = read_image(tmp_path / "x.tif")
    for pixels in 1, 100, 24 * 36 - 1:
        monkeypatch.setattr(image_files, "_CHUNK", pixels)
        assert np.array_equal(read_image(tmp_path / "x.tif"), whole)


@pytest.mark.parametrize("size", [(20, 30), (1, 1), (1, 30000), (30000, 1)])
@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "ppm"])
def test_reads_any_size_exactly(tmp_path, size, extension):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"x.{extension}")
    read = read_image(tmp_path / f"x.{extension}")
    assert read.dtype == np.uint8 and read.flags.writeable and np.array_equal(read, pixels)

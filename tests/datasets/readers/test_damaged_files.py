"""Damaged files: each is read, or refused with a DataError that names the file."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from helpers.files import count_refusals
from helpers.image_files import HEIGHT, MASK, PHOTO, VALUES, WIDTH, orientation, pair_of, palette_image, refusal
from helpers.matlab import matlab73, references
from PIL import Image

from refinenet_pl.datasets.readers.io import read_colors, read_image, read_mask
from refinenet_pl.datasets.readers.matlab import open_hdf5, read_mat
from refinenet_pl.errors import DataError

CASES = 60
PALETTE = ((9, 8, 7), (100, 0, 0), (0, 100, 0), (0, 0, 100))
photo = Image.fromarray(PHOTO)
IMAGES = dict.fromkeys(["x.png", "x.jpg", "x.bmp", "x.tif", "lzw.tif", "x.webp", "x.ppm"], photo) | {
    "gray.png": photo.convert("L"),
    "cmyk.jpg": photo.convert("CMYK"),
    "rotated.jpg": Image.fromarray(np.rot90(PHOTO).copy()),
    "two.bmp": palette_image(MASK % 2, [(0, 0, 0), (255, 255, 255)]),
    "x.gif": photo.convert("P"),
}
MASKS = dict.fromkeys(["x.png", "x.tif", "x.bmp"], Image.fromarray(MASK)) | {
    "palette.png": palette_image(MASK, PALETTE),
    "16.png": Image.fromarray(MASK.astype(np.uint16)),
    "float.tif": Image.fromarray(MASK.astype(np.float32)),
}
OPTIONS = {"lzw.tif": {"compression": "tiff_lzw"}, "rotated.jpg": {"exif": orientation(6)}}
READERS = {
    "image": read_image,
    "pair": pair_of,
    "colors": read_colors,
    "mask": partial(read_mask, values=VALUES, palette=PALETTE),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "image", "kind"),
    [(*item, kind) for item in IMAGES.items() for kind in ("image", "pair")]
    + [(*item, kind) for item in MASKS.items() for kind in ("mask", "colors")],
)
def test_damaged_images_and_masks(tmp_path, name, image, kind):
    def read(path: Path) -> None:
        pixels = READERS[kind](path)
        assert pixels.dtype == np.uint8 and pixels.shape[2:] == (() if kind == "mask" else (3,))
        assert kind != "pair" or pixels.shape == PHOTO.shape
        assert kind != "mask" or set(np.unique(pixels).tolist()) <= {0, 1, 2, 3, 255}

    path = tmp_path / name
    image.save(path, **OPTIONS.get(name, {}))
    if name in ("16.png", "float.tif") and kind == "colors":
        refusal(read, path)
    else:
        read(path)
    assert count_refusals(read, path, DataError, CASES) >= CASES // 10


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "bmp"])
@pytest.mark.parametrize("read", [read_image, pair_of])
def test_refuses_damaged_pixels_after_an_intact_header(tmp_path, extension, read):
    path = tmp_path / f"x.{extension}"
    photo.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    refusal(read, path)


def save_mat(path: Path, compressed: bool = True) -> None:
    """Save a struct with an array and a struct array, like SBD."""
    parts = np.array([(MASK, "head"), (MASK, "torso")], dtype=[("mask", object), ("part_name", object)])
    scipy.io.savemat(path, {"GTcls": {"Segmentation": MASK, "parts": parts}}, do_compression=compressed)


def save_hdf5(path: Path) -> None:
    """Save reversed axes, and cells as references."""
    with matlab73(path) as file:
        labels = np.repeat(MASK.T[None].astype(np.uint16), 3, axis=0)
        file.create_dataset("labels", data=labels, chunks=(1, WIDTH, HEIGHT), compression="gzip")
        references(file, "names", [MASK.T, MASK.T])


def read_struct(path: Path) -> None:
    assert read_mat(path, "GTcls")["GTcls"] is not None


def read_arrays(path: Path) -> None:
    with open_hdf5(path) as file:
        labels, cell = file["labels"][1].T, file[file["names"][1, 0]][()].T
    assert labels.shape == cell.shape == MASK.shape


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("save", "read"), [(save_mat, read_struct), (save_hdf5, read_arrays)])
def test_damaged_matlab_files(tmp_path, save, read):
    path = tmp_path / "x.mat"
    save(path)
    read(path)
    assert count_refusals(read, path, DataError, CASES) > CASES / 2


def test_truncated_matlab_file_without_compression(tmp_path):
    """Its other damages cannot be tested: without checksums, some of them let scipy 1.17 crash or allocate gigabytes."""
    path = tmp_path / "x.mat"
    save_mat(path, compressed=False)
    whole = path.read_bytes()
    for length in range(0, len(whole), 20):
        path.write_bytes(whole[:length])
        refusal(read_struct, path)


def test_matlab_files_of_another_version(tmp_path):
    path = tmp_path / "x.mat"
    save_hdf5(path)
    assert "MATLAB 7.3 file, but an older version is expected" in refusal(read_struct, path)
    read_arrays(path)
    save_mat(path)
    assert "cannot be read as a MATLAB 7.3 file" in refusal(read_arrays, path)

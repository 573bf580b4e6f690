"""Damaged files: each is read, or refused with a DataError that names the file."""

import multiprocessing
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from helpers.image_files import HEIGHT, MASK, PHOTO, VALUES, WIDTH, orientation, pair_of, palette_image, refusal
from PIL import Image

from refinenet_pl.datasets.readers.io import read_colors, read_image, read_mask
from refinenet_pl.datasets.readers.matlab import open_hdf5, read_mat
from refinenet_pl.errors import DataError

CASES = 60
PALETTE = ((9, 8, 7), (100, 0, 0), (0, 100, 0), (0, 0, 100))


def damaged(content: bytes, seed: int) -> Iterator[bytes]:
    """Copies of a file that are truncated, or have flipped bits, a block of zeros or a wrong byte in the header."""
    for case in range(CASES):
        rng = np.random.default_rng([seed, case])
        copy = bytearray(content)
        kind = case % 4
        if kind == 0:
            del copy[rng.integers(len(copy)) :]
        elif kind == 1:
            for place in rng.integers(0, len(copy), rng.integers(1, 20)):
                copy[place] ^= 1 << rng.integers(8)
        elif kind == 2:
            start = rng.integers(len(copy))
            copy[start : start + 100] = bytes(len(copy[start : start + 100]))
        else:
            copy[rng.integers(min(len(copy), 600))] = rng.integers(256)
        yield bytes(copy)


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """`read`, `refused`, or a description of an unexpected error."""
    try:
        read(path)
    except DataError as error:
        return "refused" if str(path) in str(error) else f"does not name the file: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


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
    whole = path.read_bytes()
    assert outcome(read, path) == ("refused" if name in ("16.png", "float.tif") and kind == "colors" else "read")
    outcomes = []
    for content in damaged(whole, seed=0):
        path.write_bytes(content)
        outcomes.append(outcome(read, path))
    assert set(outcomes) <= {"read", "refused"} and outcomes.count("refused") >= CASES // 10


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "bmp"])
@pytest.mark.parametrize("read", [read_image, pair_of])
def test_refuses_damaged_pixels_after_an_intact_header(tmp_path, extension, read):
    path = tmp_path / f"x.{extension}"
    photo.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    refusal(read, path)
    if extension == "png":
        path.write_bytes(content[:60] + bytes(20) + content[80:])
        refusal(read, path)


def save_mat(path: Path, compressed: bool) -> None:
    """Save a struct with an array and a struct array, like SBD."""
    parts = np.array([(MASK, "head"), (MASK, "torso")], dtype=[("mask", object), ("part_name", object)])
    scipy.io.savemat(path, {"GTcls": {"Segmentation": MASK, "parts": parts}}, do_compression=compressed)


def save_hdf5(path: Path) -> None:
    """Save like MATLAB 7.3: a user block of 512 bytes, reversed axes, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        labels = np.repeat(MASK.T[None].astype(np.uint16), 3, axis=0)
        file.create_dataset("labels", data=labels, chunks=(1, WIDTH, HEIGHT), compression="gzip")
        cell = file.create_dataset("names", (1, 2), dtype=h5py.ref_dtype)
        for index in range(2):
            cell[0, index] = file.create_dataset(f"#refs#/{index}", data=MASK.T).ref


def read_struct(path: Path) -> None:
    assert read_mat(path, "GTcls")["GTcls"] is not None


def read_arrays(path: Path) -> None:
    with open_hdf5(path) as file:
        labels, cell = file["labels"][1].T, file[file["names"][0, 1]][()].T
    assert labels.shape == cell.shape == MASK.shape


def outcome_in_process(read: Callable[[Path], None], path: Path) -> str:
    """Outcome of reading a file in a process; `crashed` if that kills the process."""
    context = multiprocessing.get_context("fork")
    end, other_end = context.Pipe(duplex=False)
    process = context.Process(target=lambda: other_end.send(outcome(read, path)))
    process.start()
    other_end.close()
    process.join(30)
    process.kill()
    if process.exitcode is None:
        return "hangs"
    return end.recv() if process.exitcode == 0 else "crashed"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("save", "read", "seed", "refused", "crashes"),
    [
        (partial(save_mat, compressed=True), read_struct, 1, 1 / 2, set()),
        # Without a checksum, scipy 1.17 crashes for about one damaged file in a hundred.
        (partial(save_mat, compressed=False), read_struct, 2, 1 / 5, {"crashed"}),
        (save_hdf5, read_arrays, 3, 1 / 4, set()),
    ],
    ids=["compressed", "uncompressed", "hdf5"],
)
def test_damaged_matlab_files(tmp_path, save, read, seed, refused, crashes):
    path = tmp_path / "x.mat"
    save(path)
    assert outcome(read, path) == "read"
    outcomes = []
    for content in damaged(path.read_bytes(), seed):
        path.write_bytes(content)
        outcomes.append(outcome_in_process(read, path))
    assert set(outcomes) <= {"read", "refused"} | crashes and outcomes.count("refused") > CASES * refused


def test_reads_matlab_arrays_exactly(tmp_path):
    path = tmp_path / "x.mat"
    for compressed in True, False:
        save_mat(path, compressed)
        content = read_mat(path, "GTcls")["GTcls"]
        assert np.array_equal(content.Segmentation, MASK)
        assert [part.part_name for part in content.parts] == ["head", "torso"]
    save_hdf5(path)
    with open_hdf5(path) as file:
        assert np.array_equal(file["labels"][2].T, MASK) and np.array_equal(file[file["names"][0, 0]][()].T, MASK)


@pytest.mark.parametrize("read", [read_struct, read_arrays])
def test_missing_and_other_matlab_files(tmp_path, read):
    path = tmp_path / "x.mat"
    assert "no such file" in refusal(read, path)
    for content in b"", b"text", b"<html></html>" * 100:
        path.write_bytes(content)
        assert "cannot be read as a" in refusal(read, path)


def test_matlab_files_of_another_version(tmp_path):
    path = tmp_path / "x.mat"
    save_hdf5(path)
    header = b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM"  # as MATLAB fills the user block
    path.write_bytes(header + path.read_bytes()[len(header) :])
    assert "MATLAB 7.3 file, but an older version is expected" in refusal(read_struct, path)
    read_arrays(path)
    save_mat(path, compressed=True)
    assert "cannot be read as a MATLAB 7.3 file" in refusal(read_arrays, path)


def test_missing_matlab_variables(tmp_path):
    path = tmp_path / "x.mat"
    save_mat(path, compressed=True)
    assert "has no variable LabelMap, names" in refusal(lambda path: read_mat(path, "GTcls", "LabelMap", "names"), path)
    save_hdf5(path)
    with pytest.raises(DataError, match=r"x\.mat: .*depths"), open_hdf5(path) as file:
        file["depths"][0]

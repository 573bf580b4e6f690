"""Damaged and unusual files: a DataError that names the file, or the right pixels, and nothing else."""

import multiprocessing
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from refinenet_pl.datasets.readers.io import read_colors, read_image, read_mask, read_pair
from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.datasets.readers.matlab import open_hdf5, read_mat
from refinenet_pl.errors import DataError

HEIGHT, WIDTH = 30, 40
VALUES = LabelValues.plain(4)
PALETTE = ((9, 8, 7), (100, 0, 0), (0, 100, 0), (0, 0, 100))
ORIENTATION = 0x0112
CASES = 60

PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
MASK = np.random.default_rng(1).integers(0, 4, (HEIGHT, WIDTH), np.uint8)


def save_picture(
    path: Path, orientation: int | None = None, mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)
) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    picture = Image.fromarray(PICTURE).resize(size, Image.Resampling.NEAREST).convert(mode)
    picture.save(path, **({"exif": exif} if orientation else {}))


def save_mask(path: Path, mode: str = "L", palette=PALETTE) -> None:
    if mode == "P":
        mask = Image.fromarray(MASK, mode="P")
        mask.putpalette([part for colour in palette for part in colour])
    else:
        mask = Image.fromarray(MASK.astype(np.uint16) if mode == "I;16" else MASK)
    mask.save(path)


def save_lzw(path: Path) -> None:
    Image.fromarray(PICTURE).save(path, compression="tiff_lzw")


def save_two_colors(path: Path) -> None:
    """A BMP of 8 bits with a table of black and white, which Pillow alone would read as 1 bit."""
    mask = Image.fromarray(MASK % 2, mode="P")
    mask.putpalette([0, 0, 0, 255, 255, 255])
    mask.save(path)


def save_numbers(path: Path) -> None:
    Image.fromarray(MASK.astype(np.float32)).save(path)


def save_mat(path: Path, compressed: bool) -> None:
    """As in SBD: a struct with an array, and a struct array."""
    parts = np.array([(MASK, "head"), (MASK, "torso")], dtype=[("mask", object), ("part_name", object)])
    scipy.io.savemat(path, {"GTcls": {"Segmentation": MASK, "parts": parts}}, do_compression=compressed)


def save_hdf5(path: Path) -> None:
    """As MATLAB 7.3 does: 512 bytes of its own in front, arrays in reverse, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        labels = np.repeat(MASK.T[None].astype(np.uint16), 3, axis=0)
        file.create_dataset("labels", data=labels, chunks=(1, WIDTH, HEIGHT), compression="gzip")
        cell = file.create_dataset("names", (1, 2), dtype=h5py.ref_dtype)
        for index in range(2):
            cell[0, index] = file.create_dataset(f"#refs#/{index}", data=MASK.T).ref


def damaged(content: bytes, seed: int) -> Iterator[bytes]:
    """Copies of a file's bytes that end early, or have bits turned over, a block of zeros, or a wrong byte at the front."""
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


def outcome(read: Callable[[Path], None], path: Path) -> str:
    """`read`, or `refused` with a message that names the file, or what else came."""
    try:
        read(path)
    except DataError as error:
        return "refused" if str(path) in str(error) else f"does not name the file: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def outcomes_apart(read: Callable[[Path], None], contents: list[bytes], path: Path) -> list[str]:
    """The outcome of each content, read in a process of its own; `crashed` where that process died of it."""
    fork = multiprocessing.get_context("fork")

    def work(start: int, pipe) -> None:
        for content in contents[start:]:
            path.write_bytes(content)
            pipe.send(outcome(read, path))

    outcomes: list[str] = []
    while len(outcomes) < len(contents):
        end, other_end = fork.Pipe(duplex=False)
        process = fork.Process(target=work, args=(len(outcomes), other_end))
        process.start()
        other_end.close()
        try:
            while len(outcomes) < len(contents):
                if not end.poll(30):
                    process.kill()
                    raise AssertionError(f"case {len(outcomes)} hangs")
                outcomes.append(end.recv())
        except EOFError:
            outcomes.append("crashed")
        process.join()
    return outcomes


# Damage


def is_picture(path: Path) -> None:
    read = read_image(path)
    assert read.dtype == np.uint8 and read.ndim == 3 and read.shape[2] == 3


def is_colour_mask(path: Path) -> None:
    read = read_colors(path)
    assert read.dtype == np.uint8 and read.ndim == 3 and read.shape[2] == 3


def is_mask(path: Path) -> None:
    read = read_mask(path, VALUES, PALETTE)
    assert read.dtype == np.uint8 and read.ndim == 2 and set(np.unique(read).tolist()) <= {0, 1, 2, 3, 255}


def is_pair(path: Path) -> None:
    read = read_pair(path, MASK, path)
    assert read.dtype == np.uint8 and read.shape == (HEIGHT, WIDTH, 3)


PICTURES = {
    "grey.png": partial(save_picture, mode="L"),
    "x.png": save_picture,
    "x.jpg": save_picture,
    "cmyk.jpg": partial(save_picture, mode="CMYK"),
    "turned.jpg": partial(save_picture, orientation=6, size=(HEIGHT, WIDTH)),
    "x.bmp": save_picture,
    "x.tif": save_picture,
    "x.webp": save_picture,
    "x.ppm": save_picture,
    "two.bmp": save_two_colors,
    "x.gif": partial(save_picture, mode="P"),
    "lzw.tif": save_lzw,
}
MASKS = {
    "x.png": save_mask,
    "palette.png": partial(save_mask, mode="P"),
    "16.png": partial(save_mask, mode="I;16"),
    "x.tif": save_mask,
    "x.bmp": save_mask,
    "float.tif": save_numbers,
}


@pytest.mark.filterwarnings("ignore")  # Pillow's, about what it finds in the files
@pytest.mark.parametrize(
    ("name", "save", "read"),
    [(name, save, read) for name, save in PICTURES.items() for read in (is_picture, is_pair)]
    + [(name, save, read) for name, save in MASKS.items() for read in (is_mask, is_colour_mask)],
)
def test_damaged_picture(tmp_path, name, save, read):
    path = tmp_path / name
    save(path)
    whole = path.read_bytes()
    expected = "refused" if name in ("16.png", "float.tif") and read is is_colour_mask else "read"
    assert outcome(read, path) == expected
    counts = Counter()
    for content in damaged(whole, seed=0):
        path.write_bytes(content)
        counts[outcome(read, path)] += 1
    assert set(counts) <= {"read", "refused"} and counts["refused"] >= CASES // 10


def is_struct(path: Path) -> None:
    content = read_mat(path, "GTcls")["GTcls"]
    assert content is not None


def are_arrays(path: Path) -> None:
    with open_hdf5(path) as file:
        labels = file["labels"][1].T
        cell = file[file["names"][0, 1]][()].T
    assert labels.shape == (HEIGHT, WIDTH) and cell.shape == (HEIGHT, WIDTH)


@pytest.mark.filterwarnings("ignore")
def test_damaged_mat_that_is_compressed(tmp_path):
    save_mat(tmp_path / "x.mat", compressed=True)
    whole = (tmp_path / "x.mat").read_bytes()
    outcomes = outcomes_apart(is_struct, [whole, *damaged(whole, seed=1)], tmp_path / "x.mat")
    assert outcomes[0] == "read" and set(outcomes) <= {"read", "refused"} and outcomes.count("refused") > CASES / 2


@pytest.mark.filterwarnings("ignore")
def test_damaged_mat_that_is_not_compressed(tmp_path):
    save_mat(tmp_path / "x.mat", compressed=False)
    whole = (tmp_path / "x.mat").read_bytes()
    outcomes = outcomes_apart(is_struct, [whole, *damaged(whole, seed=2)], tmp_path / "x.mat")
    # Nothing guards the bytes of such a file, and scipy (1.17) ends with the interpreter for about one damage in a hundred.
    assert outcomes[0] == "read" and set(outcomes) <= {"read", "refused", "crashed"} and outcomes.count("refused") > CASES / 5


@pytest.mark.filterwarnings("ignore")
def test_damaged_hdf5(tmp_path):
    save_hdf5(tmp_path / "x.mat")
    whole = (tmp_path / "x.mat").read_bytes()
    outcomes = outcomes_apart(are_arrays, [whole, *damaged(whole, seed=3)], tmp_path / "x.mat")
    assert outcomes[0] == "read" and set(outcomes) <= {"read", "refused"} and outcomes.count("refused") > CASES / 4


def test_arrays_of_whole_files_come_back_exactly(tmp_path):
    for compressed in True, False:
        save_mat(tmp_path / "x.mat", compressed)
        content = read_mat(tmp_path / "x.mat", "GTcls")["GTcls"]
        assert np.array_equal(content.Segmentation, MASK)
        assert [part.part_name for part in content.parts] == ["head", "torso"]
    save_hdf5(tmp_path / "x.mat")
    with open_hdf5(tmp_path / "x.mat") as file:
        assert np.array_equal(file["labels"][2].T, MASK)
        assert np.array_equal(file[file["names"][0, 0]][()].T, MASK)


@pytest.mark.parametrize("read", [lambda path: read_mat(path, "x"), lambda path: open_hdf5(path).__enter__()])
def test_matlab_file_that_is_none(tmp_path, read):
    path = tmp_path / "x.mat"
    with pytest.raises(DataError, match="no such file") as refused:
        read(path)
    assert str(path) in str(refused.value)
    for content in b"", b"text", b"<html></html>" * 100:
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a") as refused:
            read(path)
        assert str(path) in str(refused.value)


def test_matlab_file_of_the_other_version(tmp_path):
    path = tmp_path / "x.mat"
    # What MATLAB writes into its own bytes at the front.
    save_hdf5(path)
    header = b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM"
    path.write_bytes(header + path.read_bytes()[len(header) :])
    with pytest.raises(DataError, match="is a MATLAB 7.3 file, where one of an older version was expected"):
        read_mat(path, "labels")
    are_arrays(path)
    save_mat(path, compressed=True)
    with pytest.raises(DataError, match="cannot be read as a MATLAB 7.3 file"):
        are_arrays(path)


def test_matlab_file_without_what_is_asked_for(tmp_path):
    path = tmp_path / "x.mat"
    save_mat(path, compressed=True)
    with pytest.raises(DataError, match="holds no variable LabelMap, names") as refused:
        read_mat(path, "GTcls", "LabelMap", "names")
    assert str(path) in str(refused.value)
    save_hdf5(path)
    with pytest.raises(DataError, match="depths") as refused, open_hdf5(path) as file:
        file["depths"][0]
    assert str(path) in str(refused.value)


# Orientation


TURNED = [  # by EXIF orientation: what makes the stored picture upright
    (2, lambda stored: stored[:, ::-1]),
    (3, lambda stored: stored[::-1, ::-1]),
    (4, lambda stored: stored[::-1]),
    (5, lambda stored: stored.transpose(1, 0, 2)),
    (6, lambda stored: np.rot90(stored, -1)),
    (7, lambda stored: stored[::-1, ::-1].transpose(1, 0, 2)),
    (8, lambda stored: np.rot90(stored, 1)),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("orientation", "upright"), TURNED[3:])
def test_size_of_the_mask_tells_whether_a_picture_is_to_be_turned(tmp_path, orientation, upright, strict):
    save_picture(tmp_path / "x.png", orientation)
    read = partial(read_pair, tmp_path / "x.png", mask_path=tmp_path / "m.png", strict=strict)
    assert np.array_equal(read(mask=np.zeros((HEIGHT, WIDTH))), PICTURE)
    assert np.array_equal(read(mask=np.zeros((WIDTH, HEIGHT))), upright(PICTURE))


@pytest.mark.parametrize(("orientation", "square"), [(2, False), (3, False), (4, False), (3, True), (6, True), (8, True)])
def test_where_sizes_tell_nothing_a_picture_is_refused_or_taken_as_stored(tmp_path, orientation, square):
    path, size = tmp_path / "x.png", (WIDTH, WIDTH if square else HEIGHT)
    save_picture(path, orientation, size=size)
    stored = np.array(Image.fromarray(PICTURE).resize(size, Image.Resampling.NEAREST))
    mask = np.zeros(size[::-1], np.uint8)
    with pytest.raises(DataError, match=f"EXIF orientation {orientation}.*save the image without that tag") as refused:
        read_pair(path, mask, tmp_path / "m.png")
    assert str(path) in str(refused.value)
    assert np.array_equal(read_pair(path, mask, tmp_path / "m.png", strict=False), stored)


@pytest.mark.parametrize("orientation", [None, 1])
def test_upright_pictures_need_no_decision(tmp_path, orientation):
    save_picture(tmp_path / "x.png", orientation, size=(WIDTH, WIDTH))
    assert read_pair(tmp_path / "x.png", np.zeros((WIDTH, WIDTH)), tmp_path / "m.png").shape == (WIDTH, WIDTH, 3)


@pytest.mark.parametrize("orientation", [1, 6])
def test_picture_that_fits_its_mask_neither_way(tmp_path, orientation):
    save_picture(tmp_path / "x.png", orientation)
    with pytest.raises(DataError, match=f"its mask {tmp_path / 'm.png'} is 7x5; they must be of one size") as refused:
        read_pair(tmp_path / "x.png", np.zeros((5, 7)), tmp_path / "m.png")
    assert f"{tmp_path / 'x.png'} is {'40x30' if orientation == 1 else '30x40'}" in str(refused.value)


# Pictures of a pair


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1", "RGBA"])
def test_pictures_of_a_pair_may_have_any_mode(tmp_path, mode):
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    save_picture(path, mode=mode)
    assert np.array_equal(read_pair(path, MASK, path), read_image(path))
    assert np.abs(read_image(path).astype(int) - PICTURE).mean() < (1 if mode in ("CMYK", "RGBA") else 120)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_picture_of_a_pair_with_more_than_8_bits(tmp_path, dtype):
    Image.fromarray(MASK.astype(dtype)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="more than 8 bits"):
        read_pair(tmp_path / "x.tif", MASK, tmp_path / "m.png")


@pytest.mark.parametrize("read", [is_pair, is_colour_mask], ids=["picture of a pair", "mask by colour"])
def test_no_file_and_no_bytes(tmp_path, read):
    path = tmp_path / "x.png"
    with pytest.raises(DataError, match="no such file") as refused:
        read(path)
    assert str(path) in str(refused.value)
    path.touch()
    with pytest.raises(DataError, match="is empty; the file is truncated") as refused:
        read(path)
    assert str(path) in str(refused.value)


# Masks


def test_bilevel_mask_is_0_and_1(tmp_path):
    Image.fromarray(MASK > 1).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as saved:
        assert saved.mode == "1"
    assert np.array_equal(read_mask(tmp_path / "x.png", VALUES), MASK > 1)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_mask_of_16_bits(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    values = LabelValues({1000 * label: label for label in range(4)}, void=(65535,))
    mask = MASK.astype(np.uint16) * 1000
    mask[0] = 65535
    Image.fromarray(mask).save(path)
    assert np.array_equal(read_mask(path, values), np.where(mask == 65535, 255, MASK))
    with pytest.raises(DataError, match="values 1000, 2000, 3000, 65535 in"):
        read_mask(path, VALUES)


def grey_png(depth: int, values: list[int]) -> bytes:
    """A PNG of one row with several pixels a byte, as some programs write for the sake of size; Pillow cannot."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    bits = "".join(f"{value:0{depth}b}" for value in values)
    row = bytes(int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8))
    header = struct.pack(">IIBBBBB", len(values), 1, depth, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_mask_of_few_bits_holds_its_values(tmp_path, depth):
    values = [0, 1, min(3, 2**depth - 1), 0]
    (tmp_path / "x.png").write_bytes(grey_png(depth, values))
    assert read_mask(tmp_path / "x.png", VALUES)[0].tolist() == values


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize("read", [is_mask, is_colour_mask])
def test_mask_saved_as_jpeg_whatever_it_is_called(tmp_path, kind, read):
    path = tmp_path / "x.png"
    more = {"save_all": True, "append_images": [Image.fromarray(PICTURE)]} if kind == "MPO" else {}
    Image.fromarray(PICTURE).save(path, format=kind, **more)
    with pytest.raises(DataError, match=f"this mask is a {kind}.*save masks as PNG") as refused:
        read(path)
    assert str(path) in str(refused.value)


def test_palette_as_prescribed(tmp_path):
    save_mask(tmp_path / "x.png", mode="P")
    assert np.array_equal(read_mask(tmp_path / "x.png", VALUES, PALETTE), MASK)
    # A palette says nothing where none is prescribed, nor where the mask has none.
    save_mask(tmp_path / "x.png", mode="P", palette=PALETTE[::-1])
    assert np.array_equal(read_mask(tmp_path / "x.png", VALUES), MASK)
    save_mask(tmp_path / "x.png")
    assert np.array_equal(read_mask(tmp_path / "x.png", VALUES, PALETTE), MASK)


@pytest.mark.parametrize(
    ("palette", "said"),
    [
        ((*PALETTE[:2], PALETTE[3], PALETTE[2]), r"value 2 has \(0, 0, 100\) in this image's palette, but \(0, 100, 0\) in"),
        ((PALETTE[0], (100, 0, 1), *PALETTE[2:]), r"value 1 has \(100, 0, 1\) in this image's palette, but \(100, 0, 0\) in"),
        (PALETTE[:3], "value 3 has .* in this image's palette, but"),
    ],
    ids=["in another order", "one colour a little different", "too short"],
)
def test_palette_that_is_not_as_prescribed(tmp_path, palette, said):
    save_mask(tmp_path / "x.png", mode="P", palette=palette)
    with pytest.raises(DataError, match=said) as refused:
        read_mask(tmp_path / "x.png", VALUES, PALETTE)
    assert str(tmp_path / "x.png") in str(refused.value)


def test_palette_colours_of_values_that_do_not_occur_do_not_count(tmp_path):
    ids = np.where(MASK == 2, 1, MASK)
    mask = Image.fromarray(ids, mode="P")
    mask.putpalette([part for colour in (*PALETTE[:2], (5, 5, 5), PALETTE[3]) for part in colour])
    mask.save(tmp_path / "x.png")
    assert np.array_equal(read_mask(tmp_path / "x.png", VALUES, PALETTE), ids)


def test_colours_of_a_palette_mask_and_of_one_with_transparency(tmp_path):
    save_mask(tmp_path / "x.png", mode="P")
    assert np.array_equal(read_colors(tmp_path / "x.png"), np.array(PALETTE, np.uint8)[MASK])
    Image.fromarray(PICTURE).convert("RGBA").save(tmp_path / "x.png")
    assert np.array_equal(read_colors(tmp_path / "x.png"), PICTURE)


def test_colours_of_more_than_8_bits(tmp_path):
    save_mask(tmp_path / "x.png", mode="I;16")
    with pytest.raises(DataError, match="more than 8 bits"):
        read_colors(tmp_path / "x.png")

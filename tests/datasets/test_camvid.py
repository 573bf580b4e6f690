"""CamVid in the SegNet layout: what is read, and what is said about a copy that is not as it should be."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.errors import DataError
from refinenet_pl.visualization.samples import plot_sample

HEIGHT, WIDTH = 24, 32
STEMS = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}
REAL = Path(os.environ.get("CAMVID_ROOT", "data/camvid"))


def picture_of(stem: str) -> np.ndarray:
    return np.random.default_rng(ord(stem)).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def mask_of(stem: str) -> np.ndarray:
    return np.random.default_rng(1000 + ord(stem)).integers(0, 12, (HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A whole small copy."""
    for split, stems in STEMS.items():
        for folder in split, f"{split}annot":
            (tmp_path / folder).mkdir()
        lines = []
        for stem in stems:
            Image.fromarray(picture_of(stem)).save(tmp_path / split / f"{stem}.png")
            Image.fromarray(mask_of(stem)).save(tmp_path / f"{split}annot" / f"{stem}.png")
            lines.append(f"/SegNet/CamVid/{split}/{stem}.png /SegNet/CamVid/{split}annot/{stem}.png\n")
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    return tmp_path


def refusal_to_open(root: Path, split: str = "val") -> str:
    with pytest.raises(DataError) as refused:
        CamVid(root, split)
    return str(refused.value)


def refusal_to_read(root: Path) -> str:
    """The message for sample d, alone in its split, once its files have been spoilt."""
    dataset = CamVid(root, "val")
    with pytest.raises(DataError) as refused:
        dataset[0]
    return str(refused.value)


@pytest.mark.parametrize("split", STEMS)
def test_samples_come_in_the_order_of_the_list_with_exact_pixels(root, split):
    dataset = CamVid(root, split)
    assert len(dataset) == len(STEMS[split])
    for index, stem in enumerate(STEMS[split]):
        sample = dataset[index]
        assert sample["name"] == stem
        assert isinstance(sample["image"], tv_tensors.Image) and sample["image"].dtype == torch.uint8
        assert isinstance(sample["mask"], tv_tensors.Mask) and sample["mask"].dtype == torch.int64
        assert np.array_equal(sample["image"].numpy(), picture_of(stem).transpose(2, 0, 1))
        assert np.array_equal(sample["mask"].numpy(), mask_of(stem))


def test_blank_lines_in_a_list_do_not_count(root):
    listing = root / "train.txt"
    listing.write_text("\n" + listing.read_text().replace("\n", "\n\n"))
    assert len(CamVid(root, "train")) == 3


def test_missing_folder(tmp_path):
    message = refusal_to_open(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message and "no such folder" in message and CamVid.source in message


def test_missing_list(root):
    (root / "val.txt").unlink()
    message = refusal_to_open(root)
    assert str(root / "val.txt") in message and "no such file" in message


def test_unknown_split(root):
    message = refusal_to_open(root, "valid")
    assert "'valid'" in message and "train, val, test" in message


@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_empty_split(root, content):
    (root / "val.txt").write_text(content)
    message = refusal_to_open(root)
    assert str(root / "val.txt") in message and "names no pictures" in message


@pytest.mark.parametrize("line", ["/SegNet/CamVid/val/d.png", "val/d.png valannot/d.png 1", "val/d.png,valannot/d.png"])
def test_malformed_list_line(root, line):
    listing = root / "val.txt"
    listing.write_text(listing.read_text() + line + "\n")
    message = refusal_to_open(root)
    assert f"{listing}:2" in message and repr(line) in message and "expected 2 words" in message


@pytest.mark.parametrize("gone", ["valannot/d.png", "val/d.png"])
def test_half_a_pair(root, gone):
    (root / gone).unlink()
    message = refusal_to_open(root)
    assert str(root / gone) in message and "missing" in message


def test_half_a_pair_that_goes_missing_later(root):
    dataset = CamVid(root, "val")
    (root / "valannot/d.png").unlink()
    with pytest.raises(DataError, match="no such file") as refused:
        dataset[0]
    assert str(root / "valannot/d.png") in str(refused.value)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH - 1), (HEIGHT + 1, WIDTH), (WIDTH, HEIGHT)])
def test_picture_and_mask_of_different_sizes(root, size):
    Image.fromarray(np.zeros(size, np.uint8)).save(root / "valannot/d.png")
    message = refusal_to_read(root)
    assert f"{root / 'val/d.png'} is {WIDTH}x{HEIGHT}" in message
    assert f"{root / 'valannot/d.png'} is {size[1]}x{size[0]}" in message


@pytest.mark.parametrize("label", [12, 255])
def test_label_outside_the_classes(root, label):
    mask = mask_of("d")
    mask[3, 5] = label
    Image.fromarray(mask).save(root / "valannot/d.png")
    message = refusal_to_read(root)
    assert (
        str(root / "valannot/d.png") in message and f"values {label} in 1 pixels" in message and "only values 0..11" in message
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_mask_that_is_no_map_of_ids(root, mode):
    Image.new(mode, (WIDTH, HEIGHT), (128, 64, 128)).save(root / "valannot/d.png")
    message = refusal_to_read(root)
    assert str(root / "valannot/d.png") in message and "is in color" in message


def test_palette_mask_is_read_as_ids_and_not_as_grey_or_colours(root):
    mask = Image.fromarray(mask_of("d"), mode="P")
    mask.putpalette([value for colour in CamVid.classes.palette for value in colour] + [0, 0, 0])
    mask.save(root / "valannot/d.png")
    assert np.array_equal(CamVid(root, "val")[0]["mask"].numpy(), mask_of("d"))


@pytest.mark.parametrize("which", ["val/d.png", "valannot/d.png"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:40],
        lambda content: b"",
        lambda content: b"<html><body>404: not found</body></html>",
        lambda content: content[:60] + bytes(20) + content[80:],
    ],
    ids=["half of it", "only its header", "no byte", "not a picture", "bytes overwritten"],
)
def test_damaged_file(root, which, damage):
    file = root / which
    file.write_bytes(damage(file.read_bytes()))
    message = refusal_to_read(root)
    assert str(file) in message and re.search("cannot be read as an image|is empty|is a web page", message)


def test_folder_in_place_of_a_file_is_missing(root):
    (root / "val/d.png").unlink()
    (root / "val/d.png").mkdir()
    assert str(root / "val/d.png") in refusal_to_open(root)


def test_each_class_has_a_weight():
    assert len(CamVid.class_weights) == len(CamVid.classes) and min(CamVid.class_weights) > 0


def test_plot_names_the_classes_that_occur(root):
    mask = np.full((HEIGHT, WIDTH), 11, np.uint8)
    mask[:4] = 3
    Image.fromarray(mask).save(root / "valannot/d.png")
    figure = plot_sample(CamVid(root, "val"), 0)
    assert [axis.get_title() for axis in figure.axes] == ["image", "ground truth"]
    assert np.array_equal(figure.axes[0].images[0].get_array(), picture_of("d"))
    painted = figure.axes[1].images[0].get_array()
    assert painted[0, 0].tolist() == [128, 64, 128] and painted[-1, 0].tolist() == [0, 0, 0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["road"]


def test_plot_with_a_prediction_adds_a_panel_and_its_classes(root, tmp_path):
    mask = np.full((HEIGHT, WIDTH), 3, np.uint8)
    Image.fromarray(mask).save(root / "valannot/d.png")
    figure = plot_sample(CamVid(root, "val"), 0, np.full((HEIGHT, WIDTH), 8))
    assert [axis.get_title() for axis in figure.axes] == ["image", "ground truth", "prediction"]
    assert figure.axes[2].images[0].get_array()[0, 0].tolist() == [64, 0, 128]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["road", "car"]
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


@pytest.mark.skipif(not (REAL / "val.txt").is_file(), reason=f"no CamVid in {REAL}; set CAMVID_ROOT to its folder")
class TestRealCamVid:
    def test_split_sizes_are_the_published_ones(self):
        sizes = {split: len(CamVid(REAL, split)) for split in CamVid.split_sizes}
        assert sizes == CamVid.split_sizes == {"train": 367, "val": 101, "test": 233}

    def test_no_picture_is_in_two_splits(self):
        splits = [CamVid(REAL, split) for split in CamVid.split_sizes]
        names = [split.name(index) for split in splits for index in range(len(split))]
        assert len(set(names)) == 701

    def test_validation_pixels_of_each_class(self):
        dataset = CamVid(REAL, "val")
        counts = np.zeros(12, np.int64)
        for index in range(len(dataset)):
            image, mask = dataset.read(index)
            assert image.shape == (360, 480, 3)
            counts += np.bincount(mask.ravel(), minlength=12)
        assert counts.tolist() == [
            1601620, 4531180, 98499, 5053176, 1521751, 2851125, 155724, 537197, 304716, 113531, 387010, 297271,
        ]  # fmt: skip

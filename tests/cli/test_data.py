"""`refinenet data`: the list of datasets, the check of a copy, and the contact sheet of its samples."""

import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers.layouts import folder as layout
from PIL import Image

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.check import check_split
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.registry import DATASETS, find_dataset
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import DataError
from refinenet_pl.visualization.contact_sheet import sheet
from refinenet_pl.visualization.predictions import overlay


class Own(SegmentationDataset):
    """A dataset of another package. Each split is a list of numbers, of which those above 99 are invalid samples."""

    title = "Own"
    classes = Classes(("black", "green"), ((0, 0, 0), (0, 255, 0)), 9)
    split_sizes = {"train": None, "train_more": None, "trainval": None, "val": None}
    unlabeled_sizes = {"test": 7}
    source = "nowhere"
    license = "none"

    def __init__(self, root, split, train=(1, 2), train_more=(1, 2, 3), trainval=(1, 2, 4), val=(4,)):
        super().__init__(root, split)
        self.numbers = {"train": train, "train_more": train_more, "trainval": trainval, "val": val}[split]

    def __len__(self):
        return len(self.numbers)

    def name(self, index):
        return f"number {self.numbers[index]}"

    def read(self, index):
        number = self.numbers[index]
        image, mask = np.full((4, 6, 3), number, np.uint8), np.full((4, 6), number % 2)
        mask[:, 0] = 9
        if number == 100:
            raise KeyError("a bug in the dataset")
        if number in (101, 102):
            mask[0, 0] = {101: 2, 102: -1}[number]
        if number == 104:
            os.kill(os.getpid(), signal.SIGKILL)
        return image[:2] if number == 103 else image, mask


OWN = f"{__name__}.Own"
SMALL = ["scenes", '--options={"size": 64}']


@pytest.fixture
def root(tmp_path) -> Path:
    layout.build(tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def check(capsys):
    """Run `data check`; returns its exit status and output."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["data", "check", *map(str, arguments)])
        return ended.value.code, capsys.readouterr().out

    return run


def shares_in(output: str) -> dict[str, list[str]]:
    """Shares of each class in the printed table."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.endswith("%")}


def test_list(capsys):
    main(["data", "list"])
    printed = capsys.readouterr().out
    for name in DATASETS:
        dataset = find_dataset(name)
        sizes = [f"{split} {size:,}" for split, size in {**dataset.split_sizes, **dataset.unlabeled_sizes}.items() if size]
        addresses = [word for word in dataset.source.split() if "://" in word]
        assert all(f"| {text}" in printed for text in [name, *sizes]) and all(address in printed for address in addresses)
    assert max(map(len, printed.splitlines())) <= 180


def test_valid_copy(root, check):
    (root / "images/train/.cache").mkdir()
    for name in "images/train/notes.txt", "images/train/b.gif", "masks/train/._a.png":
        (root / name).touch()
    status, printed = check("folder", root)
    assert status == 0 and printed.endswith("no problems found\n")
    assert printed.count("left out") == 1 and "2 files of other types (.gif, .txt)" in printed
    assert "val: 2 images\n  80 to 90 pixels wide, 60 to 75 high\n" in printed
    for column, (split, samples) in enumerate(layout.SAMPLES.items()):
        mask = np.concatenate([layout.mask_of(split, stem).ravel() for stem in samples])
        assert f"  void: {(mask == 255).mean():.2%} of all pixels" in printed
        for label, name in enumerate(layout.NAMES):
            assert shares_in(printed)[name][column] == f"{(mask[mask != 255] == label).mean():.3%}"


@pytest.mark.parametrize(
    ("samples", "problems", "words"),
    [(200, 0, "as published"), (3, 1, "197 fewer than the published 200"), (201, 1, "1 more than the published 200")],
)
def test_published_number_of_images(check, samples, problems, words):
    options = f'--options={{"size": 64, "samples": {samples}}}'
    status, printed = check("scenes", options, "--splits=val", "--workers=2")
    assert status == problems and f"val: {samples} images, {words}\n" in printed


def test_bad_files(root, check):
    image = root / "images/val/d.png"
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    Image.new("L", (7, 5)).save(root / "masks/val/e.png")
    status, printed = check("folder", root, "--splits", "val", "test")
    assert status == 1 and "val: 2 images\n  2 cannot be used:\n" in printed and printed.endswith("2 problems\n")
    assert f"  - {image}: " in printed and f"  - {root / 'images/val/e.jpeg'} is 90x75" in printed
    assert shares_in(printed)["road"][0] == "-" != shares_in(printed)["road"][1] and "never occur" not in printed


def test_groups_similar_faults(check):
    numbers = [100] * 30 + [101] * 2 + [103] + [1] * 10
    status, printed = check(OWN, f'--options={{"train": {numbers}}}', "--splits=train", "--workers=2")
    assert status == 1 and "  33 cannot be used:\n" in printed and printed.endswith("33 problems\n")
    shown = re.findall("  - number (.*)", printed)
    assert len(shown) == 6 and "and 27 more like this" in printed
    assert shown[0].startswith("100: KeyError: ") and shown[3].endswith("neither classes nor void: [2]")
    _, printed = check(OWN, f'--options={{"train": {[100] * 30 + [1]}}}', "--splits=train")
    assert printed.count("  - number 100") == 20 and "and 10 more like this" in printed


def test_result_does_not_depend_on_the_number_of_processes():
    dataset = Own(None, "train", train=[1, 2, 100, 4, 5] * 10 + [102])
    one, two = check_split(dataset, workers=1), check_split(dataset, workers=2)
    assert len(one.faults) == 11 and one.faults == two.faults and one.digests == two.digests
    assert "[-1]" in one.faults[-1], "a negative label is not the last class"
    assert one.counts.tolist() == two.counts.tolist() == [20 * 20, 20 * 20, 40 * 4]
    assert one.widths == two.widths == (6, 6) and one.heights == two.heights == (4, 4)


def test_killed_process():
    with pytest.raises(DataError, match="was killed.*--workers"):
        check_split(Own(None, "train", train=[104] * 40), workers=2)


def test_classes_that_never_occur_are_no_problem(check):
    status, printed = check(OWN, "--options", '{"train": [2, 6]}', "--splits", "train", "val")
    assert status == 0
    assert "train: 1 of 2 classes never occur: green" in printed and "val: 1 of 2 classes never occur: green" in printed
    assert shares_in(printed)["black"] == ["100.000%", "100.000%"]


def test_shared_images(root, check):
    for kind in "images", "masks":
        for split in "test", "val":
            shutil.copy(root / kind / "train/a.png", root / kind / split / "a.png")
        shutil.copy(root / kind / "train/a.png", root / kind / "test/d.png")
    status, printed = check("folder", root)
    assert status == 1 and printed.endswith("3 problems\n")
    assert "names in both val and test, but of different images: 1\n" in printed
    for pair in "train and val", "train and test", "val and test":
        assert f"images in both {pair}: 1 (a)\n" in printed


@pytest.mark.parametrize(
    ("val", "sharing"), [([4], []), ([2, 4], ["train and val", "train_more and val"]), ([3], ["train_more and val"])]
)
def test_unions_of_splits_may_share_images(check, val, sharing):
    status, printed = check(OWN, f'--options={{"val": {val}}}')
    assert status == bool(sharing) and re.findall("images in both (.*): 1 ", printed) == sharing


@pytest.mark.parametrize(
    ("missing", "splits", "problems"),
    [("test", [], 0), ("test", ["--splits", "train", "test"], 1), ("train", [], 1), ("val", [], 1)],
)
def test_missing_split(root, check, missing, splits, problems):
    shutil.rmtree(root / "images" / missing)
    status, printed = check("folder", root, *splits)
    assert status == problems and f"(not opened: {missing})" in printed
    assert f"{missing}: {'cannot be opened' if problems else 'missing'}: {root}: has no split {missing}" in printed


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["check", "nothing"], "error: .*'nothing'"),
        (["check", "scenes", '--options={"sise": 64}'], "error: --options: scenes: .*'sise'"),
        (["check", "scenes", '--options={"split": "val"}'], "error: --options: scenes: "),
        (["check", "scenes", "--workers=0"], "2"),
        (["show", "scenes", '--options={"sise": 64}'], "error: --options: scenes: .*'sise'"),
        (["show", *SMALL, "--samples=1", "--output=here/sheet.png"], "error: here.*cannot be written"),
        (["show", "folder", "nowhere"], "error: nowhere"),
    ],
)
def test_invalid_arguments(tmp_path, monkeypatch, arguments, problem):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    with pytest.raises(SystemExit, match=problem):
        main(["data", *arguments])


def test_show(root, tmp_path, monkeypatch, capsys):
    main(["data", "show", "folder", str(root), "--split", "val", "--output", str(tmp_path / "new/sheet.png")])
    assert str(tmp_path / "new/sheet.png") in capsys.readouterr().out
    assert min(Image.open(tmp_path / "new/sheet.png").size) > 300
    monkeypatch.chdir(tmp_path)
    main(["data", "show", *SMALL, "--samples=1"])
    assert (tmp_path / "scenes_train.png").is_file()


def test_show_overwrites_only_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "sheet.png").write_bytes(b"mine")
    arguments = ["data", "show", *SMALL, "--samples=1", "--output=$HERE/sheet.png"]
    with pytest.raises(SystemExit, match="sheet.png: would be overwritten"):
        main(arguments)
    assert (tmp_path / "sheet.png").read_bytes() == b"mine"
    main([*arguments, "--overwrite"])
    assert Image.open(tmp_path / "sheet.png").format == "PNG" and len(list(tmp_path.iterdir())) == 1


def bars_of(figure) -> dict[str, tuple[float, tuple[int, ...]]]:
    """Length and color of the bar of each class."""
    bars = {}
    for axis in (axis for axis in figure.axes if not axis.images):
        for label, bar in zip(axis.get_yticklabels(), axis.patches, strict=True):
            color = np.round(np.array(bar.get_facecolor()[:3]) * 255).astype(int)
            bars[label.get_text()] = bar.get_width(), tuple(color.tolist())
    return bars


def test_sheet_shows_evenly_spaced_samples():
    dataset = Scenes(None, "val", 64)
    panels = [axis for axis in sheet(dataset, 3).axes if axis.images]
    assert len(panels) == 9 and [axis.get_title() for axis in panels[:3]] == ["image", "mask", "overlay"]
    for row, index in enumerate((0, 99, 199)):
        image, mask = dataset.read(index)
        colors, void = Scenes.classes.colorize(mask), mask == 255
        shown = [axis.images[0].get_array() for axis in panels[3 * row : 3 * row + 3]]
        assert panels[3 * row].get_ylabel() == f"val_{index:05d}"
        assert np.array_equal(shown[0], image) and np.array_equal(shown[1], colors)
        assert np.array_equal(shown[2][void], image[void]) and 0 < void.mean() < 1
        assert np.array_equal(shown[2][~void], overlay(image, colors)[~void])


def test_sheet_shows_classes_with_shares_and_colors():
    figure = sheet(Own(None, "train", train=[1]), 9)
    assert len([axis for axis in figure.axes if axis.images]) == 3 and "1 sample " in figure.subfigs[1].get_suptitle()
    bars = bars_of(figure)
    assert list(bars) == ["green", "void"] and bars["green"] == (pytest.approx(20 / 24), (0, 255, 0))
    assert bars["void"] == (pytest.approx(4 / 24), (255, 255, 255)), "white, because black is a class"


@pytest.mark.parametrize(
    ("first", "second", "void"),
    [
        ([0, 0, 142], [255, 255, 255], (0, 0, 0)),
        ([10, 10, 10], [0, 0, 142], (255, 255, 255)),
        ([0, 0, 0], [255, 255, 255], (255, 0, 255)),
    ],
)
def test_color_of_void_differs_from_those_of_the_classes(root, first, second, void):
    layout.write_classes(root, colors=[first, second, [70, 70, 70], [9, 99, 9]])
    figure = sheet(Folder(root, "val"))
    assert bars_of(figure)["void"][1] == void
    assert np.array_equal((figure.axes[1].images[0].get_array() == void).all(2), layout.mask_of("val", "d") == 255)


def test_sheet_of_150_classes(tmp_path):
    ids = np.kron(np.arange(150, dtype=np.uint8).reshape(10, 15), np.ones((4, 4), np.uint8))
    for kind, pixels in ("images", np.zeros((40, 60, 3), np.uint8)), ("masks", ids):
        (tmp_path / kind / "train").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / kind / "train/x.png")
    layout.write_classes(tmp_path, names=[f"class {n}" for n in range(150)], colors=None)
    figure = sheet(Folder(tmp_path, "train"))
    assert list(bars_of(figure)) == [f"class {n}" for n in range(150)]
    figure.savefig(tmp_path / "sheet.png")
    for axis in (axis for axis in figure.axes if not axis.images):
        low, high = sorted(axis.get_ylim())
        assert all(low <= bar.get_y() and bar.get_y() + bar.get_height() <= high for bar in axis.patches)

"""`python -m refinenet_pl data`: the list, what a check finds, and the sheet of samples."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers.layouts import folder as layout
from PIL import Image

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.check import check_split, shared_pictures
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.registry import DATASETS, find_dataset
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import DataError
from refinenet_pl.visualization.contact_sheet import sheet
from refinenet_pl.visualization.predictions import overlay


class Own(SegmentationDataset):
    """A data set of another package: the pictures of each split are given by number, and some numbers go wrong."""

    title = "Own"
    classes = Classes(("black", "green"), ((0, 0, 0), (0, 255, 0)), 9)
    split_sizes = {"train": None, "train_more": None, "trainval": None, "val": None}
    unlabelled_sizes = {"test": 7}
    source = "nowhere"
    licence = "none"

    def __init__(self, root, split, train=(1, 2), train_more=(1, 2, 3), trainval=(1, 2, 4), val=(4,)):
        super().__init__(root, split)
        self.numbers = {"train": train, "train_more": train_more, "trainval": trainval, "val": val}[split]

    def __len__(self):
        return len(self.numbers)

    def name(self, index):
        return f"number {self.numbers[index]}"

    def read(self, index):
        number = self.numbers[index]
        mask = np.full((4, 6), number % 2)
        mask[:, 0] = 9
        image = np.full((4, 6, 3), number, np.uint8)
        if number == 100:
            raise KeyError("a mistake in the data set's own code")
        if number == 101:
            mask[0, 0] = 2
        if number == 102:
            mask[0, 0] = -1
        if number == 103:
            image = image[:2]
        return image, mask


class Killed(Own):
    """One that takes more memory than there is."""

    def read(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


OWN = f"{__name__}.Own"


@pytest.fixture
def root(tmp_path) -> Path:
    layout.build(tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def check(capsys):
    """Run `data check`; gives its exit status and what it prints."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["data", "check", *map(str, arguments)])
        return ended.value.code, capsys.readouterr().out

    return run


def rows_of(output: str) -> dict[str, list[str]]:
    """The numbers behind each class name in the printed table."""
    return {line.split()[0]: line.split()[1:] for line in output.splitlines() if line.endswith("%")}


# list


def test_list_has_every_data_set_with_its_splits_and_whole_addresses(capsys):
    main(["data", "list"])
    printed = capsys.readouterr().out
    for name in DATASETS:
        assert f"| {name} " in printed
        dataset = find_dataset(name)
        for split, size in {**dataset.split_sizes, **dataset.unlabelled_sizes}.items():
            assert f"| {split} {size:,}" in printed if size else f"| {split} " in printed
        for address in (word for word in dataset.source.split() if "://" in word):
            assert address in printed
    assert max(map(len, printed.splitlines())) <= 180


# check


def test_whole_copy(root, check):
    status, printed = check("folder", root)
    assert status == 0 and printed.endswith("no problems found\n")
    assert "train: 4 pictures\n  60 to 80 pixels wide, 60 to 80 high\n" in printed
    assert "val: 2 pictures\n  80 to 90 pixels wide, 60 to 75 high\n" in printed
    masks = {
        split: np.concatenate([layout.mask_of(split, stem).ravel() for stem in samples])
        for split, samples in layout.SAMPLES.items()
    }
    for mask in masks.values():
        assert f"  void: {(mask == 255).mean():.2%} of all pixels" in printed
    for label, name in enumerate(layout.NAMES):
        assert rows_of(printed)[name] == [f"{(mask[mask != 255] == label).mean():.3%}" for mask in masks.values()]


def test_files_that_do_not_count_are_said(root, check):
    (root / "images/train/.cache").mkdir()
    for name in "images/train/notes.txt", "images/train/b.gif", "masks/train/._a.png":
        (root / name).touch()
    status, printed = check("folder", root, "--splits", "train", "val")
    assert status == 0
    said = "in images/train: 1 hidden folder, 2 files of other types (.gif, .txt); in masks/train: 1 hidden file"
    assert printed.count("left out") == 1 and f"  left out {said}\n" in printed


def test_published_number_of_pictures(check):
    small = '--options={"size": 64}'
    status, printed = check("scenes", small, "--splits", "val", "--workers=2")
    assert status == 0 and "val: 200 pictures, as published\n  64 pixels wide, 64 high\n" in printed


@pytest.mark.parametrize(
    ("samples", "said"),
    [(3, "3 pictures, 197 fewer than the published 200"), (201, "201 pictures, 1 more than the published 200")],
)
def test_another_number_of_pictures_is_a_problem(check, samples, said):
    status, printed = check("scenes", f'--options={{"size": 64, "samples": {samples}}}', "--splits=val")
    assert status == 1 and f"val: {said}\n" in printed and printed.endswith("1 problem\n")


def test_bad_files_are_counted_and_named_and_the_others_read(root, check):
    picture = root / "images/val/d.png"
    picture.write_bytes(picture.read_bytes()[: picture.stat().st_size // 2])
    Image.new("L", (7, 5)).save(root / "masks/val/e.png")
    status, printed = check("folder", root, "--splits", "val", "test")
    assert status == 1 and "val: 2 pictures\n  2 cannot be used:\n" in printed and printed.endswith("2 problems\n")
    assert f"  - {root / 'images/val/d.png'}: cannot be read as an image" in printed
    assert f"  - {root / 'images/val/e.jpeg'} is 90x75 but its mask {root / 'masks/val/e.png'} is 7x5" in printed
    assert rows_of(printed)["road"][0] == "-" and rows_of(printed)["road"][1] != "-"
    assert "never occur" not in printed  # nothing of val could be read


def test_of_many_bad_files_twenty_are_shown_those_that_are_alike_together(tmp_path, check):
    numbers = [100] * 30 + [101] * 2 + [103] + [1] * 10
    status, printed = check(OWN, f'--options={{"train": {numbers}}}', "--splits=train", "--workers=2")
    assert status == 1 and "train: 43 pictures\n" in printed and printed.endswith("33 problems\n")
    assert "  33 cannot be used:\n" in printed
    shown = [line for line in printed.splitlines() if line.startswith("  - ")]
    assert len(shown) == 6 and "    and 27 more like this\n" in printed
    assert shown[0].startswith('  - number 100: KeyError: "a mistake') or shown[0].startswith(
        "  - number 100: KeyError: 'a mistake"
    )
    assert shown[3] == "  - number 101: ValueError: the mask has labels that are neither classes nor void: [2]"
    assert "(2, 6, 3)" in shown[5]
    status, printed = check(OWN, f'--options={{"train": {[100] * 30 + [1]}}}', "--splits=train")
    assert printed.count("  - number 100") == 20 and "    and 10 more like this\n" in printed


def test_negative_label_is_a_fault_and_not_the_last_class():
    contents = check_split(Own(None, "train", train=[102, 1]), workers=1)
    assert len(contents.faults) == 1 and "[-1]" in contents.faults[0] and contents.pixels.tolist() == [0, 20, 4]


def test_several_processes_find_what_one_finds():
    dataset = Own(None, "train", train=[1, 2, 100, 4, 5] * 10)
    one, two = check_split(dataset, workers=1), check_split(dataset, workers=2)
    assert len(one.faults) == 10 and one.faults == two.faults and one.digests == two.digests
    assert one.pixels.tolist() == two.pixels.tolist() == [20 * 20, 20 * 20, 40 * 4]
    assert one.widths == two.widths == (6, 6) and one.heights == two.heights == (4, 4)


def test_classes_that_never_occur_are_named_and_no_problem(check):
    status, printed = check(OWN, "--options", '{"train": [2, 6]}', "--splits", "train", "val")
    assert status == 0
    assert "train: 1 of 2 classes never occur: green" in printed and "val: 1 of 2 classes never occur: green" in printed
    assert rows_of(printed)["black"] == ["100.000%", "100.000%"]


def test_pictures_of_two_splits(root, check):
    for kind, ending in ("images", ".png"), ("masks", ".png"):
        shutil.copy(root / kind / f"train/a{ending}", root / kind / f"test/a{ending}")
        shutil.copy(root / kind / f"train/a{ending}", root / kind / f"val/a{ending}")
    status, printed = check("folder", root)
    assert status == 1 and printed.endswith("3 problems\n")
    for pair in "train and val", "train and test", "val and test":
        assert f"{pair}: 1 pictures are in both: a\n" in printed


def test_one_name_for_two_pictures_is_said_and_no_problem(root, check):
    shutil.copy(root / "images/train/a.png", root / "images/val/d.png")
    for kind in "images", "masks":
        (root / kind / "test/g.png").unlink(missing_ok=True)
        (root / kind / "test/g.tiff").unlink(missing_ok=True)
        shutil.copy(root / kind / "train/a.png", root / kind / "test/d.png")
    Image.fromarray(layout.picture_of("val", "d")).save(root / "images/val/d.png")
    status, printed = check("folder", root)
    assert status == 0 and "val and test: 1 names occur in both, but for different pictures\n" in printed


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        ("{}", None),
        ('{"val": [2, 4]}', ["train and val: 1", "train_more and val: 1"]),
        ('{"val": [3]}', ["train_more and val: 1"]),
    ],
)
def test_splits_that_are_made_of_others_share_pictures_rightly(check, options, shared):
    status, printed = check(OWN, f"--options={options}")
    lines = [line for line in printed.splitlines() if "are in both" in line]
    assert status == bool(shared) and [line.split(" pictures")[0] for line in lines] == (shared or [])


def test_shared_pictures_tells_equal_from_different():
    first, second = check_split(Scenes(None, "val", 64, 3)), check_split(Scenes(None, "val", 64, 2, seed=1))
    third = check_split(Scenes(None, "val", 64, 2))
    assert shared_pictures(first, third) == (["val_00000", "val_00001"], [])
    assert shared_pictures(first, second) == ([], ["val_00000", "val_00001"])


def test_optional_split_may_be_absent_unless_it_is_asked_for(root, check):
    shutil.rmtree(root / "images/test")
    status, printed = check("folder", root)
    assert status == 0 and printed.endswith("no problems found (not opened: test)\n")
    assert f"test: not there: {root}: has no split test" in printed
    status, printed = check("folder", root, "--splits", "train", "test")
    assert status == 1 and printed.endswith("1 problem (not opened: test)\n") and f"test: cannot be opened: {root}" in printed


@pytest.mark.parametrize("split", ["train", "val"])
def test_train_and_val_must_be_there(root, check, split):
    shutil.rmtree(root / "images" / split)
    status, printed = check("folder", root)
    assert status == 1 and printed.endswith(f"1 problem (not opened: {split})\n")
    assert f"{split}: cannot be opened: {root}: has no split {split}" in printed


def test_nothing_there_at_all(tmp_path, check):
    status, printed = check("camvid", tmp_path / "none")
    assert status == 1 and printed.endswith("2 problems (not opened: train, val, test)\n")
    assert printed.count(f"{tmp_path / 'none'}: no such folder") == 3


@pytest.mark.parametrize(
    ("split", "said"), [("test", "labels of Own's split 'test' are not public"), ("valid", "Own has no split 'valid'")]
)
def test_splits_that_cannot_be_checked(check, split, said):
    status, printed = check(OWN, "--splits", split)
    assert status == 1 and said in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "error: no data set is called 'nothing'"),
        (["scenes", '--options={"sise": 64}'], "error: --options: scenes: got an unexpected keyword argument 'sise'"),
        (["scenes", '--options={"split": "val"}'], "error: --options: scenes: "),
    ],
)
@pytest.mark.parametrize("command", ["check", "show"])
def test_what_cannot_be_meant_ends_with_a_message(command, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(["data", command, *arguments])
    assert ended.value.code.startswith(said)


@pytest.mark.parametrize("workers", ["0", "-1", "many"])
def test_number_of_processes_is_positive(workers, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", "scenes", f"--workers={workers}"])
    assert ended.value.code == 2 and "workers" in capsys.readouterr().err


# show


def test_show_writes_a_png(root, tmp_path, capsys):
    main(["data", "show", "folder", str(root), "--split", "val", "--output", str(tmp_path / "new/sheet.png")])
    assert capsys.readouterr().out == f"written: {tmp_path / 'new/sheet.png'}\n"
    with Image.open(tmp_path / "new/sheet.png") as written:
        assert written.format == "PNG" and min(written.size) > 300


def test_show_names_the_file_by_data_set_and_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["data", "show", "scenes", '--options={"size": 64}', "--samples=1"])
    assert [path.name for path in tmp_path.iterdir()] == ["scenes_train.png"]


def test_show_does_not_overwrite_unless_asked_to(tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "sheet.png").write_bytes(b"mine")
    arguments = ["data", "show", "scenes", '--options={"size": 64}', "--samples=1", "--output=$HERE/sheet.png"]
    with pytest.raises(SystemExit, match=r"sheet\.png: would be overwritten; .*--overwrite"):
        main(arguments)
    assert (tmp_path / "sheet.png").read_bytes() == b"mine"
    main([*arguments, "--overwrite"])
    assert Image.open(tmp_path / "sheet.png").format == "PNG" and len(list(tmp_path.iterdir())) == 1


def test_show_into_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="error: .*cannot be written"):
        main(["data", "show", "scenes", '--options={"size": 64}', "--samples=1", f"--output={tmp_path}/file/sheet.png"])


def test_show_of_a_copy_that_cannot_be_opened(tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["data", "show", "folder", str(tmp_path)])
    assert ended.value.code.startswith(f"error: {tmp_path}: has no split train")


def test_sheet_shows_pictures_masks_and_overlays_of_evenly_spaced_samples():
    dataset = Scenes(None, "val", 64)
    figure = sheet(dataset, 3)
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == 9 and [axis.get_title() for axis in panels[:3]] == ["picture", "mask", "overlay"]
    for row, index in enumerate((0, 99, 199)):
        image, mask = dataset.read(index)
        picture, colours, overlaid = panels[3 * row : 3 * row + 3]
        assert picture.get_ylabel() == f"val_{index:05d}"
        assert np.array_equal(picture.images[0].get_array(), image)
        assert np.array_equal(colours.images[0].get_array(), Scenes.classes.colorize(mask))
        painted, void = overlaid.images[0].get_array(), mask == 255
        assert np.array_equal(painted[void], image[void]), "void is not painted"
        assert np.array_equal(painted[~void], overlay(image, Scenes.classes.colorize(mask))[~void]) and 0 < void.mean() < 1


def bars_of(figure) -> dict[str, tuple]:
    """Length and colour of each bar, by the name beside it."""
    found = {}
    for axis in (axis for axis in figure.axes if not axis.images):
        for label, bar in zip(axis.get_yticklabels(), axis.patches, strict=True):
            found[label.get_text()] = (
                bar.get_width(),
                tuple(np.round(np.array(bar.get_facecolor()[:3]) * 255).astype(int).tolist()),
            )
    return found


def test_sheet_names_the_classes_that_occur_with_their_shares_and_colours():
    dataset = Own(None, "train", train=[1, 3])
    bars = bars_of(sheet(dataset))
    # White, because black is a class here.
    assert list(bars) == ["green", "void"] and bars["void"][1] == (255, 255, 255) and bars["green"][1] == (0, 255, 0)
    assert bars["green"][0] == pytest.approx(20 / 24) and bars["void"][0] == pytest.approx(4 / 24)


@pytest.mark.parametrize(
    ("colours", "void"),
    [
        ([[0, 0, 142], [255, 255, 255], [70, 70, 70], [9, 99, 9]], (0, 0, 0)),
        ([[10, 10, 10], [0, 0, 142], [70, 70, 70], [9, 99, 9]], (255, 255, 255)),
        ([[0, 0, 0], [255, 255, 255], [70, 70, 70], [9, 99, 9]], (255, 0, 255)),
    ],
)
def test_sheet_paints_void_in_a_colour_unlike_those_of_the_classes(root, colours, void):
    layout.write_classes(root, colors=colours)
    figure = sheet(Folder(root, "val"))
    assert bars_of(figure)["void"][1] == void
    painted, unknown = figure.axes[1].images[0].get_array(), layout.mask_of("val", "d") == 255
    assert np.array_equal((painted == void).all(2), unknown)


def test_sheet_says_what_the_shares_are_of():
    dataset = Own(None, "train", train=[1, 2, 3])
    figure = sheet(dataset, 2)
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert titles == ["Own, train: 2 of 3 samples", "share of all pixels of the 2 samples shown"]
    assert sheet(dataset, 1).subfigs[1].get_suptitle() == "share of all pixels of the 1 sample shown"
    assert len([axis for axis in sheet(dataset, 9).axes if axis.images]) == 9


def test_sheet_takes_as_many_classes_as_there_are(tmp_path):
    ids = np.kron(np.arange(150, dtype=np.uint8).reshape(10, 15), np.ones((4, 4), np.uint8))
    for kind, pixels in ("images", np.zeros((40, 60, 3), np.uint8)), ("masks", ids):
        (tmp_path / kind / "train").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / kind / "train/x.png")
    layout.write_classes(tmp_path, names=[f"class {n}" for n in range(150)], colors=None)
    figure = sheet(Folder(tmp_path, "train"))
    assert list(bars_of(figure)) == [f"class {n}" for n in range(150)]
    figure.savefig(tmp_path / "sheet.png")
    # No bar outside what is drawn of its chart.
    for axis in (axis for axis in figure.axes if not axis.images):
        low, high = sorted(axis.get_ylim())
        assert all(low <= bar.get_y() and bar.get_y() + bar.get_height() <= high for bar in axis.patches)


def test_a_process_killed_while_reading_ends_the_check_with_a_message():
    with pytest.raises(DataError, match="was killed.*--workers"):
        check_split(Killed(None, "train", train=[1] * 40), workers=2)

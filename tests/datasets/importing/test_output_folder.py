"""Splits, and protection of existing files."""

from pathlib import Path

import pytest
from helpers.files import files_below, touch
from helpers.importing import annotated

from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.importing import output_folder
from refinenet_pl.datasets.importing.writer import write
from refinenet_pl.errors import DataError


def test_splits_depend_on_names_only(tmp_path):
    names = [f"n{index}" for index in range(20)]
    sizes = write(annotated(tmp_path / "in", *names), tmp_path / "out").sizes
    assert sizes == {"train": 16, "val": 4}
    write(annotated(tmp_path / "in", *names[::-1]), tmp_path / "again")
    assert files_below(tmp_path / "out") == files_below(tmp_path / "again")
    assert write(annotated(tmp_path / "in", "a", "b"), tmp_path / "two", val_share=0.01).sizes == {"train": 1, "val": 1}
    with pytest.raises(DataError, match="a single image cannot be divided.*--split"):
        write(annotated(tmp_path / "in", "a"), tmp_path / "one")
    with pytest.raises(DataError, match="no images to import"):
        write(annotated(tmp_path / "in"), tmp_path / "none", split="train")
    own = annotated(tmp_path / "in", "a", "b")
    own.images[0].split, own.images[1].split = "test", "train"
    for choice in {"split": "val"}, {"val_share": 0.5}:
        with pytest.raises(DataError, match=f"defines its splits .test, train.; remove --{next(iter(choice))}"):
            write(own, tmp_path / "own", **choice)
    assert write(own, tmp_path / "own").sizes == {"train": 1, "test": 1}


@pytest.mark.parametrize("names", [("a/b", "a_b"), ("A", "a"), (".a", "b")])
def test_names_that_the_dataset_would_confuse_or_skip(tmp_path, names):
    with pytest.raises(DataError, match="would both be named|begin with a dot"):
        write(annotated(tmp_path / "in", *names), tmp_path / "out", split="train")


def test_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(annotated(Path("in"), "a"), Path("out"), split="train", link=True)
    assert Path("out/images/train/a.jpg").readlink() == tmp_path / "in/a.jpg" and len(Folder("out", "train")) == 1


def test_a_second_import_adds_a_split_with_the_same_classes(tmp_path):
    write(annotated(tmp_path / "in", "a"), tmp_path / "out", split="train")
    write(annotated(tmp_path / "in", "b", classes="dog cat"), tmp_path / "out", split="val")
    val = Folder(tmp_path / "out", "val")
    assert val.classes.names == ("background", "cat", "dog") and val.read(0)[1][0, [0, 19]].tolist() == [1, 2]
    with pytest.raises(DataError, match="classes.yaml: lacks the class 'cow' of source"):
        write(annotated(tmp_path / "in", "c", classes="cow cat dog"), tmp_path / "out", split="test")
    assert not (tmp_path / "out/images/test").exists()


def test_existing_splits_are_replaced_only_on_request(tmp_path):
    output = tmp_path / "out"
    write(annotated(tmp_path / "in", "a"), output, split="train")
    before = files_below(output)
    with pytest.raises(DataError, match="out/images/train: exists; .*--overwrite"):
        write(annotated(tmp_path / "in", "b"), output, split="train")
    assert files_below(output) == before
    write(annotated(tmp_path / "in", "b", classes="cow cat dog"), output, split="train", overwrite=True)
    assert files_below(output) == ["classes.yaml", "images/train/b.jpg", "masks/train/b.png"]
    assert Folder(output, "train").classes.names == ("background", "cow", "cat", "dog")


def test_failed_move_restores_the_old_dataset(tmp_path, monkeypatch):
    output = tmp_path / "out"
    write(annotated(tmp_path / "in", "a"), output, split="train")
    before = {name: (output / name).read_bytes() for name in files_below(output)}
    rename = Path.rename

    def fail(source: Path, target: Path) -> Path:
        if source.parts[-2:] == ("images", "train") and source.parts[-3] == "new":
            raise OSError("no space")
        return rename(source, target)

    monkeypatch.setattr(output_folder.Path, "rename", fail)
    with pytest.raises(OSError, match="no space"):
        write(annotated(tmp_path / "in", "b"), output, split="train", overwrite=True)
    assert {name: (output / name).read_bytes() for name in files_below(output)} == before


@pytest.mark.parametrize(
    ("existing", "problem"),
    [("notes.txt", "contains other files"), ("train.txt", "has lists of its splits"), ("", "is a file")],
)
def test_other_files_are_never_replaced(tmp_path, existing, problem):
    output = tmp_path / "out"
    touch(output if existing else tmp_path, existing or "out")
    if existing == "train.txt":
        touch(output, "classes.yaml")
    with pytest.raises(DataError, match=problem):
        write(annotated(tmp_path / "in", "a"), output, split="train", overwrite=True)

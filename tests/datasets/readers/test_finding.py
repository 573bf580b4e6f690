"""Files below folders, text files, and the names in them."""

import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.files import touch
from helpers.layouts import voc2012

from refinenet_pl.datasets.readers.finding import find_files
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, match_name, read_names, read_text, suggest_name
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.errors import DataError

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_files(folder, IMAGE_EXTENSIONS)[0]]


def test_sorts_files_and_counts_other_entries(tmp_path):
    touch(tmp_path, "b.JPG", "a.png", "in/c.tif", "._a.png", "in/.d.png", ".ipynb_checkpoints/a.png", "x.txt", "in/y.TXT", "z")
    for link, target in ("e.png", "nothing"), ("f.png", "f.png"), ("note", "nothing"):
        (tmp_path / link).symlink_to(target)
    _, left_out = find_files(tmp_path, IMAGE_EXTENSIONS)
    assert found(tmp_path) == ["a.png", "b.JPG", "in/c.tif"]
    assert (left_out.hidden_files, left_out.hidden_folders) == (2, 1)
    assert left_out.others == Counter({".txt": 2, "": 2}) and sorted(p.name for p in left_out.broken) == ["e.png", "f.png"]
    assert str(left_out).startswith("2 hidden files, 1 hidden folder, 4 files of other types (.txt, without extension)")
    assert str(find_files(tmp_path / "in", (".tif", ".png", ".txt"))[1]) == "1 hidden file"


def test_searches_a_given_hidden_folder(tmp_path):
    touch(tmp_path, ".cache/images/a.png")
    files, left_out = find_files(tmp_path / ".cache", IMAGE_EXTENSIONS)
    assert files == [tmp_path / ".cache/images/a.png"] and str(left_out) == ""


def test_follows_links_but_not_circles(tmp_path):
    touch(tmp_path, "here/a.png", "elsewhere/b.png", "elsewhere/deep/c.png")
    (tmp_path / "here/link").symlink_to("../elsewhere")
    (tmp_path / "here/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "here")
    (tmp_path / "elsewhere/deep/self").symlink_to(".")
    assert found(tmp_path / "here") == ["a.png", "again/b.png", "again/deep/c.png", "link/b.png", "link/deep/c.png"]
    assert len(find_files(tmp_path / "here", IMAGE_EXTENSIONS)[1].circular) == 4


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="none: cannot be listed"):
        find_files(tmp_path / "none", IMAGE_EXTENSIONS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can list every folder")
def test_folder_without_permission(tmp_path):
    touch(tmp_path, "locked/a.png")
    (tmp_path / "locked").chmod(0)
    _, left_out = find_files(tmp_path, IMAGE_EXTENSIONS)
    assert "1 folder that cannot be listed" in str(left_out)
    with pytest.raises(DataError, match="locked: this folder cannot be listed"):
        left_out.refuse_unreadable()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_of_any_operating_system(tmp_path, encoding, end):
    mark = "\ufeff" if "mark" in encoding else ""
    text = f"{mark}Käfer 甲{end}{end} b 1.5{end}"
    (tmp_path / "list.txt").write_bytes(text.encode(encoding.removesuffix("-mark")))
    assert read_text(tmp_path / "list.txt") == "Käfer 甲\n\n b 1.5\n"
    assert read_names(tmp_path / "list.txt") == ["Käfer 甲", " b 1.5"]


@pytest.mark.parametrize(
    "content",
    ["Käfer".encode("cp1252"), "Käfer".encode("utf-16-le"), b"\xff\xfea", "a".encode("utf-32"), b"\x89PNG\r\n\x1a\n"],
)
def test_refuses_text_in_other_encodings(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"list\.txt: .*is not UTF-8; save it as UTF-8"):
        read_text(tmp_path / "list.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path)


KNOWN = {"frame_1", "frame_1.5", "1305031102.175304", "my image", " odd ", COMPOSED, "in/a", "scan.png"}
MATCHES = {
    "frame_1.5": "frame_1.5", "frame_1.jpg": "frame_1", "frame_1.5.PNG": "frame_1.5", " frame_1 ": "frame_1", " odd ": " odd ",
    "1305031102.175304": "1305031102.175304", "my image": "my image", "my image.tif \t": "my image", "scan.png": "scan.png",
    DECOMPOSED: COMPOSED, DECOMPOSED + ".jpg": COMPOSED, "in\\a.png": "in/a", "./in/a": "in/a",
}  # fmt: skip
SUGGESTIONS = {
    "images/frame_1.jpg masks/frame_1.png": "frame_1", "frame_1.5,masks/x.png": "frame_1.5",
    "/data/images/my image.jpg": "my image", "C:\\images\\in\\a.png": "in/a",
}  # fmt: skip


@pytest.mark.parametrize("entry", [*MATCHES, "frame_1.txt", "scan", ""])
def test_match_name(entry):
    assert match_name(entry, KNOWN) == MATCHES.get(entry)


@pytest.mark.parametrize("entry", SUGGESTIONS)
def test_suggest_name(entry):
    assert suggest_name(entry, KNOWN) == f"write '{SUGGESTIONS[entry]}' instead of '{entry}'"
    assert suggest_name("other", KNOWN) == ""


def test_dataset_names_in_both_unicode_forms(tmp_path):
    voc2012.build(tmp_path)
    home = tmp_path / "VOCdevkit/VOC2012"
    name = voc2012.TRAIN[0]
    for file, form in (home / f"JPEGImages/{name}.jpg", COMPOSED), (home / f"SegmentationClass/{name}.png", DECOMPOSED):
        file.rename(file.with_name(form + file.suffix))
    for form in COMPOSED, DECOMPOSED:
        (home / "ImageSets/Segmentation/train.txt").write_text(form, encoding="utf-8")
        dataset = find_dataset("voc2012")(root=tmp_path, split="train")
        assert len(dataset) == 1 and np.array_equal(dataset.read(0)[1], voc2012.mask_of(name))

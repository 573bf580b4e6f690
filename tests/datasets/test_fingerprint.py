"""Descriptions of datasets' local copies."""

import pytest

from refinenet_pl.datasets.cache import CACHE
from refinenet_pl.datasets.fingerprint import describe_dataset
from refinenet_pl.datasets.scenes import Scenes


@pytest.fixture
def root(tmp_path):
    for file in ("train/a.png", "train/b.png", "val.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"1234")
    return tmp_path


def describe(root, options=None, split="val"):
    splits = {split: Scenes(split=split, size=64, samples=3)}
    return describe_dataset("folder", root, options or {}, splits, Scenes.classes)


def test_facts(root):
    found = describe(root)
    assert (found["name"], found["root"], found["samples"]) == ("folder", str(root), {"val": 3})
    assert (found["files"], found["bytes"], found["names"]) == (3, 12, list(Scenes.classes.names))
    assert describe(None)["files"] == 0


def test_fingerprint_depends_on_files_and_options_only(root):
    before = describe(root)["fingerprint"]
    (root / CACHE).mkdir()
    (root / CACHE / "a.npy").write_bytes(b"1")
    (root / ".hidden").write_bytes(b"1")
    assert describe(root, split="train")["fingerprint"] == before
    others = {describe(root, {"size": 3})["fingerprint"], describe(None)["fingerprint"]}
    (root / "val.txt").write_bytes(b"12345")
    others.add(describe(root)["fingerprint"])
    (root / "val.txt").rename(root / "test.txt")
    others.add(describe(root)["fingerprint"])
    assert len(others - {before}) == 4

"""Behavior that all datasets with files share, as base classes of their tests."""

import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision import tv_tensors

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets import cache
from refinenet_pl.datasets.file_pairs import PairedDataset
from refinenet_pl.errors import DataError


@contextmanager
def hidden(path: Path, root: Path) -> Iterator[None]:
    """Move a file or folder out of the dataset's root for the duration of the block."""
    elsewhere = path.rename(root.parent / "hidden")
    yield
    elsewhere.rename(path)


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """Replace the content of a file for the duration of the block."""
    before = path.read_bytes()
    path.write_bytes(content)
    yield
    path.write_bytes(before)


@contextmanager
def refused(*named: object) -> Iterator[None]:
    """Expect a DataError that names these files and facts."""
    with pytest.raises(DataError) as error:
        yield
    for thing in named:
        assert str(thing) in str(error.value)


def pngs_in(folder: Path) -> dict[Path, tuple[int, int]]:
    """The PNGs of a folder, with properties that change if a file is written again."""
    files = {path: path.stat() for path in folder.rglob("*.png")}
    return {path: (status.st_ino, status.st_mtime_ns) for path, status in files.items()}


class DatasetBehavior:
    """Tests of a dataset on a small copy. Subclasses set the attributes and add tests of what is special to the dataset.

    Attributes:
        name: Name of the dataset in the registry.
        dataset: The class.
        layout: Module of `helpers.layouts` that writes the copy.
        options: Further arguments of the class.
        split: Split on which errors are tested.
        val_split: Split to validate on.
        files: Files that are required to open the split, including its lists.
        folders: Folders that are required to open the split.
        lists: Text files with one sample per line.
        split_folders: Folders whose content defines the split.
        unknown_values: Values in a mask file that are neither a class nor void.
    """

    name: ClassVar[str]
    dataset: ClassVar[type[PairedDataset]]
    layout: ClassVar[ModuleType]
    options: ClassVar[dict[str, Any]] = {}
    split: ClassVar[str] = "train"
    val_split: ClassVar[str] = "val"
    files: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[tuple[str, ...]] = ()
    lists: ClassVar[tuple[str, ...]] = ()
    split_folders: ClassVar[tuple[str, ...]] = ()
    unknown_values: ClassVar[tuple[int, ...]]

    def build(self, root: Path) -> None:
        self.layout.build(root)

    def names(self, split: str) -> list[str]:
        return list(self.layout.SPLITS[split])

    def image_of(self, root: Path, name: str) -> np.ndarray:
        return np.array(Image.open(root / self.layout.image_path(name)).convert("RGB"))

    def mask_of(self, name: str) -> np.ndarray:
        return self.layout.mask_of(name)

    @pytest.fixture(scope="class")
    def built(self, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp(self.name)
        self.build(folder)
        return folder

    @pytest.fixture
    def root(self, built, tmp_path) -> Path:
        """A copy that a test may change."""
        return shutil.copytree(built, tmp_path / "root")

    def open(self, root: Path | str | None, split: str | None = None, **options: Any) -> PairedDataset:
        return self.dataset(root, split or self.split, **{**self.options, **options})

    def refuses_to_open(self, root: Path | str | None, *named: object, split: str | None = None, **options: Any) -> None:
        with refused(*named):
            self.open(root, split, **options)

    def refuses_to_read(self, dataset: PairedDataset, *named: object) -> None:
        with refused(*named):
            dataset[0]

    def test_samples(self, root):
        for split in self.layout.SPLITS:
            dataset, names = self.open(root, split), self.names(split)
            assert len(dataset) == len(names)
            assert [dataset.name(index) for index in range(len(dataset))] == names and len(set(names)) == len(names)
            for index, name in enumerate(names):
                image, mask = dataset.read(index)
                assert image.dtype == mask.dtype == np.uint8 and image.shape == (*mask.shape, 3)
                assert np.array_equal(image, self.image_of(root, name)) and np.array_equal(mask, self.mask_of(name))
                item = dataset[index]
                assert item["name"] == name and item["image"].dtype == torch.uint8 and item["mask"].dtype == torch.int64
                assert isinstance(item["image"], tv_tensors.Image) and isinstance(item["mask"], tv_tensors.Mask)
                assert np.array_equal(item["image"].permute(1, 2, 0), image) and np.array_equal(item["mask"], mask)

    def test_batches(self, root):
        splits = "train" if self.split == self.val_split else self.split, self.val_split
        options = {"global_batch": 2, "crop_size": (48, 40), "num_workers": 0}
        data = SegmentationDataModule(self.name, str(root), self.options, *splits, **options)
        data.setup("fit")
        train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
        assert train["image"].shape == (2, 3, 48, 40) and train["mask"].shape == (2, 48, 40)
        name = self.names(self.val_split)[0]
        assert val["name"] == [name] and np.array_equal(val["mask"][0].numpy(), self.mask_of(name))

    def test_can_be_sent_to_worker_processes(self, root):
        dataset = self.open(root)
        received = pickle.loads(pickle.dumps(dataset))
        assert received.samples == dataset.samples
        assert all(np.array_equal(*pair) for pair in zip(received.read(0), dataset.read(0), strict=True))

    def test_root_that_is_not_a_folder(self, root, tmp_path):
        (tmp_path / "file").touch()
        for wrong in tmp_path / "nowhere", tmp_path / "file":
            self.refuses_to_open(wrong, f"{wrong}: no such folder", self.dataset.source)
        self.refuses_to_open(None, self.dataset.__name__, self.dataset.source)

    def test_root_is_expanded(self, root, monkeypatch):
        monkeypatch.setenv("HOME", str(root.parent))
        monkeypatch.setenv("DATA", str(root))
        for given in root, f"~/{root.name}", "$DATA":
            dataset = self.open(given)
            assert dataset.root == root and len(dataset) == len(self.names(self.split))
            assert self.dataset.classes_of(given) == dataset.classes
        self.refuses_to_open("$NOT_SET/x", "variable NOT_SET is not set")

    def test_split_without_public_labels_or_samples(self, root):
        self.refuses_to_open(root, self.dataset.__name__, "'unknown'", *self.dataset.split_sizes, split="unknown")
        for split in self.dataset.unlabeled_sizes:
            self.refuses_to_open(root, f"{split!r} are not public", "--submission", split=split)

    def test_missing_files_and_folders(self, root):
        for file in self.files:
            with hidden(root / file, root):
                self.refuses_to_open(root, root / file)
        for folder in self.folders:
            with hidden(root / folder, root):
                self.refuses_to_open(root, root, Path(folder).name, self.dataset.source)

    def test_lists_saved_on_windows_with_blank_lines(self, root):
        samples = self.open(root).samples
        for path in root.rglob("*.txt"):
            path.write_bytes(f"\n{path.read_text()}".replace("\n", "\r\n \r\n").encode("utf-16"))
        assert self.open(root).samples == samples

    def test_lists_without_samples(self, root):
        for file in self.lists:
            with changed(root / file, b"\n  \n"):
                self.refuses_to_open(root, root / file, "no images")

    def test_ignores_hidden_files(self, root):
        samples = self.open(root).samples
        for path in list(root.rglob("*")):
            (path.parent / f"._{path.name}").write_bytes(b"Mac OS X")
        assert self.open(root).samples == samples

    def test_split_without_images(self, root):
        for folder in self.split_folders:
            shutil.rmtree(root / folder)
            (root / folder).mkdir()
        if self.split_folders:
            self.refuses_to_open(root, root, "no images", self.dataset.source)

    def test_files_that_are_damaged_or_lost_after_opening(self, root):
        dataset = self.open(root)
        for path in dataset.samples[0].image, dataset.samples[0].mask:
            with changed(path, path.read_bytes()[: path.stat().st_size // 2]):
                self.refuses_to_read(dataset, path, "cannot be read as an image")
            with hidden(path, root):
                self.refuses_to_read(dataset, path, "no such file")

    def test_mask_with_an_unknown_value(self, root):
        dataset = self.open(root)
        path = dataset.samples[0].mask
        for value in self.unknown_values:
            with Image.open(path) as mask:
                mask.putpixel((5, 3), value)
            mask.save(path)
            self.refuses_to_read(dataset, path, f" {value} in 1 pixel")

    def test_mask_of_another_size(self, root):
        dataset = self.open(root)
        sample, (height, width) = dataset.samples[0], self.mask_of(self.names(self.split)[0]).shape
        Image.new("L", (width - 1, height)).save(sample.mask)
        self.refuses_to_read(dataset, f"{sample.image} is {width}x{height}", f"{sample.mask} is {width - 1}x{height}")


class CachedDatasetBehavior(DatasetBehavior):
    """Tests of a dataset that converts files to PNGs.

    Attributes:
        cached: Number of PNGs that opening the split creates.
        mat_files: Files in formats up to MATLAB 7, each with the variable that is read.
        wrong_mat_files: Some of these files with content that is refused, and the problem that is named.
        hdf5_files: Files in format MATLAB 7.3, each with the variables that are read.
    """

    cached: ClassVar[int]
    mat_files: ClassVar[dict[str, str]] = {}
    wrong_mat_files: ClassVar[list[tuple[str, dict[str, Any], str]]] = []
    hdf5_files: ClassVar[dict[str, tuple[str, ...]]] = {}

    def test_conversion_is_cached(self, root):
        self.open(root)
        before = pngs_in(root / "refinenet_pl_cache")
        assert len(before) == self.cached
        self.open(root)
        assert pngs_in(root / "refinenet_pl_cache") == before

    def test_cache_in_another_folder(self, root, tmp_path):
        before = pngs_in(root)
        dataset = self.open(root, cache=str(tmp_path / "elsewhere"))
        assert np.array_equal(dataset.read(0)[1], self.mask_of(self.names(self.split)[0]))
        assert len(pngs_in(tmp_path / "elsewhere")) == self.cached and pngs_in(root) == before

    def test_conversion_by_several_processes(self, root, monkeypatch):
        monkeypatch.setattr(cache, "FEW", 0)
        image, mask = self.open(root).read(1)
        name = self.names(self.split)[1]
        assert np.array_equal(image, self.image_of(root, name)) and np.array_equal(mask, self.mask_of(name))

    def test_missing_or_damaged_source(self, root):
        for file in (*self.mat_files, *self.hdf5_files):
            path = root / file
            with hidden(path, root):
                self.refuses_to_open(root, path, "no such file")
            # Within the header, and within the first variable, because others may not be read.
            for size in 0, 100, 180 if file in self.mat_files else path.stat().st_size // 2:
                with changed(path, path.read_bytes()[:size]):
                    self.refuses_to_open(root, path)

    def test_sources_with_other_content(self, root):
        without_variable = [(file, {"other": np.ones((3, 1))}, variable) for file, variable in self.mat_files.items()]
        for file, content, problem in [*self.wrong_mat_files, *without_variable]:
            before = (root / file).read_bytes()
            scipy.io.savemat(root / file, content)
            self.refuses_to_open(root, root / file, problem)
            (root / file).write_bytes(before)
        for file, variables in self.hdf5_files.items():
            for variable in variables:
                before = (root / file).read_bytes()
                with h5py.File(root / file, "r+") as content:
                    del content[variable]
                self.refuses_to_open(root, root / file, Path(variable).name)
                (root / file).write_bytes(before)

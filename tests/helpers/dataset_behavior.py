"""Behavior that all datasets with files share, as base classes of their tests."""

import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

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
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """Replace the content of a file, or remove the file if it is None, for the duration of the block."""
    before = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    yield
    path.write_bytes(before)


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
        has_void: True if masks of the copy contain void.
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
    has_void: ClassVar[bool] = True

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

    def opening_error(self, root: Path | str | None, split: str | None = None, **options: Any) -> str:
        with pytest.raises(DataError) as error:
            self.open(root, split, **options)
        return str(error.value)

    def reading_error(self, dataset: PairedDataset, index: int = 0) -> str:
        with pytest.raises(DataError) as error:
            dataset[index]
        return str(error.value)

    def test_samples(self, root):
        for split in self.layout.SPLITS:
            dataset, names = self.open(root, split), self.names(split)
            assert len(dataset) == len(names)
            assert [dataset.name(index) for index in range(len(dataset))] == names and len(set(names)) == len(names)
            for index, name in enumerate(names):
                image, mask = dataset.read(index)
                assert image.dtype == mask.dtype == np.uint8 and image.shape == (*mask.shape, 3)
                assert np.array_equal(image, self.image_of(root, name)) and np.array_equal(mask, self.mask_of(name))

    def test_all_classes_and_void_occur(self, root):
        classes = self.dataset.classes_of(root)
        ids = {label for split in self.layout.SPLITS for name in self.names(split) for label in np.unique(self.mask_of(name))}
        assert ids == {*range(len(classes)), *[classes.ignore_index] * self.has_void}

    def test_item_is_a_dict_of_tensors(self, root):
        name = self.names(self.split)[0]
        item = self.open(root)[0]
        assert item["name"] == name
        assert isinstance(item["image"], tv_tensors.Image) and item["image"].dtype == torch.uint8
        assert isinstance(item["mask"], tv_tensors.Mask) and item["mask"].dtype == torch.int64
        assert np.array_equal(item["image"].numpy(), self.image_of(root, name).transpose(2, 0, 1))
        assert np.array_equal(item["mask"].numpy(), self.mask_of(name))

    def test_batches(self, root):
        splits = "train" if self.split == self.val_split else self.split, self.val_split
        data = SegmentationDataModule(
            self.name, str(root), self.options, *splits, global_batch=2, crop_size=(48, 40), num_workers=0
        )
        data.setup("fit")
        train, val = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))
        assert train["image"].shape == (2, 3, 48, 40) and train["image"].dtype == torch.uint8
        assert train["mask"].shape == (2, 48, 40) and train["mask"].dtype == torch.int64
        assert set(train["mask"].unique().tolist()) <= {*range(len(data.classes)), data.classes.ignore_index}
        name = self.names(self.val_split)[0]
        assert val["name"] == [name] and np.array_equal(val["mask"][0].numpy(), self.mask_of(name))

    def test_can_be_sent_to_worker_processes(self, root):
        dataset = self.open(root)
        received = pickle.loads(pickle.dumps(dataset))
        assert received.samples == dataset.samples
        assert all(np.array_equal(*pair) for pair in zip(received.read(0), dataset.read(0), strict=True))

    def test_classes_of(self, root):
        assert self.dataset.classes_of(root) == self.dataset.classes_of(str(root)) == self.open(root).classes

    def test_root_that_is_not_a_folder(self, root, tmp_path):
        (tmp_path / "file").touch()
        for wrong in tmp_path / "nowhere", tmp_path / "file":
            message = self.opening_error(wrong)
            assert f"{wrong}: no such folder" in message and self.dataset.source in message
        message = self.opening_error(None)
        assert self.dataset.__name__ in message and "give its folder as root" in message and self.dataset.source in message

    def test_root_is_expanded(self, root, monkeypatch):
        monkeypatch.setenv("HOME", str(root.parent))
        monkeypatch.setenv("DATA", str(root))
        for given in f"~/{root.name}", "$DATA":
            dataset = self.open(given)
            assert dataset.root == root and len(dataset) == len(self.names(self.split))
            assert self.dataset.classes_of(given) == dataset.classes
        assert "variable NOT_SET is not set" in self.opening_error("$NOT_SET/x")

    def test_split_without_public_labels_or_samples(self, root):
        message = self.opening_error(root, "unknown")
        assert f"{self.dataset.__name__} has no split 'unknown'" in message and ", ".join(self.dataset.split_sizes) in message
        for split in self.dataset.unlabeled_sizes:
            message = self.opening_error(root, split)
            assert f"{split!r} are not public" in message and "--submission" in message

    def test_missing_files_and_folders(self, root):
        for file in self.files:
            with hidden(root / file, root):
                assert str(root / file) in self.opening_error(root)
        for folder in self.folders:
            with hidden(root / folder, root):
                message = self.opening_error(root)
                assert str(root) in message and Path(folder).name in message and self.dataset.source in message

    def test_lists_with_blank_lines_or_without_samples(self, root):
        samples = self.open(root).samples
        for file in self.lists:
            content = (root / file).read_bytes()
            with changed(root / file, b"\n" + content.replace(b"\n", b"\n \n")):
                assert self.open(root).samples == samples
            for empty in b"", b"\n  \n":
                with changed(root / file, empty):
                    message = self.opening_error(root)
                    assert str(root / file) in message and "no images" in message

    def test_lists_saved_on_windows(self, root):
        samples = self.open(root).samples
        texts = {path: path.read_text() for path in root.rglob("*.txt")}
        for encoding in "utf-8-sig", "utf-16":
            for path, text in texts.items():
                path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
            assert self.open(root).samples == samples

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
            message = self.opening_error(root)
            assert str(root) in message and "no images" in message and self.dataset.source in message

    def test_files_that_are_damaged_or_lost_after_opening(self, root):
        dataset = self.open(root)
        for path in dataset.samples[0].image, dataset.samples[0].mask:
            with changed(path, path.read_bytes()[: path.stat().st_size // 2]):
                message = self.reading_error(dataset)
                assert str(path) in message and "cannot be read as an image" in message
            for content, problem in (b"", "is empty"), (b"<html><body>404</body></html>", "is a web page"):
                with changed(path, content):
                    message = self.reading_error(dataset)
                    assert str(path) in message and problem in message
            with changed(path, None):
                message = self.reading_error(dataset)
                assert str(path) in message and "no such file" in message

    def test_mask_with_an_unknown_value(self, root):
        dataset = self.open(root)
        path = dataset.samples[0].mask
        for value in self.unknown_values:
            with Image.open(path) as mask:
                mask.putpixel((5, 3), value)
            mask.save(path)
            message = self.reading_error(dataset)
            assert str(path) in message and f" {value} in 1 pixel" in message

    def test_mask_of_another_size(self, root):
        dataset = self.open(root)
        sample, (height, width) = dataset.samples[0], self.mask_of(self.names(self.split)[0]).shape
        for size in (height, width - 1), (height + 1, width):
            Image.fromarray(np.zeros(size, np.uint8)).save(sample.mask)
            message = self.reading_error(dataset)
            assert f"{sample.image} is {width}x{height}" in message and f"{sample.mask} is {size[1]}x{size[0]}" in message


class CachedDatasetBehavior(DatasetBehavior):
    """Tests of a dataset that converts files to PNGs.

    Attributes:
        cached: Number of PNGs that opening the split creates.
        mat_files: Files in formats up to MATLAB 7, each with the variable that is read.
        hdf5_files: Files in format MATLAB 7.3.
    """

    cached: ClassVar[int]
    mat_files: ClassVar[dict[str, str]] = {}
    hdf5_files: ClassVar[tuple[str, ...]] = ()

    def test_conversion_is_cached(self, root):
        self.open(root)
        before = pngs_in(root / "refinenet_pl_cache")
        assert len(before) == self.cached
        self.open(root)
        assert pngs_in(root / "refinenet_pl_cache") == before

    def test_interrupted_conversion_resumes(self, root):
        sample, name = self.open(root).samples[-1], self.names(self.split)[-1]
        for lost in (path for path in (sample.image, sample.mask) if "refinenet_pl_cache" in path.parts):
            before = pngs_in(root)
            lost.with_name(f".{lost.name}.4711").write_bytes(lost.read_bytes()[:100])
            lost.unlink()
            image, mask = self.open(root).read(len(self.names(self.split)) - 1)
            assert np.array_equal(image, self.image_of(root, name)) and np.array_equal(mask, self.mask_of(name))
            after = pngs_in(root)
            assert {path for path in before if before[path] != after[path]} == {lost}

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
                message = self.opening_error(root)
                assert str(path) in message and "no such file" in message
            # Within the header, and within the first variable, because others may not be read.
            for size in 0, 100, 180 if file in self.mat_files else path.stat().st_size // 2:
                with changed(path, path.read_bytes()[:size]):
                    message = self.opening_error(root)
                    assert str(path) in message and "opy it again" in message

    def test_source_without_the_variable(self, root):
        for file, variable in self.mat_files.items():
            before = (root / file).read_bytes()
            scipy.io.savemat(root / file, {"other": np.ones((3, 1))})
            message = self.opening_error(root)
            assert str(root / file) in message and variable in message
            (root / file).write_bytes(before)

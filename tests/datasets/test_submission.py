"""What evaluation servers take, written by the real `predict` from a real checkpoint."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer
from PIL import Image

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.cityscapes import LABEL_IDS
from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask


def checkpoint(folder: Path, dataset: str, **task) -> Path:
    """A checkpoint of a small network for a data set's classes, as fit would write it."""
    classes = find_dataset(dataset).classes
    outputs = len(classes) + (task.get("void_channel") is not None)
    torch.manual_seed(0)
    network = RefineNet("resnet18", None, classes=outputs, width=4, deepest_width=4, decoder_init="scaled")
    module = SegmentationTask(network, len(classes), classes.ignore_index, **task)
    module.data_classes = classes
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(module)
    path = folder / f"{dataset}.ckpt"
    trainer.save_checkpoint(path)
    return path


def street(path: Path, size=(60, 90)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(len(path.stem)).integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path


def predict(pictures: Path, *arguments: str) -> None:
    main(["predict", str(pictures), "--device", "cpu", *arguments])


def class_ids(folder: Path, pictures: Path, ckpt_path: Path, name: str) -> np.ndarray:
    """What the same network gives without a server in mind."""
    predict(pictures, "--ckpt_path", str(ckpt_path), "--output", str(folder / "plain"))
    return np.array(Image.open(folder / "plain" / f"{name}.png"))


def test_voc_gets_palette_pictures_in_its_folders(tmp_path):
    ckpt_path = checkpoint(tmp_path, "voc2012", protocol="paper", void_channel="last", short_edge=(40, 80))
    pictures = street(tmp_path / "JPEGImages" / "2008_000006.png").parent
    street(pictures / "2008_000011.png")
    street(pictures / "2007_000001.png")
    (tmp_path / "test.txt").write_text("2008_000006\n2008_000011\n")
    predict(
        pictures, "--ckpt_path", str(ckpt_path), "--output", str(tmp_path / "out"), "--submission", "voc",
        "--only", str(tmp_path / "test.txt"),
    )  # fmt: skip
    with tarfile.open(tmp_path / "out" / "voc2012.tar.gz") as archive:
        masks = [member for member in archive.getmembers() if member.isfile()]
        folder = "./results/VOC2012/Segmentation/comp6_test_cls"
        assert sorted(m.name for m in masks) == [f"{folder}/2008_000006.png", f"{folder}/2008_000011.png"]
        picture = Image.open(archive.extractfile(f"{folder}/2008_000006.png"))
        assert picture.mode == "P" and picture.getpalette()[:63] == [v for colour in VOC_PALETTE[:21] for v in colour]
        assert np.array_equal(np.array(picture), class_ids(tmp_path, pictures, ckpt_path, "2008_000006"))
        assert np.array(picture).max() <= 20, "void is no answer"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"voc2012", "voc2012.tar.gz"}


def test_cityscapes_gets_label_ids(tmp_path):
    ckpt_path = checkpoint(tmp_path, "cityscapes")
    name = "berlin_000000_000019_leftImg8bit"
    pictures = street(tmp_path / "berlin" / f"{name}.png").parent
    predict(pictures, "--ckpt_path", str(ckpt_path), "--output", str(tmp_path / "out"), "--submission", "cityscapes")
    with zipfile.ZipFile(tmp_path / "out" / "cityscapes.zip") as archive:
        assert [Path(n).name for n in archive.namelist() if n.endswith(".png")] == [f"{name}.png"]
        picture = Image.open(archive.open(next(n for n in archive.namelist() if n.endswith(".png"))))
        train_ids = class_ids(tmp_path, pictures, ckpt_path, name)
        assert picture.mode == "L"
        assert np.array_equal(np.array(picture), np.array(LABEL_IDS)[train_ids])
        assert len(np.unique(train_ids)) > 3


def test_ade20k_gets_ids_from_1(tmp_path):
    ckpt_path = checkpoint(tmp_path, "ade20k")
    pictures = street(tmp_path / "testing" / "ADE_test_00000001.png").parent
    predict(pictures, "--ckpt_path", str(ckpt_path), "--output", str(tmp_path / "out"), "--submission", "ade20k")
    with zipfile.ZipFile(tmp_path / "out" / "ade20k.zip") as archive:
        picture = Image.open(archive.open(next(n for n in archive.namelist() if n.endswith("ADE_test_00000001.png"))))
        expected = class_ids(tmp_path, pictures, ckpt_path, "ADE_test_00000001").astype(int) + 1
        assert np.array_equal(np.array(picture), expected) and len(np.unique(expected)) > 3


def test_a_network_of_other_classes_is_refused(tmp_path):
    ckpt_path = checkpoint(tmp_path, "camvid")
    pictures = street(tmp_path / "p" / "a.png").parent
    with pytest.raises(SystemExit, match="knows other classes than those that the server of voc asks for"):
        predict(pictures, "--ckpt_path", str(ckpt_path), "--output", str(tmp_path / "out"), "--submission", "voc")
    assert not (tmp_path / "out").exists()


def test_a_listed_picture_that_is_missing_is_named(tmp_path):
    ckpt_path = checkpoint(tmp_path, "voc2012")
    pictures = street(tmp_path / "p" / "a.png").parent
    (tmp_path / "test.txt").write_text("a\nb\n")
    with pytest.raises(SystemExit, match="lists b, which is not among the pictures"):
        predict(
            pictures, "--ckpt_path", str(ckpt_path), "--output", str(tmp_path / "out"), "--only", str(tmp_path / "test.txt")
        )


def test_scales_flips_and_tiles_can_be_chosen(tmp_path):
    ckpt_path = checkpoint(tmp_path, "camvid")
    pictures = street(tmp_path / "p" / "a.png", (97, 130)).parent
    masks = []
    for index, extra in enumerate(([], ["--scales=[0.5,1.0,1.5]"], ["--flip=true"], ["--tile=[40,40]"])):
        output = tmp_path / str(index)
        predict(pictures, "--ckpt_path", str(ckpt_path), "--output", str(output), *extra)
        masks.append(np.array(Image.open(output / "a.png")))
        assert masks[-1].shape == (97, 130)
    assert all((masks[0] != other).any() for other in masks[1:])
    with pytest.raises(SystemExit, match="scales"):
        predict(pictures, "--ckpt_path", str(ckpt_path), "--output", str(tmp_path / "x"), "--scales=[0]")

"""Archives for evaluation servers, written by `refinenet predict`."""

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.files import touch, write_noise
from lightning import Trainer
from PIL import Image

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.cityscapes import LABEL_IDS
from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask


def checkpoint(folder: Path, dataset: str, **task) -> Path:
    """Save a small network for the classes of a dataset like fit does."""
    classes = find_dataset(dataset).classes
    outputs = len(classes) + ("void_channel" in task)
    torch.manual_seed(0)
    network = RefineNet("resnet18", None, classes=outputs, width=4, deepest_width=4, decoder_init="scaled")
    module = SegmentationTask(network, len(classes), classes.ignore_index, **task)
    module.data_classes = classes
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(module)
    trainer.save_checkpoint(folder / f"{dataset}.ckpt")
    return folder / f"{dataset}.ckpt"


@pytest.fixture
def predict(tmp_path):
    """Run `predict` on the images below in/."""

    def run(ckpt_path: Path | str, *arguments: str, output: str = "out", images: str = "in") -> None:
        paths = [str(tmp_path / images), f"--ckpt_path={ckpt_path}", f"--output={tmp_path / output}"]
        main(["predict", *paths, "--device=cpu", *arguments])

    return run


def test_voc(tmp_path, predict):
    ckpt_path = checkpoint(tmp_path, "voc2012", protocol="paper", void_channel="last", short_edge=(40, 80))
    write_noise(tmp_path / "in", "2008_000006.png", "2008_000011.png", "2007_000001.png", size=(60, 90))
    (tmp_path / "test.txt").write_text("2008_000006\n2008_000011\n")
    predict(ckpt_path, "--submission=voc", f"--only={tmp_path / 'test.txt'}")
    predict(ckpt_path, output="plain")
    folder = "./results/VOC2012/Segmentation/comp6_test_cls"
    with tarfile.open(tmp_path / "out/voc2012.tar.gz") as archive:
        masks = [member.name for member in archive.getmembers() if member.isfile()]
        assert sorted(masks) == [f"{folder}/2008_000006.png", f"{folder}/2008_000011.png"]
        mask = Image.open(archive.extractfile(masks[0]))
        assert mask.mode == "P" and mask.getpalette()[:63] == [value for color in VOC_PALETTE[:21] for value in color]
        assert np.array_equal(mask, Image.open(tmp_path / "plain" / Path(masks[0]).name)) and np.max(mask) <= 20
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"voc2012", "voc2012.tar.gz"}


@pytest.mark.parametrize(
    ("server", "name", "values"),
    [
        ("cityscapes", "berlin_000000_000019_leftImg8bit.png", np.array(LABEL_IDS)),
        ("ade20k", "ADE_test_00000001.png", np.arange(1, 151)),
    ],
)
def test_zip_archives(tmp_path, predict, server, name, values):
    ckpt_path = checkpoint(tmp_path, server)
    write_noise(tmp_path / "in", name, size=(60, 90))
    predict(ckpt_path, f"--submission={server}")
    predict(ckpt_path, output="plain")
    ids = np.array(Image.open(tmp_path / "plain" / name))
    with zipfile.ZipFile(tmp_path / "out" / f"{server}.zip") as archive:
        (member,) = (member for member in archive.namelist() if member.endswith(".png"))
        mask = Image.open(archive.open(member))
        assert Path(member).name == name and mask.mode == "L" and np.array_equal(mask, values[ids])
    assert len(np.unique(ids)) > 3


def test_refuses_a_network_with_other_classes(tmp_path, predict):
    write_noise(tmp_path / "in", "a.png")
    with pytest.raises(SystemExit, match="its classes are not those of the server voc"):
        predict(checkpoint(tmp_path, "camvid"), "--submission=voc")
    assert not (tmp_path / "out").exists()


def test_refuses_images_with_the_same_name_and_other_files(tmp_path, predict):
    ckpt_path = checkpoint(tmp_path, "voc2012")
    write_noise(tmp_path / "in", "a.png", "b.png", "night/a.png")
    with pytest.raises(SystemExit, match="night/a.png: another image is called a too"):
        predict("none", "--submission=voc")
    predict(ckpt_path, "--submission=voc", images="in/a.png")
    with pytest.raises(SystemExit, match="would be overwritten"):
        predict(ckpt_path, "--submission=voc", images="in/a.png")
    predict(ckpt_path, "--submission=voc", "--overwrite", images="in/a.png")
    with pytest.raises(SystemExit, match=r"a\.png: would be packed with these predictions"):
        predict(ckpt_path, "--submission=voc", "--overwrite", images="in/b.png")


def test_incomplete_predictions_are_not_packed(tmp_path, predict):
    write_noise(tmp_path / "in", "a.png")
    touch(tmp_path, "in/b.png")
    with pytest.raises(SystemExit, match=r"(?s)1 of 2 images .* voc2012\.tar\.gz is not packed.*b\.png: "):
        predict(checkpoint(tmp_path, "voc2012"), "--submission=voc")
    assert not (tmp_path / "out/voc2012.tar.gz").exists()

"""Training, evaluation, prediction, export and checks with images that are not 8-bit RGB."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.layouts import channels
from helpers.layouts.channels import BANDS, GRAY, mask, pixels
from helpers.networks import tiny
from helpers.running import QUICK, fit, record, refusal
from PIL import Image

import refinenet_pl
from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.deployment.export import export

FORMATS = pytest.mark.parametrize(("format", "extension"), [(GRAY, ".png"), (BANDS, ".npy")], ids=["gray", "bands"])


def options(root: Path, dataset: str = "folder") -> list[str]:
    return [f"--data.dataset={dataset}", f"--data.root={root}", "--data.dataset_options={}", "--data.test_split=val"]


def check(root: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", "folder", str(root), "--splits", "train", "val"])
    return ended.value.code


@FORMATS
def test_trains_validates_publishes_and_predicts(tmp_path, capsys, format, extension):
    root = channels.build(tmp_path / "data", format, extension)
    own = [*options(root), "--data.transforms=[{'class_path': 'torchvision.transforms.v2.RandomVerticalFlip'}]"]
    written = fit(tmp_path, *own)
    assert written["config"]["model"]["network"]["init_args"]["in_channels"] == format.channels
    assert written["training"]["steps"] == 2 and list(written["evaluations"]) == ["val"]
    sample = np.asarray(Image.open(next(tmp_path.rglob("samples/*-image.jpg"))))
    assert sample.shape == (*channels.SIZE, 3)
    main(["test", *QUICK, *own, f"--run.root={tmp_path}"])
    assert record(tmp_path)["evaluations"]["test"]["loss"] == pytest.approx(written["evaluations"]["val"]["loss"], abs=1e-5)

    checkpoint = next(tmp_path.rglob("last.ckpt"))
    main(["publish", str(checkpoint), "-o", str(tmp_path / "model")])
    assert json.loads((tmp_path / "model/images.json").read_text()) == format.to_dict()
    assert read_image_format(checkpoint) == read_image_format(tmp_path / "model") == format
    for source in checkpoint, tmp_path / "model":
        folder = tmp_path / f"of_{source.stem}"
        main(["predict", str(root / "images/val"), f"--ckpt_path={source}", f"--output={folder}"])
        predicted = refinenet_pl.load(source, "cpu")(root / f"images/val/e{extension}")
        assert np.array_equal(np.asarray(Image.open(folder / "e.png")), predicted.mask)
        assert Image.open(folder / "f_overlay.png").size == channels.SIZE[::-1]
        from_array = refinenet_pl.load(source, "cpu")(pixels("e", format))
        assert np.array_equal(from_array.scores, predicted.scores)
        assert predicted.image.dtype == np.uint8 and predicted.image.shape == (*channels.SIZE, 3)
    main(["test", *QUICK, *own, f"--run.root={tmp_path / 'other'}", f"--ckpt_path={tmp_path / 'model'}"])


@FORMATS
def test_trains_on_values(tmp_path, format, extension):
    root = channels.build_values(tmp_path / "data", format, extension)
    quick = ["-c=scenes_depth", *options(root, "value_folder")]
    assert fit(tmp_path, *quick)["training"]["steps"] == 2
    checkpoint = next(tmp_path.rglob("last.ckpt"))
    main(["predict", str(root / "images/val"), f"--ckpt_path={checkpoint}", f"--output={tmp_path / 'o'}"])
    assert np.asarray(Image.open(tmp_path / "o/e.png")).shape == channels.SIZE


def test_color_jitter_and_other_models_are_refused(tmp_path, capsys):
    own = options(channels.build(tmp_path / "data", BANDS, ".npy"))
    message = refusal(capsys, "fit", *own, "--data.color_jitter=0.2", f"--run.root={tmp_path}")
    assert "data.color_jitter is 0.2, but the images have 5 channels" in message and "--data.color_jitter 0" in message
    write_model_directory(tmp_path / "model", tiny(), Classes.numbered(3))
    message = refusal(capsys, "test", *own, f"--ckpt_path={tmp_path / 'model'}", f"--run.root={tmp_path}")
    assert "is for images with 3 channels, but those of the dataset have 5" in message


def test_undeclared_format_is_refused_with_the_fix(tmp_path, capsys):
    root = channels.build(tmp_path / "data")
    (root / "classes.yaml").write_text("names: [left, right, band]\n")
    message = refusal(capsys, "fit", *options(root), f"--run.root={tmp_path}")
    assert ".png: has more than 8 bits per channel" in message and "`images: {channels: 1, range: [0, 65535]}`" in message


def test_wrong_format_ends_the_run_before_training(tmp_path, capsys):
    root = channels.build(tmp_path / "data")
    (root / "classes.yaml").write_text("names: [left, right, band]\nimages: {channels: 4, range: [0, 65535]}\n")
    message = refusal(capsys, "fit", *options(root), f"--run.root={tmp_path}")
    assert "a.png: has 1 channel, but `images` declares 4" in message and not list(tmp_path.rglob("*.ckpt"))


def test_data_check_and_show(tmp_path, capsys, monkeypatch):
    root = channels.build(tmp_path / "data", BANDS, ".npy")
    array = np.zeros((*channels.SIZE, 5), np.float32)
    array[:4, :12, 0], array[0, 0, 1] = 4, -1.5
    for name in "abcd":
        np.save(root / f"images/train/{name}.npy", array + ord(name) / 1000)
    assert check(root) == 0
    # 49 of 9600 values are outside -1..3.
    assert "5 channels, pixel values -1.403 to 4.1; 0.51% outside the range -1 to 3" in capsys.readouterr().out
    array[3, 3, 3] = np.nan
    np.save(root / "images/train/b.npy", array)
    assert check(root) == 1
    assert "b.npy: has pixel values that are NaN or infinite" in capsys.readouterr().out
    np.save(root / "images/train/b.npy", pixels("b", BANDS))
    monkeypatch.chdir(tmp_path)
    main(["data", "show", "folder", str(root), "--samples", "1"])
    assert Image.open("folder_train.png").width > 800


@FORMATS
def test_exported_network_maps_stored_values(tmp_path, format, extension):
    network = tiny(in_channels=format.channels, pooling_blocks=1).eval()
    write_model_directory(tmp_path / "model", network, Classes.numbered(3), image_format=format)
    export(tmp_path / "model", "torch_export", tmp_path / "model.pt2")
    stored = pixels("a", format).reshape(*channels.SIZE, -1)
    exported = torch.export.load(tmp_path / "model.pt2").module()
    logits = exported(torch.from_numpy(stored.astype(np.float32)).permute(2, 0, 1)[None])
    scores = refinenet_pl.load(tmp_path / "model", "cpu")(stored).scores
    assert np.allclose(logits[0].softmax(0).detach().numpy(), scores, atol=1e-4)


def test_declared_8_bit_rgb_equals_the_default(tmp_path):
    records = []
    for images in "", "images: {channels: 3, range: [0, 255]}\n":
        root = tmp_path / f"data{len(images)}"
        for split, names in channels.SPLITS.items():
            for name in names:
                colors = (np.stack([pixels(name + letter, GRAY) for letter in "rgb"], 2) // 256).astype(np.uint8)
                channels.write_pixels(root / "images" / split / f"{name}.png", colors)
                channels.write_pixels(root / "masks" / split / f"{name}.png", mask(name))
        (root / "classes.yaml").write_text(f"names: [left, right, band]\n{images}")
        records.append(fit(tmp_path / f"runs{len(images)}", *options(root), "--data.color_jitter=0.2"))
    one, other = (written["evaluations"]["val"] for written in records)
    assert one["loss"] == other["loss"] and one["confusion"] == other["confusion"]

"""Exported networks, run by what reads them: the same classes as here, for images of all sizes."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.repository import REPOSITORY
from segmentation_models_pytorch import FPN
from timm.layers import AvgPool2dSame, Conv2dSame, ScaledStdConv2dSame, StdConv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import nn

from refinenet_pl import RefineNet
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.deployment.export import trace
from refinenet_pl.tasks.segmentation import SegmentationTask

# Each part of a network once: what is there twice is exported twice as slowly and shows no more.
SMALL = {"classes": 6, "width": 8, "deepest_width": 16, "decoder_init": "scaled", "encoder_depth": 3, "cascade": 2}
SMALL |= {"path_rcus": 1, "output_rcus": 0, "head_rcus": 0, "pooling_blocks": 1}
NETWORKS = {
    "paper": {},
    "padding_by_size": SMALL | {"encoder_name": "tu-tf_efficientnet_lite0"},
    "ports": {"upsampling": "bilinear_aligned", "kernel_size": 1, "path_rcus": 0},
    "authors": {"upsampling": "bicubic", "input_scale": 1.2, "eight_bit_input": True, "void_channel": "first"},
}
SIZES = ((64, 64), (131, 45), (33, 200))


@pytest.fixture(scope="module", params=NETWORKS)
def directory(request, tmp_path_factory):
    """A model directory with a small network of random weights."""
    torch.manual_seed(0)
    usual = {"encoder_name": "resnet18", "classes": 6, "width": 8, "deepest_width": 16, "decoder_init": "scaled"}
    network = RefineNet(encoder_weights=None, **usual | NETWORKS[request.param])
    directory = tmp_path_factory.mktemp(request.param) / "model"
    write_model_directory(directory, network.eval(), classes_of(network))
    return directory


def classes_of(network: RefineNet) -> Classes:
    number = 6 - (network.void_channel is not None)
    return Classes(tuple(map(str, range(number))), tuple((shade, shade, shade) for shade in range(number)))


def images(size: tuple[int, int], number: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (number, 3, *size), np.uint8))


@torch.inference_mode()
def expected(directory, image: torch.Tensor) -> torch.Tensor:
    task = load_for_prediction(directory)[0]
    logits = task.network((image - task.mean) / task.std)
    return logits[:, 1:] if task.network.void_channel else logits


def export(directory, to: str, path) -> None:
    main(["export", str(directory), "--to", to, "--output", str(path)])


def test_onnx_gives_the_same_classes(directory, tmp_path, capsys):
    export(directory, "onnx", tmp_path / "model.onnx")
    assert f"written: {tmp_path / 'model.onnx'}, for images of 33 to 8192 pixels a side" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"], "the weights are in the one file"
    for size in SIZES:
        image = images(size, number=1 if size == (64, 64) else 2)
        (logits,) = session.run(["logits"], {"image": image.numpy()})
        wanted = expected(directory, image)
        np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-4 * float(wanted.std()))
        np.testing.assert_array_equal(logits.argmax(1), wanted.argmax(1).numpy())


def test_torch_export_gives_the_same_classes(directory, tmp_path):
    export(directory, "torch_export", tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for size in SIZES:
        image = images(size)
        wanted = expected(directory, image)
        with torch.inference_mode():
            logits = program(image)
        torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-4 * float(wanted.std()))
        assert torch.equal(logits.argmax(1), wanted.argmax(1))


class TimmLayers(nn.Module):
    """A chain of timm's layers that pad by the size of the map."""

    def __init__(self):
        super().__init__()
        layers = [
            Conv2dSame(3, 4, 3, stride=2),
            MaxPool2dSame(3, stride=2),
            StdConv2dSame(4, 4, 3, stride=1, dilation=2),
            AvgPool2dSame(2, stride=1),
            ScaledStdConv2dSame(4, 4, 3, stride=2, padding="same"),
            Conv2dSame(4, 2, 1, stride=2),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image / 255)


@torch.inference_mode()
def test_padding_of_timm_is_exported_for_all_sizes(tmp_path):
    module = TimmLayers().eval()
    inputs = [images(size) for size in (*SIZES, (40, 63))]
    expected = [module(image) for image in inputs]
    program = trace(module, min_side=33)
    torch.export.save(program, tmp_path / "layers.pt2")
    torch.onnx.export(program, f=tmp_path / "layers.onnx", dynamo=True, input_names=["image"], verbose=False)
    loaded = torch.export.load(tmp_path / "layers.pt2").module()
    session = onnxruntime.InferenceSession(tmp_path / "layers.onnx", providers=["CPUExecutionProvider"])
    for image, wanted in zip(inputs, expected, strict=True):
        torch.testing.assert_close(module(image), wanted)
        torch.testing.assert_close(loaded(image), wanted)
        torch.testing.assert_close(torch.from_numpy(session.run(None, {"image": image.numpy()})[0]), wanted)


def test_a_run_is_exported_from_its_checkpoint_beside_it(tmp_path):
    arguments = [
        "-c",
        str(REPOSITORY / "experiments/recipes/scenes.yaml"),
        f"--run.root={tmp_path / 'runs'}",
        "--data.crop_size=[64, 64]",
    ]
    arguments += ['--data.dataset_options={"size": 64, "samples": 8}', "--data.num_workers=0", "--trainer.max_epochs=1"]
    arguments += ["--trainer.check_val_every_n_epoch=1", "--trainer.enable_progress_bar=false"]
    arguments += [f"--model.network.init_args.{name}={value}" for name, value in (SMALL | {"classes": 6}).items()]
    main(["fit", *arguments])
    (run,) = tmp_path.glob("runs/single@scenes/*/seed0")
    main(["export", str(run / "last.ckpt"), "--to", "torch_export"])
    image = images((64, 80), 1)
    with torch.inference_mode():
        logits = torch.export.load(run / "last.pt2").module()(image)
    assert torch.equal(logits.argmax(1), expected(run / "last.ckpt", image).argmax(1))


def test_two_scales_accept_images_from_a_larger_size(tmp_path, capsys):
    network = RefineNet("resnet18", None, **SMALL | {"image_scales": (1.2, 0.6)}).eval()
    write_model_directory(tmp_path / "model", network, classes_of(network))
    export(tmp_path / "model", "torch_export", tmp_path / "model.pt2")
    assert "for images of 55 to 8192 pixels a side" in capsys.readouterr().out
    image = images((55, 70), 1)
    with torch.inference_mode():
        logits = torch.export.load(tmp_path / "model.pt2").module()(image)
    torch.testing.assert_close(logits, expected(tmp_path / "model", image))


def test_a_missing_package_is_named_with_its_cure(tmp_path, monkeypatch):
    network = RefineNet("resnet18", None, **SMALL).eval()
    write_model_directory(tmp_path / "model", network, classes_of(network))
    for module in [name for name in sys.modules if name.partition(".")[0] == "onnxscript"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SystemExit, match=r"^error: onnxscript.* is not installed; .* pip install onnx onnxscript"):
        export(tmp_path / "model", "onnx", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_what_is_no_model_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(SystemExit, match="no such file"):
        export(tmp_path / "none", "onnx", tmp_path / "model.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="cannot be read as a RefineNet"):
        export(tmp_path / "empty", "onnx", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_name_that_torch_could_not_read_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"model\.pt: torch\.export reads files that end in \.pt2 only; call it model\.pt2"):
        export(tmp_path / "none", "torch_export", tmp_path / "model.pt")


def test_another_network_is_refused(tmp_path):
    network = FPN("resnet18", encoder_weights=None, classes=3)
    task = SegmentationTask(network, 3, 255)
    checkpoint = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(checkpoint)
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    torch.save(checkpoint | {"data_classes": classes.to_dict()}, tmp_path / "last.ckpt")
    with pytest.raises(SystemExit, match=r"last\.ckpt: is a FPN; only RefineNet can be exported"):
        export(tmp_path / "last.ckpt", "onnx", tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]

"""Exported networks in onnxruntime and torch.export: the same classes and values for images of all sizes."""

import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from helpers.memory import CLASSES
from helpers.networks import images, tiny
from helpers.running import fit
from segmentation_models_pytorch import FPN
from timm.layers import AvgPool2dSame, Conv2dSame, ScaledStdConv2dSame, StdConv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import nn

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.deployment.export import trace
from refinenet_pl.tasks.segmentation import SegmentationTask

pytestmark = pytest.mark.slow

# One of each part, because export takes long.
SMALL = {"encoder_depth": 3, "cascade": 2, "path_rcus": 1, "output_rcus": 0, "head_rcus": 0, "pooling_blocks": 1}
NETWORKS = {
    "paper": {},
    "padding_by_size": SMALL | {"encoder_name": "tu-tf_efficientnet_lite0"},
    "ports": {"upsampling": "bilinear_aligned", "kernel_size": 1, "path_rcus": 0},
    "authors": {"upsampling": "bicubic", "input_scale": 1.2, "eight_bit_input": True, "void_channel": "first"},
    "two_scales": SMALL | {"image_scales": (1.2, 0.6)},
    "half_scale": SMALL | {"input_scale": 0.5},
}
# Of the images that an exported network accepts.
MIN_SIDES = {"two_scales": 55, "half_scale": 66}
SIZES = ((64, 64), (131, 45), (33, 200))


def write_model(directory: Path, **arguments) -> Path:
    network = tiny(classes=6, **arguments).eval()
    number = 6 - (network.void_channel is not None)
    write_model_directory(directory, network, Classes(tuple("abcdef"[:number]), tuple((k, k, k) for k in range(number))))
    return directory


@pytest.fixture(scope="module", params=NETWORKS)
def directory(request, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp(request.param) / "model", **NETWORKS[request.param])


@torch.inference_mode()
def expected(model: Path, image: torch.Tensor) -> torch.Tensor:
    task = load_for_prediction(model)[0]
    logits = task.network((image - task.mean) / task.std)
    return logits[:, 1:] if task.network.void_channel else logits


def export(model: Path, to: str, path: Path) -> None:
    main(["export", str(model), "--to", to, "--output", str(path)])


@pytest.mark.parametrize("to", ["onnx", "torch_export"])
@torch.no_grad()
def test_same_classes(directory, to, tmp_path, capsys):
    path = tmp_path / {"onnx": "model.onnx", "torch_export": "model.pt2"}[to]
    export(directory, to, path)
    min_side = MIN_SIDES.get(directory.parent.name.rstrip("0123456789"), 33)
    assert f"{path}, for images of {min_side} to" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path], "the weights are in the same file"
    if to == "onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    else:
        program = torch.export.load(path).module()
    for size in SIZES:
        # With this seed, `eight_bit_input` rounds no value that is so near to a half that float errors decide.
        image = images(1 if size == (64, 64) else 2, *(max(side, min_side) for side in size), seed=1)
        wanted = expected(directory, image)
        logits = torch.from_numpy(session.run(["logits"], {"image": image.numpy()})[0]) if to == "onnx" else program(image)
        torch.testing.assert_close(logits, wanted, rtol=1e-7, atol=1e-4 * float(wanted.std()))
        assert torch.equal(logits.argmax(1), wanted.argmax(1))


@pytest.mark.parametrize("to", ["onnx", "torch_export"])
@pytest.mark.parametrize(
    "values, activation, printed",
    [(Values(("depth",), "depth", "m"), "softplus", "depth in m"), (Values(("x", "y", "z"), "normals"), "unit", "x, y, z")],
)
@torch.no_grad()
def test_same_values(values, activation, printed, to, tmp_path, capsys):
    torch.manual_seed(0)
    write_model_directory(tmp_path / "model", tiny(classes=len(values), **SMALL).eval(), values, activation)
    path = tmp_path / {"onnx": "model.onnx", "torch_export": "model.pt2"}[to]
    export(tmp_path / "model", to, path)
    assert capsys.readouterr().out.endswith(f"\nvalues: {printed}\n")
    task = load_for_prediction(tmp_path / "model")[0]
    if to == "onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    else:
        program = torch.export.load(path).module()
    for size in SIZES[1:]:
        image = images(2, *size)
        found = torch.from_numpy(session.run(["values"], {"image": image.numpy()})[0]) if to == "onnx" else program(image)
        torch.testing.assert_close(found, task(image), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_padding_of_timm(tmp_path):
    layers = [Conv2dSame(3, 4, 3, stride=2), MaxPool2dSame(3, stride=2), StdConv2dSame(4, 4, 3, stride=1, dilation=2)]
    layers += [AvgPool2dSame(2, stride=1), ScaledStdConv2dSame(4, 4, 3, stride=2, padding="same")]

    class Network(nn.Sequential):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return super().forward(image / 255)

    module = Network(*layers, Conv2dSame(4, 2, 1, stride=2)).eval()
    inputs = [images(2, *size) for size in (*SIZES, (40, 63))]
    expected = [module(image) for image in inputs]
    program = trace(module, min_side=33)
    torch.export.save(program, tmp_path / "layers.pt2")
    torch.onnx.export(program, f=tmp_path / "layers.onnx", dynamo=True, input_names=["image"], verbose=False)
    loaded = torch.export.load(tmp_path / "layers.pt2").module()
    session = onnxruntime.InferenceSession(tmp_path / "layers.onnx", providers=["CPUExecutionProvider"])
    for image, wanted in zip(inputs, expected, strict=True):
        onnx = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
        for found in module(image), loaded(image), onnx:
            torch.testing.assert_close(found, wanted)


def test_exports_a_checkpoint_next_to_it(tmp_path):
    small = SMALL | {"classes": 6, "decoder_init": "scaled"}
    fit(tmp_path, *[f"--model.network.init_args.{name}={value}" for name, value in small.items()])
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    main(["export", str(checkpoint), "--to", "torch_export"])
    image = images(1, 64, 80)
    with torch.inference_mode():
        logits = torch.export.load(checkpoint.with_suffix(".pt2")).module()(image)
    assert torch.equal(logits.argmax(1), expected(checkpoint, image).argmax(1))


def test_names_a_missing_package(tmp_path, monkeypatch):
    model = write_model(tmp_path / "model", **SMALL)
    for module in [name for name in sys.modules if name.partition(".")[0] == "onnxscript"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SystemExit, match="onnxscript.* is not installed; .*pip install"):
        export(model, "onnx", tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_refuses_other_networks(tmp_path):
    task = SegmentationTask(FPN("resnet18", encoder_weights=None, classes=3), 3, 255)
    checkpoint = {"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams)}
    task.on_save_checkpoint(checkpoint)
    torch.save(checkpoint | {"data_classes": CLASSES.to_dict()}, tmp_path / "fpn.ckpt")
    with pytest.raises(SystemExit, match=r"fpn\.ckpt: contains a FPN"):
        export(tmp_path / "fpn.ckpt", "onnx", tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["fpn.ckpt"]


@pytest.mark.parametrize(("output", "message"), [("x.pt2", "none: no such file"), ("x.pt", r"x\.pt: .* use .*x\.pt2")])
def test_refuses_missing_models_and_other_names(output, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        export(tmp_path / "none", "torch_export", tmp_path / output)

"""Export of a trained or imported network to a file that can be used without this package."""

import os
import tempfile
from math import ceil
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from timm.layers import AvgPool2dSame, Conv2dSame, ScaledStdConv2dSame, StdConv2dSame, to_2tuple
from timm.layers.pool2d_same import MaxPool2dSame
from torch import Tensor, nn

from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError
from refinenet_pl.evaluation.value_inference import Activation, activate
from refinenet_pl.extras import require
from refinenet_pl.files import refuse_existing
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.regression import RegressionTask

Format = Literal["onnx", "torch_export"]

SIDES = (33, 8192)
"""Min and max height and width, in pixels, of the images that each encoder of an exported network accepts."""


class Exported(NamedTuple):
    """Facts of an exported network.

    Attributes:
        min_side: Min height and width, in pixels, of the images that it accepts.
        meaning: Meaning of the channels of its output.
    """

    min_side: int
    meaning: Classes | Values


class ExportedNetwork(nn.Module):
    """Network that maps images to class scores or values: normalization, network, and removal of void or activation.

    Args:
        task: The task with the network and its normalization.
        image_format: Format of the images, whose range is mapped to 0..255 first; None for 8-bit RGB.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, task: DenseTask, image_format: ImageFormat | None = None):
        super().__init__()
        self.range = (0.0, 255.0) if image_format is None else image_format.range
        self.network = task.network
        self.void_channel = task.hparams.get("void_channel")
        self.activation: Activation = task.hparams["activation"] if isinstance(task, RegressionTask) else "none"
        self.register_buffer("mean", task.mean)
        self.register_buffer("std", task.std)

    def forward(self, image: Tensor) -> Tensor:
        """Predict logits or values: RGB images, uint8 (N, 3, H, W) -> float32 (N, channels, H, W).

        Images of another format are float32 (N, C, H, W), with pixel values as they are stored.
        """
        pixels, (low, high) = image.to(torch.float32), self.range
        if (low, high) != (0, 255):
            pixels = (pixels - low) * (255 / (high - low))
        output = self.network((pixels - self.mean) / self.std)
        output = {None: output, "first": output[:, 1:], "last": output[:, :-1]}[self.void_channel]
        return activate(output, self.activation)


class SamePadding(nn.Module):
    """TensorFlow's padding, which depends on the size of the map, in integer arithmetic.

    timm computes it with `math.ceil` of a quotient; such a graph can be recorded but not saved.

    Args:
        layer: A convolution or pooling of timm.
    """

    def __init__(self, layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        super().__init__()
        self.kernel_size: tuple[int, int] = to_2tuple(layer.kernel_size)
        self.stride: tuple[int, int] = to_2tuple(layer.stride)
        self.dilation: tuple[int, int] = to_2tuple(1 if isinstance(layer, nn.AvgPool2d) else layer.dilation)
        self.value = float("-inf") if isinstance(layer, nn.MaxPool2d) else 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Pad a map: float (N, C, H, W) -> (N, C, padded H, padded W)."""
        sides: list[int] = []
        for side, kernel, stride, dilation in zip(x.shape[-2:], self.kernel_size, self.stride, self.dilation, strict=True):
            extent = (kernel - 1) * dilation + 1
            # No division of negative numbers, because ONNX rounds toward zero and Python rounds down.
            padding = ((side + stride - 1) // stride - 1) * stride + extent - side
            padding = padding if extent >= stride else torch.sym_max(padding, 0)
            sides = [padding // 2, padding - padding // 2, *sides]
        return nn.functional.pad(x, sides, value=self.value)


def export(model: Path, to: Format, output: Path, overwrite: bool = False) -> Exported:
    """Export a network for any number of images of any size.

    The file's only input is `image`, RGB in uint8 (N, 3, H, W) or, of another `ImageFormat`, float32 (N, C, H, W) with pixel
    values as they are stored. Its output is `logits` of classes, or `values` in their unit.

    Args:
        model: A model directory, or a run's last.ckpt or best.ckpt.
        to: `onnx`, or `torch_export` for `torch.export.load`.
        output: The file to write.
        overwrite: Replace the file if it exists.

    Raises:
        CheckpointError: The model cannot be read or is not a RefineNet, the file exists or cannot be written, or a package is
            missing.
    """
    if to == "torch_export" and output.suffix != ".pt2":
        raise CheckpointError(f"{output}: torch.export only reads files that end in .pt2; use {output.stem}.pt2")
    if to == "onnx":
        require("onnxscript", "export", "--to onnx", CheckpointError)  # torch's exporter imports it
    if not overwrite:
        refuse_existing([output], CheckpointError)
    elif output.exists() and model.exists() and output.samefile(model):
        raise CheckpointError(f"{output}: is the model itself; give another --output")
    task, meaning = load_for_prediction(model)
    if not isinstance(task.network, RefineNet):
        raise CheckpointError(
            f"{model}: contains a {type(task.network).__name__}; only a RefineNet can be exported for images of any size"
        )
    min_side = ceil(SIDES[0] / min(1.0, *task.network.scales))
    image_format = read_image_format(model)
    is_eight_bit = image_format is None or image_format.is_eight_bit_rgb
    channels, dtype = task.network.config["in_channels"], torch.uint8 if is_eight_bit else torch.float32
    program = trace(ExportedNetwork(task, image_format).eval(), min_side, channels, dtype)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as unfinished:
            path = Path(unfinished) / output.name
            if to == "torch_export":
                torch.export.save(program, path)
            else:
                torch.onnx.export(
                    program,
                    f=path,
                    dynamo=True,
                    input_names=["image"],
                    output_names=["logits" if isinstance(meaning, Classes) else "values"],
                    external_data=False,
                    verbose=False,
                )
            os.replace(path, output)
    except OSError as error:
        raise CheckpointError(f"{output}: cannot be written ({error})") from error
    return Exported(min_side, meaning)


def trace(
    module: nn.Module, min_side: int, channels: int = 3, dtype: torch.dtype = torch.uint8
) -> torch.export.ExportedProgram:
    """Export a module for any number of images, of any height and width from `min_side` to the max of `SIDES`.

    Args:
        module: Maps the argument `image`, (N, channels, H, W), to scores or values. Its timm layers are modified in place.
        min_side: Min height and width in pixels.
        channels: Channels of the images.
        dtype: Type of their values.
    """
    replace_same_padding(module)
    height, width = (torch.export.Dim(name, min=min_side, max=SIDES[1]) for name in ("height", "width"))
    open_sizes = {"image": {0: torch.export.Dim("images", max=1024), 2: height, 3: width}}
    # All sizes differ, so that torch does not treat two of them as equal.
    example = torch.zeros(2, channels, 2 * min_side - 1, 3 * min_side - 2, dtype=dtype)
    program = torch.export.export(
        module, (example,), dynamic_shapes=open_sizes, prefer_deferred_runtime_asserts_over_guards=True
    )
    # torch's formula for the size after max-pooling tests if a division has a remainder, and asserts the example's answer for
    # all images. For positive sizes, both answers result in the same size.
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def replace_same_padding(network: nn.Module) -> None:
    """Replace each of timm's layers with padding by the size of the map by `SamePadding` and torch's layer, in place."""
    plain = {Conv2dSame: nn.Conv2d, MaxPool2dSame: nn.MaxPool2d, AvgPool2dSame: nn.AvgPool2d}
    for name, layer in list(network.named_modules()):
        if type(layer) in plain:
            padding = SamePadding(layer)
            layer.__class__ = plain[type(layer)]  # they only differ in the padding
        elif isinstance(layer, (StdConv2dSame, ScaledStdConv2dSame)) and layer.same_pad:
            padding = SamePadding(layer)
            layer.same_pad = False
        else:
            continue
        network.set_submodule(name, nn.Sequential(padding, layer))

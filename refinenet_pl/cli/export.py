"""`export`: a trained or imported network as a file that needs none of this package."""

import os
import sys
import tempfile
from math import ceil
from pathlib import Path
from typing import Literal
from unittest import mock

import timm
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.errors import CheckpointError
from refinenet_pl.files import expand_path, refuse_existing
from refinenet_pl.models.refinenet import RefineNet

Format = Literal["onnx", "torch_export"]

# Least and greatest height and width of the picture that each encoder of an exported network takes.
SIDES = (33, 8192)


class Exported(nn.Module):
    """Pictures in, class scores out: normalisation, network, and void left out of account."""

    def __init__(self, task):
        super().__init__()
        self.network = task.network
        self.void_channel = task.hparams.void_channel
        self.register_buffer("mean", task.mean)
        self.register_buffer("std", task.std)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 (N, 3, H, W), RGB -> logits, float32 (N, classes, H, W)."""
        logits = self.network((image.to(torch.float32) - self.mean) / self.std)
        return {None: logits, "first": logits[:, 1:], "last": logits[:, :-1]}[self.void_channel]


def export(model: Path, to: Format, output: Path, overwrite: bool = False) -> int:
    """Write a network for pictures of any number and size.

    Args:
        model: A model directory, or a run's last.ckpt or best.ckpt.
        to: `onnx`, or `torch_export` for `torch.export.load`.
        output: The file.
        overwrite: Whether the file may be replaced if it exists.

    Returns:
        Least height and width, in pixels, of the pictures that it takes.

    Raises:
        CheckpointError: The model cannot be read or is no RefineNet, the file exists or cannot be written, or a package is
            missing.
    """
    if to == "torch_export" and output.suffix != ".pt2":
        raise CheckpointError(f"{output}: torch.export reads files that end in .pt2 only; call it {output.stem}.pt2")
    if not overwrite:
        refuse_existing([output], CheckpointError)
    elif output.exists() and model.exists() and output.samefile(model):
        raise CheckpointError(f"{output}: is the model itself; give another --output")
    task, _ = load_for_prediction(model)
    if not isinstance(task.network, RefineNet):
        raise CheckpointError(
            f"{model}: is a {type(task.network).__name__}; only RefineNet can be exported for pictures of any size"
        )
    least = ceil(SIDES[0] / min(1.0, *task.network.scales))
    program = trace(Exported(task).eval(), least)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as unfinished:
            path = Path(unfinished) / output.name
            if to == "torch_export":
                torch.export.save(program, path)
            else:
                options = {"input_names": ["image"], "output_names": ["logits"], "external_data": False, "verbose": False}
                torch.onnx.export(program, f=path, dynamo=True, **options)
            os.replace(path, output)
    except ModuleNotFoundError as error:
        raise CheckpointError(f"{error.name} is not installed; ONNX files need it: pip install onnx onnxscript") from None
    except OSError as error:
        raise CheckpointError(f"{output}: cannot be written ({error})") from error
    return least


def default_output(model: Path, to: Format) -> Path:
    """The file beside a model that its export is written to: for a directory its name with an extension, dots included."""
    model = Path(os.path.abspath(model)) if model.name in ("", "..") else model
    return model.with_name((model.name if model.is_dir() else model.stem) + {"onnx": ".onnx", "torch_export": ".pt2"}[to])


def trace(module: nn.Module, least: int) -> torch.export.ExportedProgram:
    """Export a module with the number of pictures, their height and their width left open, these from `least`."""
    height, width = (torch.export.Dim(name, min=least, max=SIDES[1]) for name in ("height", "width"))
    open_sizes = {"image": {0: torch.export.Dim("pictures", max=1024), 2: height, 3: width}}
    # Sizes that are alike nowhere, so that none is taken for another.
    example = torch.zeros(2, 3, 65, 97, dtype=torch.uint8)
    with mock.patch.object(timm.layers.padding, "get_same_padding", _same_padding):
        program = torch.export.export(
            module, (example,), dynamic_shapes=open_sizes, prefer_deferred_runtime_asserts_over_guards=True
        )
    # torch's rule for the size behind a max-pooling asks whether a division has a remainder, and would assert the example's
    # answer for all pictures, though for positive sizes both answers lead to the same.
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _same_padding(side: int, kernel_size: int, stride: int, dilation: int) -> int:
    """timm's padding that depends on the size, in whole numbers: a graph with its math.ceil can be made but not be saved."""
    seen = (kernel_size - 1) * dilation + 1
    padding = (-(-side // stride) - 1) * stride + seen - side
    return padding if seen >= stride else torch.sym_max(padding, 0)


def main(arguments: list[str]) -> None:
    """Run `export`; `arguments` begins with the command."""
    parser = ArgumentParser(
        prog="python -m refinenet_pl export",
        description="Write a network as one file that maps uint8 pictures (N, 3, H, W) to class scores (N, classes, H, W), for "
        "any number of pictures of any size.",
    )
    parser.add_argument("model", type=Path, help="a model directory, or a run's last.ckpt or best.ckpt")
    parser.add_argument("--to", type=Format, required=True, help="onnx, or torch_export for torch.export.load")
    parser.add_argument("-o", "--output", type=Path | None, help="the file; MODEL.onnx or MODEL.pt2 without it")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    options = parser.parse_args(arguments[1:])
    try:
        model = expand_path(options.model, CheckpointError)
        output = default_output(model, options.to) if options.output is None else expand_path(options.output, CheckpointError)
        least = export(model, options.to, output, options.overwrite)
    except CheckpointError as error:
        sys.exit(f"error: {error}")
    print(f"written: {output}, for pictures of {least} to {SIDES[1]} pixels a side")

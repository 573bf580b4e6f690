"""`export`: write a trained or imported network to a file that can be used without this package."""

import os
import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.datasets.values import Values
from refinenet_pl.deployment.export import SIDES, Format, export
from refinenet_pl.errors import CheckpointError
from refinenet_pl.files import expand_path
from refinenet_pl.visualization.fonts import one_line


def default_output(model: Path, to: Format) -> Path:
    """Return the default file of an export, next to the model; dots in a directory's name are kept."""
    model = Path(os.path.abspath(model)) if model.name in ("", "..") else model
    return model.with_name((model.name if model.is_dir() else model.stem) + {"onnx": ".onnx", "torch_export": ".pt2"}[to])


def main(arguments: list[str]) -> None:
    """Run `export`; `arguments` starts with the command."""
    parser = ArgumentParser(
        prog="refinenet export",
        description="Export a network to one file that maps uint8 RGB images (N, 3, H, W), or float32 images of the channels "
        "and range that it was trained with, to class scores (N, classes, H, W), or to depth, normals or other values (N, "
        "channels, H, W) in their unit, for any number of images of any size.",
    )
    parser.add_argument("model", type=Path, help="a model directory, or a run's last.ckpt or best.ckpt")
    parser.add_argument("--to", type=Format, required=True, help="onnx, or torch_export for torch.export.load")
    parser.add_argument("-o", "--output", type=Path | None, help="the file to write; by default MODEL.onnx or MODEL.pt2")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    options = parser.parse_args(arguments[1:])
    try:
        model = expand_path(options.model, CheckpointError)
        output = default_output(model, options.to) if options.output is None else expand_path(options.output, CheckpointError)
        min_side, meaning = export(model, options.to, output, options.overwrite)
    except CheckpointError as error:
        sys.exit(f"error: {error}")
    image_format = read_image_format(model)
    stored = f"; float32 images, {image_format}" if image_format and not image_format.is_eight_bit_rgb else ""
    print(f"written: {output}, for images of {min_side} to {SIDES[1]} pixels per side{stored}")
    if isinstance(meaning, Values):
        print(one_line(f"values: {', '.join(meaning.names)}{f' in {meaning.unit}' if meaning.unit else ''}"))

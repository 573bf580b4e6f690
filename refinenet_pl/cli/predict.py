"""`predict`: class ids, colors and overlays of images, from a checkpoint alone."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from tqdm import tqdm

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.inputs import Input, find_images, output_names, select
from refinenet_pl.cli.options import OptionError
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.readers.io import read_image
from refinenet_pl.datasets.submission import SERVERS
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.errors import CheckpointError, DataError
from refinenet_pl.evaluation.inference import Inference, Protocol
from refinenet_pl.files import distinct, expand_path, refuse_existing
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.visualization.fonts import one_line
from refinenet_pl.visualization.predictions import ENDINGS, prediction_files, save_prediction

# Of the images that cannot be predicted, so many are named.
SHOWN = 20

DESCRIPTION = (
    "Segment images with a checkpoint. For each image NAME.png (class ids), NAME_color.png (colors with a legend) and "
    "NAME_overlay.png (colors laid over the image) are written into --output. Subfolders are entered; hidden files and folders "
    "are left out. NAME is the image's path below the given folder, or below the part of a pattern before its first wildcard, "
    "without the extension and with _ between its parts: aachen/a.jpg is called aachen_a. If images would share a file, their "
    "names keep the extension, begin with the name of the given folder, or are numbered, which is printed."
)


def predict(
    images: Sequence[str],
    ckpt_path: Path,
    output: Path,
    device: str | None = None,
    only: Path | None = None,
    submission: str | None = None,
    compile: bool | None = None,
    overwrite: bool = False,
    **inference: Any,
) -> None:
    """Segment images.

    For each image writes NAME.png (class ids), NAME_color.png (the classes' colors with their legend) and NAME_overlay.png (the
    colors laid over the image), see `output_names`; or what an evaluation server accepts. An image that cannot be predicted
    does not keep the others from it.

    Args:
        images: Images, folders of images, or patterns.
        ckpt_path: A run's last.ckpt or best.ckpt, or a model directory.
        output: Folder to write into; made if missing.
        device: As torch names it; None for a GPU if there is one.
        only: A text file of names, one a line; other images are left out.
        submission: Name of an evaluation server.
        compile: Whether torch.compile makes the network; None for what the run had.
        overwrite: Whether files that exist may be replaced.
        inference: Changes to the run's `Inference`.

    Raises:
        DataError: There are no such images, a file would be overwritten, or, at the end, some images could not be predicted.
        CheckpointError: The checkpoint cannot be used, or not for that server.
        OptionError: There is no such device, or the run's `Inference` cannot be changed like this.
        OSError: A prediction cannot be written.
    """
    chosen = find_device(device)
    ckpt_path, output = expand_path(ckpt_path, CheckpointError), expand_path(output, DataError)
    inputs, left_out = find_images(images, output)
    if only:
        inputs = select(inputs, expand_path(only, DataError))
    if str(left_out):
        print(one_line(f"left out: {left_out}"))
    if submission:
        predict_for_server(inputs, ckpt_path, output, chosen, submission, compile, overwrite, inference)
        return
    stems = [output / name for name in name_outputs(inputs)]
    refuse_collisions(inputs, [file for stem in stems for file in prediction_files(stem)], overwrite)
    task, view, classes = prepare(ckpt_path, chosen, compile, inference)
    failures: list[str] = []
    for index, image, mask in segment(task, view, inputs, failures):
        save_prediction(stems[index], image, mask, classes)
    print(f"{len(inputs) - len(failures)} images segmented into {output}")
    _report(failures, len(inputs))


def predict_for_server(
    inputs: list[Input],
    ckpt_path: Path,
    output: Path,
    device: torch.device,
    name: str,
    compile: bool | None,
    overwrite: bool,
    inference: dict,
) -> None:
    """Segment images into the archive that an evaluation server accepts, and the folder that it is packed from."""
    server = SERVERS[name]
    folder = output / server.dataset
    files = [server.mask_file(output, image.path) for image in inputs]
    for image, file, free in zip(inputs, files, distinct([file.stem for file in files]), strict=True):
        if free != file.stem:
            raise DataError(f"{image.path}: another image is called {file.stem} too, and the server knows one of them only")
    archive = server.archive_file(output)
    refuse_collisions(inputs, [*files, archive], overwrite)
    others = {path for path in folder.rglob("*") if not path.is_dir()}.difference(files)
    if others:
        raise DataError(f"{min(others)}: would be packed with these predictions; remove {folder}, or give another --output")
    task, view, classes = prepare(ckpt_path, device, compile, inference)
    if classes.names != server.classes().names:
        raise CheckpointError(f"{ckpt_path}: knows other classes than those that the server of {name} asks for")
    failures: list[str] = []
    for index, _, mask in segment(task, view, inputs, failures):
        server.save(files[index], mask)
    _report(failures, len(inputs), f"; {archive.name} is not packed")
    print(f"{len(inputs)} images segmented; submit {server.pack(output)}")


def find_device(name: str | None) -> torch.device:
    """Find a device of this machine; None for a GPU if there is one.

    Raises:
        OptionError: There is no such device; the message names those that there are.
    """
    devices = ["cpu"]
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        devices = [kind, *(f"{kind}:{index}" for index in range(torch.accelerator.device_count())), *devices]
    if name is not None and name not in devices:
        raise OptionError(f"--device {name}: torch finds no such device here; choose from {', '.join(devices)}")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def name_outputs(inputs: list[Input]) -> list[str]:
    """The name of each prediction; those that are not the image's own are printed.

    Raises:
        DataError: A name is too long for a file.
    """
    names = output_names(inputs, [f"{ending}.png" for ending in ENDINGS])
    others = [
        f"{image.path} as {name}" for image, name in zip(inputs, names, strict=True) if name != image.stem.replace("/", "_")
    ]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        print(one_line(f"named otherwise, because images would share a file: {', '.join(others[:5])}{more}"))
    for image, name in zip(inputs, names, strict=True):
        # With room for the extension of an unfinished file.
        if len(os.fsencode(f"{Path(name).name}{max(ENDINGS, key=len)}.png")) > 240:
            raise DataError(f"{image.path}: its name is too long for those of its predictions; rename it")
    return names


def refuse_collisions(inputs: list[Input], files: list[Path], overwrite: bool) -> None:
    """Raise a DataError if a file to write is an image to read, exists already, or is to be in a folder that is a file."""

    @cache
    def real(folder: Path) -> str:
        return os.path.realpath(folder)

    written = {(real(file.parent), file.name) for file in files}
    for image in inputs:
        for path in image.path, image.path.resolve():
            if (real(path.parent), path.name) in written:
                raise DataError(f"{image.path}: a prediction would be written over this picture; give another folder as output")
    if not overwrite:
        refuse_existing(files, DataError)
    for folder in {parent for file in files for parent in file.parents}:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: is a file, but predictions are to be written below it; give another --output")


def prepare(
    ckpt_path: Path, device: torch.device, compile: bool | None, inference: dict
) -> tuple[SegmentationTask, Inference, Classes]:
    """The task on its device, its view of the images, as it would be tested unless options differ, and its classes."""
    task, classes = load_for_prediction(ckpt_path, compile)
    try:
        view = replace(task.test_inference, **{name: value for name, value in inference.items() if value is not None})
    except ValueError as error:
        raise OptionError(str(error)) from error
    task.to(device)
    prepare_for_inference(task.network, task.hparams.compile)
    return task, view, classes


def segment(
    task: SegmentationTask, view: Inference, inputs: list[Input], failures: list[str]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Predict images one by one.

    Args:
        task: The task, on its device.
        view: View of the images.
        inputs: The images.
        failures: The messages about images that cannot be read, or do not fit into the memory, are added to this.

    Returns:
        For each other image its index, its pixels, uint8 (height, width, 3), and its class ids, uint8 (height, width).
    """
    for index, (path, _) in enumerate(tqdm(inputs, desc="predict", unit="image")):
        try:
            image = read_image(path, any_size=True) if view.tile else read_image(path)
            mask = _predict(task, view, image, path)
        except DataError as error:
            failures.append(str(error))
        else:
            yield index, image, mask


def _predict(task: SegmentationTask, view: Inference, image: np.ndarray, path: Path) -> np.ndarray:
    """Class ids of an image, uint8 (height, width); a DataError if it does not fit into the memory."""
    try:
        with torch.inference_mode():
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(task.device)
            return task.predict_mask(batch, view)[0].byte().cpu().numpy()
    except FloatingPointError as error:
        raise DataError(f"{path}: {error}") from None
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not is_oom_error(error):
            raise
    garbage_collection_cuda()  # only now, since an error keeps the tensors of the call that raised it
    tile, size = view.tile, f"{image.shape[1]}x{image.shape[0]}"
    advice = f"smaller tiles than --tile {list(tile)}" if tile else "tiles, for example --tile [1024,1024]"
    raise DataError(f"{path}: this image of {size} does not fit into the memory of {task.device}; predict it in {advice}")


def _report(failures: list[str], number: int, consequence: str = "") -> None:
    """Raise a DataError about the images that could not be predicted."""
    if failures:
        more = [f"and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
        head = f"{len(failures)} of {number} images could not be predicted{consequence}:"
        raise DataError("\n- ".join([head, *failures[:SHOWN], *more]))


def main(arguments: list[str]) -> None:
    """Run `predict`; `arguments` begins with the command."""
    parser = ArgumentParser(prog="refinenet predict", description=DESCRIPTION)
    parser.add_argument("images", nargs="+", help="images, folders of images, or patterns like 'street/*.jpg'")
    parser.add_argument("--ckpt_path", type=Path, required=True, help="a run's last.ckpt or best.ckpt, or a model directory")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="folder to write into")
    parser.add_argument("--overwrite", action="store_true", help="replace predictions that exist")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; without it, a GPU if there is one")
    parser.add_argument(
        "--only",
        type=Path,
        help="a text file of names or paths, one a line: leave out all other images; extensions are optional",
    )
    parser.add_argument("--submission", choices=list(SERVERS), help="write what this evaluation server accepts instead")
    parser.add_argument("--compile", type=bool | None, help="true or false: whether torch.compile makes the network")
    # Without these, as the run's recipe has it for its test.
    parser.add_argument("--scales", type=list[float] | None, help="scales to average over, like [0.5,1.0]")
    parser.add_argument("--flip", type=bool | None, help="average over horizontally flipped images too: true or false")
    parser.add_argument("--tile", type=tuple[int, int] | None, help="height and width of tiles, for images that do not fit")
    parser.add_argument("--tile_overlap", type=float | None, help="least share of a tile that the next one sees too")
    parser.add_argument("--protocol", type=Protocol | None, help="standard or paper")
    options = parser.parse_args(arguments[1:])
    try:
        predict(**{name: value for name, value in options.items() if name != "config"})
    except (DataError, CheckpointError, OptionError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or options.output}: cannot be written ({error.strerror or error})")

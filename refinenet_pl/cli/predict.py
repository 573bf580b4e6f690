"""`refinenet predict`: segment images with a checkpoint."""

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

# Max number of failures that the final error message lists.
SHOWN = 20

DESCRIPTION = (
    "Segment images with a checkpoint. For each image, writes NAME.png (class ids), NAME_color.png (class colors with a "
    "legend) and NAME_overlay.png (class colors blended with the image) to --output. Folders are searched recursively; hidden "
    "files and folders are skipped. NAME is the image's path relative to the given folder, or to the part of a pattern before "
    "its first wildcard, without the extension and with its parts joined by _: aachen/a.jpg becomes aachen_a. If two images "
    "would get the same name, their names keep the extension, start with the name of the given folder, or are numbered; "
    "such names are printed."
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
    """Segment images and write the predictions.

    Without `submission`, writes the files of `save_prediction` for each image, named by `output_names`. Images that cannot be
    predicted are skipped and reported at the end.

    Args:
        images: Images, folders of images, or patterns.
        ckpt_path: A run's last.ckpt or best.ckpt, or a model directory.
        output: Folder to write to; created if missing.
        device: Name of a torch device; None selects a GPU if one is available.
        only: Text file with one name per line; all other images are skipped.
        submission: Name of an evaluation server, to write its archive instead.
        compile: Compile the network with torch.compile; None uses the run's setting.
        overwrite: Replace existing files.
        inference: Overrides of the fields of the run's test `Inference`.

    Raises:
        DataError: No image is found, a file would be overwritten, or some images could not be predicted (raised at the end).
        CheckpointError: The checkpoint is not usable, or not for this server.
        OptionError: The device does not exist, or the overrides are invalid.
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
    """Segment images and write the archive for an evaluation server, in addition to the folder that it is packed from."""
    server = SERVERS[name]
    folder = output / server.dataset
    files = [server.mask_file(output, image.path) for image in inputs]
    for image, file, free in zip(inputs, files, distinct([file.stem for file in files]), strict=True):
        if free != file.stem:
            raise DataError(f"{image.path}: another image is called {file.stem} too; remove one, since the server accepts one")
    archive = server.archive_file(output)
    refuse_collisions(inputs, [*files, archive], overwrite)
    others = {path for path in folder.rglob("*") if not path.is_dir()}.difference(files)
    if others:
        raise DataError(f"{min(others)}: would be packed with these predictions; remove {folder}, or choose another --output")
    task, view, classes = prepare(ckpt_path, device, compile, inference)
    if classes.names != server.classes().names:
        raise CheckpointError(f"{ckpt_path}: its classes are not those of the server {name}; train on {server.dataset}")
    failures: list[str] = []
    for index, _, mask in segment(task, view, inputs, failures):
        server.save(files[index], mask)
    _report(failures, len(inputs), f"; {archive.name} is not packed")
    print(f"{len(inputs)} images segmented; submit {server.pack(output)}")


def find_device(name: str | None) -> torch.device:
    """Find a device of this machine by name; None selects a GPU if one is available.

    Raises:
        OptionError: The device does not exist; the message lists the available ones.
    """
    devices = ["cpu"]
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None:
        kind = accelerator.type
        devices = [kind, *(f"{kind}:{index}" for index in range(torch.accelerator.device_count())), *devices]
    if name is not None and name not in devices:
        raise OptionError(f"--device {name}: no such device on this machine; choose from {', '.join(devices)}")
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def name_outputs(inputs: list[Input]) -> list[str]:
    """Choose the name of each prediction and print the names that differ from their image's.

    Raises:
        DataError: A name is too long for a file.
    """
    names = output_names(inputs, [f"{ending}.png" for ending in ENDINGS])
    others = [
        f"{image.path} as {name}" for image, name in zip(inputs, names, strict=True) if name != image.stem.replace("/", "_")
    ]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        print(one_line(f"renamed, because images would share a file: {', '.join(others[:5])}{more}"))
    for image, name in zip(inputs, names, strict=True):
        # Leaves room for the suffix of the temporary file.
        if len(os.fsencode(f"{Path(name).name}{max(ENDINGS, key=len)}.png")) > 240:
            raise DataError(f"{image.path}: the names of its predictions would be too long; rename the image")
    return names


def refuse_collisions(inputs: list[Input], files: list[Path], overwrite: bool) -> None:
    """Raise a DataError if an output file is an input image, exists already, or has a regular file as a parent folder."""

    @cache
    def real(folder: Path) -> str:
        return os.path.realpath(folder)

    written = {(real(file.parent), file.name) for file in files}
    for image in inputs:
        for path in image.path, image.path.resolve():
            if (real(path.parent), path.name) in written:
                raise DataError(f"{image.path}: a prediction would overwrite this image; choose another --output")
    if not overwrite:
        refuse_existing(files, DataError)
    for folder in {parent for file in files for parent in file.parents}:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: is a file, so predictions cannot be written below it; choose another --output")


def prepare(
    ckpt_path: Path, device: torch.device, compile: bool | None, inference: dict
) -> tuple[SegmentationTask, Inference, Classes]:
    """Load a task for prediction.

    Returns:
        The task on its device; the `Inference` of its test with the overrides applied; and its classes.
    """
    task, classes = load_for_prediction(ckpt_path, compile)
    try:
        view = replace(task.test_inference, **{name: value for name, value in inference.items() if value is not None})
    except ValueError as error:
        raise OptionError(str(error)) from error
    task.to(device)
    prepare_for_inference(task.network, task.hparams["compile"])
    return task, view, classes


def segment(
    task: SegmentationTask, view: Inference, inputs: list[Input], failures: list[str]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Segment images one by one.

    Args:
        task: The task on its device.
        view: Scales, flips and tiles to predict with.
        inputs: The images.
        failures: List to append messages to, about images that cannot be read or do not fit into memory.

    Yields:
        Index, pixels (uint8, (height, width, 3)) and class ids (uint8, (height, width)) of each other image.
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
    """Predict the class ids of an image, uint8 (height, width); raises a DataError if it does not fit into memory."""
    try:
        with torch.inference_mode():
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(task.device)
            return task.predict_mask(batch, view)[0].byte().cpu().numpy()
    except FloatingPointError as error:
        raise DataError(f"{path}: {error}") from None
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not is_oom_error(error):
            raise
    garbage_collection_cuda()  # outside the except block, because the exception keeps the tensors of the failed call alive
    tile, size = view.tile, f"{image.shape[1]}x{image.shape[0]}"
    advice = f"smaller tiles than --tile {list(tile)}" if tile else "tiles, for example --tile [1024,1024]"
    raise DataError(f"{path}: an image of {size} pixels does not fit into the memory of {task.device}; predict it in {advice}")


def _report(failures: list[str], number: int, consequence: str = "") -> None:
    """Raise a DataError that lists the images that could not be predicted, if there are any."""
    if failures:
        more = [f"and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
        head = f"{len(failures)} of {number} images could not be predicted{consequence}:"
        raise DataError("\n- ".join([head, *failures[:SHOWN], *more]))


def main(arguments: list[str]) -> None:
    """Run `refinenet predict`; `arguments` begins with the command."""
    parser = ArgumentParser(prog="refinenet predict", description=DESCRIPTION)
    parser.add_argument("images", nargs="+", help="images, folders of images, or patterns such as 'street/*.jpg'")
    parser.add_argument("--ckpt_path", type=Path, required=True, help="a run's last.ckpt or best.ckpt, or a model directory")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace existing predictions")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default, a GPU if one is available")
    parser.add_argument(
        "--only", type=Path, help="text file with one image name or path per line, extension optional; other images are skipped"
    )
    parser.add_argument("--submission", choices=list(SERVERS), help="write the archive for this evaluation server instead")
    parser.add_argument("--compile", type=bool | None, help="compile the network with torch.compile: true or false")
    # These default to the test settings of the run's recipe.
    parser.add_argument("--scales", type=list[float] | None, help="image scales to average over, such as [0.5,1.0]")
    parser.add_argument("--flip", type=bool | None, help="also average over horizontally flipped images: true or false")
    parser.add_argument("--tile", type=tuple[int, int] | None, help="tile height and width, for images too large for memory")
    parser.add_argument("--tile_overlap", type=float | None, help="min overlap of neighboring tiles, as a fraction of a tile")
    parser.add_argument("--protocol", type=Protocol | None, help="standard or paper")
    options = parser.parse_args(arguments[1:])
    try:
        predict(**{name: value for name, value in options.items() if name != "config"})
    except (DataError, CheckpointError, OptionError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or options.output}: cannot be written ({error.strerror or error})")

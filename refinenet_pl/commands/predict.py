"""`predict`: class ids, colours and overlays of pictures, from a checkpoint alone."""

import glob
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from refinenet_pl.data.classes import Classes
from refinenet_pl.data.errors import DataError
from refinenet_pl.data.paired import read_list
from refinenet_pl.data.pictures import read_image
from refinenet_pl.evaluation.inference import Protocol
from refinenet_pl.network.deployment import prepare_for_inference
from refinenet_pl.network.errors import CheckpointError
from refinenet_pl.tasks.checkpoint import load_for_prediction
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.tracking.pictures import save_prediction
from refinenet_pl.tracking.submission import SERVERS

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")


def predict(
    pictures: list[str],
    ckpt_path: Path,
    output: Path,
    device: str | None = None,
    only: Path | None = None,
    submission: str | None = None,
    compile: bool | None = None,
    **inference: Any,
) -> None:
    """Segment pictures.

    For each picture writes NAME.png (class ids), NAME_color.png (the classes' colours with their legend) and NAME_overlay.png
    (the colours laid over the picture); or what an evaluation server takes.

    Args:
        pictures: Pictures, folders of pictures, or patterns.
        ckpt_path: A run's last.ckpt or best.ckpt, or a model directory.
        output: Folder to write into; made where missing.
        device: As torch names it; None for a GPU where there is one.
        only: A text file of names, one a line; other pictures are left out.
        submission: Name of an evaluation server.
        compile: Whether torch.compile makes the network; None for what the run had.
        inference: What to change in the run's `Inference`.

    Raises:
        DataError: There are no such pictures, or one cannot be read.
        CheckpointError: The checkpoint cannot be used, or not for that server.
    """
    paths = find_pictures(pictures)
    if only:
        paths = select(paths, only)
    if submission:
        predict_for_server(paths, ckpt_path, output, device, submission, compile, inference)
        return
    written = {(output / f"{name}{ending}.png").resolve() for _, name in paths for ending in ("", "_color", "_overlay")}
    for path, _ in paths:
        if path.resolve() in written:
            raise DataError(f"{path}: a prediction would be written over this picture; give another folder as output")
    task, classes = prepare(ckpt_path, device, compile, inference)
    output.mkdir(parents=True, exist_ok=True)
    for _, name, image, mask in segment(task, paths):
        save_prediction(output / name, image, mask, classes)
    print(f"{len(paths)} pictures segmented into {output}")


def predict_for_server(
    paths: list[tuple[Path, str]],
    ckpt_path: Path,
    output: Path,
    device: str | None,
    server: str,
    compile: bool | None,
    inference: dict,
) -> None:
    """Segment pictures into the archive that an evaluation server takes, and the folder that it was packed from."""
    task, classes = prepare(ckpt_path, device, compile, inference)
    submission = SERVERS[server]
    if classes.names != submission.classes().names:
        raise CheckpointError(f"{ckpt_path}: knows other classes than those that the server of {server} asks for")
    for path, _, _, mask in segment(task, paths):
        submission.save(output, path, mask)
    print(f"{len(paths)} pictures segmented; submit {submission.pack(output)}")


def prepare(ckpt_path: Path, device: str | None, compile: bool | None, inference: dict) -> tuple[SegmentationTask, Classes]:
    """The task on its device, predicting as it would be tested unless told otherwise, and its classes."""
    task, classes = load_for_prediction(ckpt_path, compile)
    try:
        task.inference = replace(task.test_inference, **{name: value for name, value in inference.items() if value is not None})
    except ValueError as error:
        sys.exit(f"error: {error}")
    task.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    prepare_for_inference(task.network, task.hparams.compile)
    return task, classes


def segment(task: SegmentationTask, paths: list[tuple[Path, str]]) -> Iterator[tuple[Path, str, np.ndarray, np.ndarray]]:
    """Path, name, picture and uint8 class ids of each."""
    for path, name in tqdm(paths, desc="predict", unit="picture"):
        image = read_image(path)
        with torch.inference_mode():
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(task.device)
            mask = task.predict_mask(batch)[0].byte().cpu().numpy()
        yield path, name, image, mask


def find_pictures(patterns: list[str]) -> list[tuple[Path, str]]:
    """Resolve pictures, folders and patterns.

    Returns:
        (path, name to write under) of each picture, sorted, each once. Names keep apart pictures of the same stem.

    Raises:
        DataError: A pattern finds no picture.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            here = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        else:
            here = (
                [path] if path.is_file() else sorted(Path(p) for p in glob.glob(pattern, recursive=True) if Path(p).is_file())
            )
        if not here:
            raise DataError(f"{pattern}: no picture there (looked for {', '.join(SUFFIXES)})")
        found |= dict.fromkeys(here)
    return list(zip(found, _names(list(found)), strict=True))


def select(paths: list[tuple[Path, str]], only: Path) -> list[tuple[Path, str]]:
    """The pictures whose names a text file lists.

    Raises:
        DataError: The file is missing, or names a picture that is not there.
    """
    wanted = {Path(words[0]).stem for words in read_list(only)}
    missing = sorted(wanted - {path.stem for path, _ in paths})
    if missing:
        raise DataError(f"{only}: lists {missing[0]}, which is not among the pictures (nor are {len(missing) - 1} others)")
    return [(path, name) for path, name in paths if path.stem in wanted]


def _names(paths: list[Path]) -> list[str]:
    """Stems; where several pictures share one, behind the folder's name, and numbered where that does not tell them apart."""
    stems = Counter(path.stem for path in paths)
    taken = {stem for stem, number in stems.items() if number == 1}
    names = []
    for path in paths:
        name = path.stem
        if stems[name] > 1:
            name = first = "_".join(path.with_suffix("").parts[-2:])
            number = 1
            while name in taken:
                number += 1
                name = f"{first}_{number}"
            taken.add(name)
        names.append(name)
    return names


def main(arguments: list[str]) -> None:
    """Run `predict`; `arguments` begins with the command."""
    parser = ArgumentParser(prog="python -m refinenet_pl predict", description="Segment pictures with a checkpoint.")
    parser.add_argument("pictures", nargs="+", help="pictures, folders of pictures, or patterns like 'street/*.jpg'")
    parser.add_argument("--ckpt_path", type=Path, required=True, help="a run's last.ckpt or best.ckpt, or a model directory")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="folder to write into")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; without it, a GPU where there is one")
    parser.add_argument("--only", type=Path, help="a text file of names, one a line: leave out all other pictures")
    parser.add_argument("--submission", choices=list(SERVERS), help="write what this evaluation server takes instead")
    parser.add_argument("--compile", type=bool | None, help="true or false: whether torch.compile makes the network")
    # Without these, as the run's recipe has it for its test.
    parser.add_argument("--scales", type=list[float] | None, help="scales to average over, like [0.5,1.0]")
    parser.add_argument("--flip", type=bool | None, help="average over mirrored pictures too: true or false")
    parser.add_argument("--tile", type=tuple[int, int] | None, help="height and width of tiles, for pictures that do not fit")
    parser.add_argument("--tile_overlap", type=float | None, help="least share of a tile that the next one sees too")
    parser.add_argument("--protocol", type=Protocol | None, help="standard or paper")
    options = parser.parse_args(arguments[1:])
    try:
        predict(**{name: value for name, value in options.items() if name != "config"})
    except (DataError, CheckpointError) as error:
        sys.exit(f"error: {error}")

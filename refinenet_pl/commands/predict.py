"""`predict`: class ids, colours and overlays of pictures, from a checkpoint alone."""

import glob
import sys
from collections import Counter
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from tqdm import tqdm

from refinenet_pl.data.errors import DataError
from refinenet_pl.data.pictures import read_image
from refinenet_pl.tasks.checkpoint import CheckpointError, load_for_prediction
from refinenet_pl.tracking.pictures import save_prediction

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm")


def predict(pictures: list[str], ckpt_path: Path, output: Path, device: str | None) -> None:
    """Segment pictures.

    For each picture writes NAME.png (class ids), NAME_color.png (the classes' colours with their legend) and NAME_overlay.png
    (the colours laid over the picture).

    Args:
        pictures: Pictures, folders of pictures, or patterns.
        ckpt_path: A run's last.ckpt or best.ckpt.
        output: Folder to write into; made where missing.
        device: As torch names it; None for a GPU where there is one.
    """
    paths = find_pictures(pictures)
    written = {(output / f"{name}{ending}.png").resolve() for _, name in paths for ending in ("", "_color", "_overlay")}
    for path, _ in paths:
        if path.resolve() in written:
            raise DataError(f"{path}: a prediction would be written over this picture; give another folder as output")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    task, classes = load_for_prediction(ckpt_path)
    task.to(device)
    output.mkdir(parents=True, exist_ok=True)
    for path, name in tqdm(paths, desc="predict", unit="picture"):
        image = read_image(path)
        with torch.inference_mode():
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(device)
            mask = task(batch).argmax(1)[0].byte().cpu().numpy()
        save_prediction(output / name, image, mask, classes)
    print(f"{len(paths)} pictures segmented into {output}")


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
    parser.add_argument("--ckpt_path", type=Path, required=True, help="a run's last.ckpt or best.ckpt")
    parser.add_argument("--output", type=Path, default=Path("predictions"), help="folder to write into")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; without it, a GPU where there is one")
    options = parser.parse_args(arguments[1:])
    try:
        predict(options.pictures, options.ckpt_path, options.output, options.device)
    except (DataError, CheckpointError) as error:
        sys.exit(f"error: {error}")

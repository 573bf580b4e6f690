#!/usr/bin/env python
"""The README's pictures.

python experiments/figures.py scenes
python experiments/figures.py camvid CHECKPOINT
python experiments/figures.py page REPORT
"""

import argparse
import io
import shutil
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.visualization.predictions import overlay

DOCS = Path(__file__).resolve().parents[1] / "docs"


def sheet(dataset: SegmentationDataset, rows: dict[str, list[np.ndarray]], file: Path, height: float) -> None:
    """Write rows of pictures with a legend of the data set's classes.

    Args:
        dataset: Gives the legend.
        rows: Heading of each row and its pictures, uint8 (height, width, 3); all rows have equally many.
        file: Where to write.
        height: Of a row, in inches.
    """
    columns = len(next(iter(rows.values())))
    figure = Figure(figsize=(11, height * len(rows) + 0.7), layout="constrained")
    for axes, (heading, pictures) in zip(figure.subplots(len(rows), columns, squeeze=False), rows.items(), strict=True):
        axes[0].set_ylabel(heading, fontsize=11)
        for axis, picture in zip(axes, pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    classes = dataset.classes
    colours = [*(np.array(colour) / 255 for colour in classes.palette), (0, 0, 0)]
    handles = [
        Patch(facecolor=colour, edgecolor="0.3", label=name)
        for name, colour in zip((*classes.names, "void"), colours, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=10)
    figure.savefig(file, dpi=110)


def scenes() -> None:
    """Four scenes above their masks, one of each kind of surroundings."""
    dataset = Scenes(split="val")
    images, masks = zip(*(dataset.read(index) for index in (2, 3, 4, 5)), strict=True)
    rows = {"picture": list(images), "mask": [dataset.classes.colourise(mask) for mask in masks]}
    sheet(dataset, rows, DOCS / "scenes.png", height=2.7)


def camvid(checkpoint: Path, root: Path) -> None:
    """Four test pictures, evenly spread over the split, with prediction and ground truth."""
    dataset = CamVid(root, "test")
    task, classes = load_for_prediction(checkpoint)
    rows: dict[str, list[np.ndarray]] = {"picture": [], "prediction": [], "ground truth": []}
    for index in np.linspace(0, len(dataset) - 1, 6).astype(int)[1:-1]:
        image, mask = dataset.read(int(index))
        with torch.inference_mode():
            prediction = task(torch.from_numpy(image).permute(2, 0, 1)[None]).argmax(1)[0].numpy()
        rows["picture"].append(image)
        rows["prediction"].append(overlay(image, classes.colourise(prediction)))
        rows["ground truth"].append(overlay(image, classes.colourise(mask)))
    sheet(dataset, rows, DOCS / "camvid.png", height=2.1)


def page(report: Path) -> None:
    """A page of `report.py`, as it is seen on a desk and, in the dark, on a phone; needs Chromium."""
    from playwright.sync_api import sync_playwright  # a package of the tests

    height, shots = 1560, []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width, scheme in (1280, "light"), (390, "dark"):
            opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            opened.goto(report.resolve().as_uri())
            shots.append(Image.open(io.BytesIO(opened.screenshot())))
        browser.close()
    both = Image.new("RGB", (sum(shot.width for shot in shots) + 24, height), "white")
    both.paste(shots[0])
    both.paste(shots[1], (shots[0].width + 24, 0))
    both.save(DOCS / "page.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=["scenes", "camvid", "page"])
    parser.add_argument("file", nargs="?", type=Path, help="for camvid: the run's best.ckpt; for page: the page")
    parser.add_argument("--root", type=Path, default=Path("data/camvid"), help="for camvid: where the data set lies")
    options = parser.parse_args()
    if options.which == "scenes":
        scenes()
    elif options.file is None:
        parser.error(f"{options.which} needs a file")
    elif options.which == "page":
        page(options.file)
    else:
        camvid(options.file, options.root)


if __name__ == "__main__":
    main()

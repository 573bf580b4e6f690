#!/usr/bin/env python
"""Figures of the README.

python docs/figures.py scenes
python docs/figures.py camvid CHECKPOINT
python docs/figures.py page REPORT
"""

import argparse
import io
import shutil
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.visualization.predictions import overlay
from refinenet_pl.visualization.samples import add_legend

DOCS = Path(__file__).resolve().parent


def sheet(classes: Classes, rows: dict[str, list[np.ndarray]], file: Path, height: float) -> None:
    """Write rows of images with a legend.

    Args:
        classes: Classes of the legend.
        rows: Images of each row by its heading, uint8 (height, width, 3); the same number in each row.
        file: Output file.
        height: Row height in inches.
    """
    columns = len(next(iter(rows.values())))
    figure = Figure(figsize=(11, height * len(rows) + 0.7), layout="constrained")
    for axes, (heading, images) in zip(figure.subplots(len(rows), columns, squeeze=False), rows.items(), strict=True):
        axes[0].set_ylabel(heading, fontsize=11)
        for axis, image in zip(axes, images, strict=True):
            axis.imshow(image, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    add_legend(figure, (*classes.names, "void"), (*classes.palette, (0, 0, 0)), columns=6)
    figure.savefig(file, dpi=110)


def scenes() -> None:
    """Plot four scenes with their masks, one for each combination of sun or moon and road or river."""
    dataset = Scenes(split="val")
    images, masks = zip(*(dataset.read(index) for index in (2, 3, 4, 5)), strict=True)
    rows = {"image": list(images), "mask": [dataset.classes.colorize(mask) for mask in masks]}
    sheet(dataset.classes, rows, DOCS / "scenes.png", height=2.7)


def camvid(checkpoint: Path, root: Path) -> None:
    """Plot four evenly spaced images of the test split with prediction and ground truth."""
    dataset = CamVid(root, "test")
    task, classes = load_for_prediction(checkpoint)
    rows: dict[str, list[np.ndarray]] = {"image": [], "prediction": [], "ground truth": []}
    for index in np.linspace(0, len(dataset) - 1, 6).astype(int)[1:-1]:
        image, mask = dataset.read(int(index))
        with torch.inference_mode():
            prediction = task.predict_mask(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
        rows["image"].append(image)
        rows["prediction"].append(overlay(image, classes.colorize(prediction)))
        rows["ground truth"].append(overlay(image, classes.colorize(mask)))
    sheet(dataset.classes, rows, DOCS / "camvid.png", height=2.1)


def page(report: Path) -> None:
    """Take screenshots of a report page at desktop width and, in dark mode, at phone width; requires Chromium."""
    from playwright.sync_api import sync_playwright  # in the extra `test`

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
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=["scenes", "camvid", "page"])
    parser.add_argument("file", nargs="?", type=Path, help="for camvid: checkpoint; for page: report page")
    parser.add_argument("--root", type=Path, default=Path("data/camvid"), help="for camvid: dataset directory")
    options = parser.parse_args()
    if options.figure == "scenes":
        scenes()
    elif options.file is None:
        parser.error(f"{options.figure} requires FILE")
    elif options.figure == "page":
        page(options.file)
    else:
        camvid(options.file, options.root)


if __name__ == "__main__":
    main()

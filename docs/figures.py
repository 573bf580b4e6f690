#!/usr/bin/env python
"""Figures of the README and of docs/.

python docs/figures.py                # make all figures, except camvid.png
python docs/figures.py page wandb     # make these
python docs/figures.py camvid --checkpoint runs/single@camvid/default/seed0/best.ckpt
python docs/figures.py --check        # list the figures that no longer show the current records, data or names

page.png and wandb.png require Chromium, and wandb.png pyte (the extra `docs`).
Each file has a text chunk, `Source`: the SHA-256 of what it shows.
"""

import argparse
import contextlib
import csv
import hashlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from refinenet_pl.callbacks.predicted_samples import spread
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.main import main as refinenet
from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.datasets.scenes_values import ScenesDepth
from refinenet_pl.tracking.log_options import LogOptions
from refinenet_pl.visualization.predictions import overlay
from refinenet_pl.visualization.samples import add_legend

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "experiments" / "results"
RECIPES = DOCS.parent / "experiments" / "recipes"

# One scene for each combination of sun or moon and road or river.
SCENES = ("val", (2, 3, 4, 5))
# Those that `data show --samples 2` chooses.
SAMPLES = ("train", (0, 799))
# Ten short epochs of the recipe, which take about a minute on two cores.
CPU = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
RUN = [*CPU, "--trainer.max_epochs=10", "--trainer.limit_train_batches=50", "--trainer.limit_val_batches=5"]
# Cells of the table chained_pooling that are compared in TensorBoard.
CELLS = ("pool_conv_4", "no_unit")
# One step, which logs the same names.
STEP = [
    *CPU, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1",
    "--trainer.log_every_n_steps=1", '--data.dataset_options={"size": 64, "samples": 2}', "--data.crop_size=[64, 64]",
]  # fmt: skip
# Layout of `wandb leet`, and the expressions that select charts and options.
LEET = {
    "startup_mode": "workspace_latest", "single_run_color_mode": "per_plot", "run_layout": {"left_sidebar": 0.4},
    "metrics_grid": {"rows": 2, "cols": 3}, "right_sidebar_visible": False,
    "media_visible": True, "media_grid": {"rows": 1, "cols": 4},
}  # fmt: skip
CHARTS, OPTIONS = "val/miou$|loss|learning_rate|images", "network|optimizer|learning_rate$|/miou"


def scenes() -> Image.Image:
    """Plot scenes with their masks."""
    split, indices = SCENES
    dataset = Scenes(split=split)
    images, masks = zip(*map(dataset.read, indices), strict=True)
    rows = {"image": list(images), "mask": [dataset.classes.colorize(mask) for mask in masks]}
    return sheet(dataset.classes, rows, height=2.7)


def samples() -> Image.Image:
    """Plot samples with `refinenet data show`."""
    split, indices = SAMPLES
    with TemporaryDirectory() as folder:
        file = Path(folder) / "samples.png"
        run("data", "show", "scenes", f"--split={split}", f"--samples={len(indices)}", f"--output={file}")
        return Image.open(file).convert("RGB")


def camvid(checkpoint: Path, root: Path) -> Image.Image:
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
    return sheet(dataset.classes, rows, height=2.1)


def depth() -> Image.Image:
    """Train the recipe of depth, and show the image of errors that `test` writes, twice as large."""
    with TemporaryDirectory() as folder:
        options = ("-c=scenes_depth", "--track=none", f"--run.root={folder}", *CPU)
        run("fit", *options)
        run("test", *options)
        (file,) = Path(folder).rglob("test-errors.png")
        with Image.open(file) as small:
            return small.resize((2 * small.width, 2 * small.height), Image.Resampling.NEAREST)


def page() -> Image.Image:
    """Take screenshots of the report of the chained-pooling table: on a desktop, and in dark mode on a phone."""
    height, shots = 1680, []
    with TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder) / "report.html"
        file.write_text(report(), encoding="utf-8")
        for width, scheme in (1280, "light"), (390, "dark"):
            opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            opened.goto(file.as_uri())
            shots.append(Image.open(io.BytesIO(opened.screenshot())))
    both = Image.new("RGB", (sum(shot.width for shot in shots) + 24, height), "white")
    both.paste(shots[0])
    both.paste(shots[1], (shots[0].width + 24, 0))
    return both


def wandb() -> Image.Image:
    """Train a run offline, open it with `wandb leet` and take a screenshot of the terminal."""
    from terminal import Terminal  # requires pyte, in the extra `docs`

    with TemporaryDirectory() as folder, chromium() as browser:
        # In its own directory, because W&B shows the paths that it is given.
        command = [sys.executable, "-m", "refinenet_pl", "fit", "-c", "scenes", *RUN]
        environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=folder, env=environment, check=True)
        (recorded,) = Path(folder).glob("runs/*/*/*/wandb/offline-run-*")
        (Path(folder) / "wandb-leet.json").write_text(json.dumps(LEET))
        viewer = [sys.executable, "-m", "wandb", "leet", str(recorded)]
        with Terminal(viewer, rows=44, columns=146, environment={"WANDB_CONFIG_DIR": folder}) as terminal:
            terminal.wait_for("State: Finished")
            for keys in "/", CHARTS, "\r", "o", OPTIONS, "\r":
                terminal.type(keys)
            terminal.repaint()
            terminal.wait_for("filtered from")
            opened = browser.new_page(viewport={"width": 1600, "height": 900})
            opened.set_content(terminal.html())
        return Image.open(io.BytesIO(opened.locator("pre").screenshot()))


def tensorboard() -> Image.Image:
    """Train two cells of a table briefly and take a screenshot of their images in TensorBoard."""
    with TemporaryDirectory() as folder, chromium() as browser:
        for cell in CELLS:
            logger = ["--trainer.logger=TensorBoardLogger", f"--trainer.logger.save_dir={folder}/tensorboard"]
            names = ["--run.table=chained_pooling", f"--run.cell={cell}", "--track=none"]
            command = [sys.executable, "-m", "refinenet_pl", "fit", "-c", "scenes", *names, *RUN, *logger]
            subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
        server = [sys.executable, "-m", "tensorboard.main", "--logdir", f"{folder}/tensorboard", "--port", "0"]
        with subprocess.Popen(server, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            address = next(filter(None, (re.search(r"http://\S+", line) for line in process.stderr)))[0]
            opened = browser.new_page(viewport={"width": 1200, "height": 840})
            opened.goto(f"{address}#images")
            opened.wait_for_timeout(8000)  # it loads the images after the page
            shown = Image.open(io.BytesIO(opened.screenshot()))
            process.terminate()
    return shown


def sheet(classes: Classes, rows: dict[str, list[np.ndarray]], height: float) -> Image.Image:
    """Plot rows of images with a legend.

    Args:
        classes: Classes of the legend.
        rows: Images of each row by its heading, uint8 (height, width, 3); the same number in each row.
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
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return Image.open(stream).convert("RGB")


def run(*arguments: str) -> None:
    """Run a command of `refinenet`, whose output is printed only if it fails."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            refinenet([*arguments])
    except SystemExit as error:
        sys.exit(f"{output.getvalue()}refinenet {' '.join(arguments)}: {error.code}")


def report() -> str:
    """Build the report of the chained-pooling table from its kept results."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        run("report", str(RESULTS / "chained_pooling@scenes"), f"--output={file}")
        return file.read_text(encoding="utf-8")


@contextlib.contextmanager
def chromium() -> "Iterator[Browser]":
    """Start Chromium."""
    from playwright.sync_api import sync_playwright  # in the extra `test`

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def scenes_shown(split: str, indices: Sequence[int]) -> list[bytes]:
    """Names and colors of the classes, and the pixels of samples of Scenes."""
    dataset = Scenes(split=split)
    arrays = [array for index in indices for array in dataset.read(index)]
    return [_json([dataset.classes.names, dataset.classes.palette]), *(array.tobytes() for array in arrays)]


def depth_shown() -> list[bytes]:
    """Recipe, and depths of the images."""
    dataset = ScenesDepth(split="test")
    targets = [dataset.read(index)[1].tobytes() for index in spread(len(dataset), LogOptions().samples)]
    return [_json(_recipes("_small", "scenes", "scenes_depth")), *targets]


def camvid_shown() -> list[bytes]:
    """Record of the network."""
    return [(RESULTS / "single@camvid" / "records.jsonl").read_bytes()]


def page_shown() -> list[bytes]:
    """Report without its charts, and the records that they plot; matplotlib's output depends on its version."""
    text = re.sub(r'<svg.*?</svg>| data-value="[^"]*"', "", report(), flags=re.DOTALL)
    return [text.encode(), (RESULTS / "chained_pooling@scenes" / "records.jsonl").read_bytes()]


def wandb_shown() -> list[bytes]:
    """Recipe, changed options, layout, and the names that a run logs to W&B."""
    with TemporaryDirectory() as folder:
        run("fit", "-c=scenes", "--track=csv", f"--run.root={folder}", *STEP)
        (file,) = Path(folder).glob("*/*/*/metrics/train/*/metrics.csv")
        with file.open(encoding="utf-8", newline="") as stream:
            names = sorted(name for name in next(csv.reader(stream)) if "/iou/" not in name)
    return [_json([_recipes("_small", "scenes"), RUN, LEET, CHARTS, OPTIONS, names])]


def tensorboard_shown() -> list[bytes]:
    """Recipe, changed options, and the cells."""
    return [_json([_recipes("_small", "scenes"), RUN, CELLS])]


def _recipes(*names: str) -> list[object]:
    return [yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8")) for name in names]


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


SHOWN: dict[str, Callable[[], list[bytes]]] = {
    "scenes": lambda: scenes_shown(*SCENES),
    "samples": lambda: scenes_shown(*SAMPLES),
    "camvid": camvid_shown,
    "depth": depth_shown,
    "page": page_shown,
    "wandb": wandb_shown,
    "tensorboard": tensorboard_shown,
}


def source(name: str) -> str:
    """SHA-256 of what a figure shows, as hexadecimal digits."""
    digest = hashlib.sha256()
    for part in SHOWN[name]():
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def save(name: str, image: Image.Image) -> None:
    """Write a figure with its source, in few colors, because the repository keeps every version of it."""
    chunks = PngInfo()
    chunks.add_text("Source", source(name))
    colors = {"camvid": 192, "depth": 256}.get(name, 128)  # photographs and color bars need more
    method = Image.Quantize.MEDIANCUT if name == "depth" else Image.Quantize.MAXCOVERAGE
    small = image.convert("RGB").quantize(colors, method=method, kmeans=3)
    small.save(DOCS / f"{name}.png", optimize=True, pnginfo=chunks)


def is_stale(name: str) -> bool:
    """Compare the source of a file, which may be missing, with the current one."""
    file = DOCS / f"{name}.png"
    if not file.is_file():
        return True
    with Image.open(file) as image:
        return image.info.get("Source") != source(name)


def has_kept_record(checkpoint: Path) -> bool:
    """Find the scores of a checkpoint's run in the record that camvid.png refers to."""
    file = checkpoint.parent / "results.json"
    (kept,) = camvid_shown()
    scores = [json.loads(line)["evaluations"] for line in kept.splitlines()]
    return file.is_file() and json.loads(file.read_text(encoding="utf-8"))["evaluations"] in scores


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; the exit code of --check is 1 if a figure is stale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"{', '.join(SHOWN)}; by default, all")
    parser.add_argument("--check", action="store_true", help="make nothing; list stale figures")
    parser.add_argument("--checkpoint", type=Path, help="for camvid: best.ckpt of the run in experiments/results/single@camvid")
    parser.add_argument("--root", type=Path, default=Path("data/camvid"), help="for camvid: dataset directory")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.figures) - set(SHOWN)):
        parser.error(f"no figure {', '.join(unknown)}; use {', '.join(SHOWN)}")
    names = options.figures or list(SHOWN)
    if options.check:
        stale = [name for name in names if is_stale(name)]
        print("\n".join(f"stale: docs/{name}.png" for name in stale) or "no figure is stale")
        sys.exit(1 if stale else 0)
    if "camvid" in names and options.checkpoint is None:
        if options.figures:
            parser.error("camvid requires --checkpoint")
        print("left out: docs/camvid.png, which requires --checkpoint")
        names.remove("camvid")
    if "camvid" in names and not has_kept_record(options.checkpoint):
        parser.error(f"{options.checkpoint}: its run is not the one in {RESULTS / 'single@camvid' / 'records.jsonl'}")
    make = {"scenes": scenes, "samples": samples, "depth": depth, "page": page, "wandb": wandb, "tensorboard": tensorboard}
    for name in names:
        save(name, camvid(options.checkpoint, options.root) if name == "camvid" else make[name]())
        print(f"written: docs/{name}.png")


if __name__ == "__main__":
    main()

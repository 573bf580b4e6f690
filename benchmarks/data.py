"""Speed of the input pipeline without a network: 500x375 JPEGs, the size of VOC, to augmented 400x400 crops.

It is measured in this process with one thread, and with one loading process per core.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.record import parser_of, write
from refinenet_pl.datamodule.samplers import TrainingSampler
from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.scenes import Scenes

SIZE = (500, 375)


def samples_per_second(folder: Path, workers: int, epochs: int) -> dict[str, float]:
    """Measure loading speed over several epochs, without the first epoch and the first batch of each.

    Args:
        folder: Dataset with images, masks and classes.yaml.
        workers: Loading processes; 0 to load in this process.
        epochs: Number of epochs, 2 or more.

    Returns:
        Median (`samples_per_second`), `min` and `max` over epochs.
    """
    data = SegmentationDataModule(
        "folder", str(folder), global_batch=8, crop_size=(400, 400), num_workers=workers, val_split="train"
    )
    data.setup("fit")
    loader = data.train_dataloader()
    sampler = loader.sampler
    assert isinstance(sampler, TrainingSampler)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rates = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches = iter(loader)
        next(batches)  # includes the start of the loading processes
        start = time.perf_counter()
        number = sum(len(batch["image"]) for batch in batches)
        rates.append(number / (time.perf_counter() - start))
    torch.set_num_threads(threads)
    del rates[0]
    return {"samples_per_second": statistics.median(rates), "min": min(rates), "max": max(rates)}


def write_images(folder: Path, number: int) -> None:
    """Write a dataset of scenes with camera noise, as JPEGs of about 90 kB.

    Args:
        folder: Folder of the dataset.
        number: Number of different images; each is written four times.
    """
    scenes = Scenes(split="train", samples=number)
    for kind in "images", "masks":
        (folder / kind / "train").mkdir(parents=True)
    (folder / "classes.yaml").write_text(f"names: {list(scenes.classes.names)}\n")
    for index in range(number):
        image, mask = scenes.read(index)
        noise = np.random.default_rng(index).normal(0, 8, (*SIZE[::-1], 3))
        pixels = np.asarray(Image.fromarray(image).resize(SIZE, Image.Resampling.BICUBIC)) + noise
        jpeg = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        labels = Image.fromarray(mask.astype(np.uint8)).resize(SIZE, Image.Resampling.NEAREST)
        for repeat in range(4):
            jpeg.save(folder / "images" / "train" / f"{index}-{repeat}.jpg", quality=92)
            labels.save(folder / "masks" / "train" / f"{index}-{repeat}.png")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the command and return the record."""
    parser = parser_of(__doc__)
    parser.set_defaults(device="cpu")
    parser.add_argument("--images", type=int, default=64, help="number of distinct images")
    parser.add_argument("--epochs", type=int, default=6, help="epochs, 2 or more; the first is not counted")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), options.images)
        workers = (0, os.cpu_count() or 1)
        rows = [{"cores": max(1, n)} | samples_per_second(Path(folder), n, options.epochs) for n in workers]
    return write("data", options, {"pipeline": rows})


if __name__ == "__main__":
    main()

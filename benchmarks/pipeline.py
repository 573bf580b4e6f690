"""The input pipeline without a network: JPEGs of 500x375, as VOC has them, to augmented crops of 400x400."""

import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.io import decode_jpeg
from torchvision.transforms.v2 import functional as F

from benchmarks.measure import in_turns, summary
from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.scenes import Scenes

PICTURES, SIZE, EPOCHS = 64, (500, 375), 6


def pipeline() -> list[dict]:
    """Samples a second in this process with one thread, and in one loading process for each core."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        draw_pictures(Path(folder))
        return [_samples(Path(folder), workers) | {"cores": max(1, workers)} for workers in (0, cores)]


def _samples(folder: Path, workers: int) -> dict:
    # Repeated as links, so that an epoch is long beside what its start costs.
    options = {"global_batch": 8, "crop_size": (400, 400), "num_workers": workers, "val_split": "train"}
    data = SegmentationDataModule("folder", str(folder), **options)
    data.setup("fit")
    loader = data.train_dataloader()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rates = []
        for epoch in range(EPOCHS):
            loader.sampler.set_epoch(epoch)
            start, number = None, 0
            for batch in loader:
                if start is None:  # the first batch comes with the start of the loading processes
                    start = time.perf_counter()
                else:
                    number += len(batch["image"])
            rates.append(number / (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    rates = sorted(rates[1:])
    return {
        "samples_per_second": round(rates[len(rates) // 2], 1),
        "least": round(rates[0], 1),
        "greatest": round(rates[-1], 1),
    }


def draw_pictures(folder: Path) -> None:
    """A data set of drawn scenes with a camera's noise, JPEGs of about 90 kB as VOC's are."""
    scenes = Scenes(split="train", samples=PICTURES)
    for kind in ("images", "masks"):
        (folder / kind / "train").mkdir(parents=True)
    (folder / "classes.yaml").write_text(f"names: [{', '.join(map(repr, scenes.classes.names))}]\n")
    for index in range(PICTURES):
        image, mask = scenes.read(index)
        noise = np.random.default_rng(index).normal(0, 8, (*SIZE[::-1], 3))
        pixels = np.asarray(Image.fromarray(image).resize(SIZE, Image.Resampling.BICUBIC)) + noise
        picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        labels = Image.fromarray(mask.astype(np.uint8)).resize(SIZE, Image.Resampling.NEAREST)
        for repeat in range(4):
            picture.save(folder / "images" / "train" / f"{index}-{repeat}.jpg", quality=92)
            labels.save(folder / "masks" / "train" / f"{index}-{repeat}.png")


def libraries(rounds: int) -> list[dict]:
    """Ways to decode and to resize one picture, with one thread; of libraries that are installed."""
    with tempfile.TemporaryDirectory() as folder:
        draw_pictures(Path(folder))
        data = (Path(folder) / "images" / "train" / "0-0.jpg").read_bytes()
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    last = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    first, picture = last.contiguous(), Image.fromarray(pixels)
    larger = (488, 650)  # by 1.3
    tasks: dict[str, Callable[[], object]] = {
        "decode, Pillow": lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
        "decode, torchvision": lambda: decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8)),
        "resize by 1.3, torchvision, channels last": lambda: F.resize_image(last, larger, antialias=True),
        "resize by 1.3, torchvision, contiguous": lambda: F.resize_image(first, larger, antialias=True),
        "resize by 1.3, Pillow": lambda: picture.resize(larger[::-1], Image.Resampling.BILINEAR),
    }
    try:
        import simplejpeg

        tasks["decode, simplejpeg (libjpeg-turbo)"] = lambda: simplejpeg.decode_jpeg(data)
    except ImportError:
        print("simplejpeg is not installed and is left out")
    try:
        import cv2

        cv2.setNumThreads(1)
        tasks["decode, OpenCV"] = lambda: cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), 1), cv2.COLOR_BGR2RGB)
        tasks["resize by 1.3, OpenCV"] = lambda: cv2.resize(pixels, larger[::-1], interpolation=cv2.INTER_LINEAR)
    except ImportError:
        print("opencv-python-headless is not installed and is left out")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    many = {name: (lambda task=task: [task() for _ in range(20)]) for name, task in tasks.items()}
    found = in_turns(many, torch.device("cpu"), rounds)
    torch.set_num_threads(threads)
    return [{"part": name} | summary([value / 20 for value in seconds]) for name, seconds in sorted(found.items())]

#!/usr/bin/env python
"""A small copy of CamVid: pictures as JPEGs, masks as they are, for machines to which little can be carried.

  python experiments/pack_camvid.py data/camvid data/camvid-jpeg
  python -m refinenet_pl fit -c experiments/recipes/camvid.yaml --data.root data/camvid-jpeg --run.recipe camvid-jpeg

Scores on it are not those of the pictures as published: name its runs otherwise, as above.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.errors import DataError

MEBIBYTE = 2**20


def pack(source: Path, target: Path, quality: int) -> tuple[int, float]:
    """Write the copy, which appears as a whole or not at all.

    Args:
        source: CamVid's folder.
        target: Must not exist.
        quality: Of the JPEGs, 1 to 100; colours are kept at the full size.

    Returns:
        The copy's size in bytes, and the root of the mean squared difference of its pictures' values, in 0..255.

    Raises:
        DataError: The source is no whole CamVid, or a picture cannot be read.
        FileExistsError: There is a target.
    """
    if target.exists():
        raise FileExistsError(f"{target}: is there already; remove it, or name another folder")
    splits = {split: CamVid(source, split) for split in CamVid.split_sizes}
    target.parent.mkdir(parents=True, exist_ok=True)
    squares, values = 0.0, 0
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as unfinished:
        packed = Path(unfinished) / target.name
        for split, dataset in splits.items():
            lines = []
            for index, sample in enumerate(tqdm(dataset.samples, desc=split, unit="picture")):
                picture, _ = dataset.read(index)
                image, mask = Path(split, f"{sample.name}.jpg"), Path(f"{split}annot", sample.mask.name)
                for file in image, mask:
                    (packed / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(packed / image, quality=quality, subsampling="4:4:4", optimize=True)
                shutil.copyfile(sample.mask, packed / mask)
                difference = np.asarray(Image.open(packed / image), np.float64) - picture
                squares, values = squares + (difference**2).sum(), values + difference.size
                lines.append(f"{image.as_posix()} {mask.as_posix()}\n")
            (packed / f"{split}.txt").write_text("".join(lines))
        packed.rename(target)
    return sum(file.stat().st_size for file in target.rglob("*") if file.is_file()), (squares / values) ** 0.5


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; gives the exit code: 0, or 2 where there is nothing to pack or no place for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="CamVid's folder")
    parser.add_argument("target", type=Path, help="the copy's; git ignores what lies under data/")
    parser.add_argument("--quality", type=int, choices=range(1, 101), default=90, metavar="1..100", help="default: 90")
    options = parser.parse_args(arguments)
    try:
        size, error = pack(options.source, options.target, options.quality)
    except (DataError, FileExistsError) as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    except OSError as failure:
        print(f"error: {failure.filename}: {failure.strerror}; make room or give permission to write", file=sys.stderr)
        return 2
    print(f"{options.target}: {size / MEBIBYTE:.0f} MiB; values differ by {error:.1f} of 255 (root mean square)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

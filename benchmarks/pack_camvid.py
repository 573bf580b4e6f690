"""Compressed copy of CamVid for slow connections: images as JPEGs, masks unchanged.

  python -m benchmarks.pack_camvid data/camvid data/camvid-jpeg
  refinenet fit -c camvid --data.root data/camvid-jpeg --run.recipe camvid-jpeg

Scores differ from those on the published images, so runs should have another name, as above.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.errors import DataError


def pack(source: Path, target: Path, quality: int) -> tuple[int, float]:
    """Write a complete copy, or nothing if an error occurs.

    Args:
        source: Directory of CamVid.
        target: Directory of the copy; must not exist.
        quality: JPEG quality, 1 to 100; colors are not subsampled.

    Returns:
        Size of the copy in bytes, and the root mean square error of its image values in 0..255.

    Raises:
        DataError: The source is not a complete CamVid, or an image cannot be read.
        FileExistsError: The target exists.
    """
    if target.exists():
        raise FileExistsError(f"{target}: already exists; remove it, or choose another folder")
    splits = {split: CamVid(source, split) for split in CamVid.split_sizes}
    target.parent.mkdir(parents=True, exist_ok=True)
    squares, values = 0.0, 0
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as unfinished:
        packed = Path(unfinished) / target.name
        for split, dataset in splits.items():
            for folder in split, f"{split}annot":
                (packed / folder).mkdir(parents=True)
            lines = []
            for index, sample in enumerate(tqdm(dataset.samples, desc=split, unit="image")):
                pixels, _ = dataset.read(index)
                image, mask = Path(split, f"{sample.name}.jpg"), Path(f"{split}annot", sample.mask.name)
                Image.fromarray(pixels).save(packed / image, quality=quality, subsampling="4:4:4", optimize=True)
                shutil.copyfile(sample.mask, packed / mask)
                difference = np.asarray(Image.open(packed / image), np.float64) - pixels
                squares, values = squares + (difference**2).sum(), values + difference.size
                lines.append(f"{image.as_posix()} {mask.as_posix()}\n")
            (packed / f"{split}.txt").write_text("".join(lines))
        packed.rename(target)
    return sum(file.stat().st_size for file in target.rglob("*") if file.is_file()), (squares / values) ** 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code, 2 if the source is incomplete or the target cannot be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="directory of CamVid")
    parser.add_argument("target", type=Path, help="directory of the copy; git ignores data/")
    parser.add_argument("--quality", type=int, choices=range(1, 101), default=90, metavar="1..100", help="JPEG quality (90)")
    options = parser.parse_args(arguments)
    try:
        size, error = pack(options.source, options.target, options.quality)
    except (DataError, FileExistsError) as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    except OSError as failure:
        print(f"error: {failure.filename}: {failure.strerror}; free disk space or grant write permission", file=sys.stderr)
        return 2
    print(f"{options.target}: {size / 2**20:.0f} MiB; root mean square error of the values: {error:.1f} of 255")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Small files below a folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write_noise(folder: Path, *names: str, size: tuple[int, int] = (40, 50)) -> None:
    """Write images of random pixels; `size` is height and width."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def count_refusals(read: Callable[[Path], object], path: Path, error: type[Exception], cases: int, first: int = 0) -> int:
    """Read copies of a file that are damaged from byte `first` on; count those refused by an error that names the file.

    20 bytes of each copy are random, and every fourth copy is truncated.
    """
    whole, rng, refused = np.frombuffer(path.read_bytes(), np.uint8), np.random.default_rng(0), 0
    for case in range(cases):
        damaged = whole.copy()
        damaged[rng.integers(first, len(whole), 20)] = rng.integers(0, 256, 20)
        path.write_bytes(damaged[: rng.integers(first, len(whole)) if case % 4 == 0 else None].tobytes())
        try:
            read(path)
        except error as refusal:
            refused += 1
            assert str(path) in str(refusal)
    return refused

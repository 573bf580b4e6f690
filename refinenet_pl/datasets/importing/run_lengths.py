"""Decoding of run lengths: those of COCO and CVAT, and those of Label Studio.

All functions raise a ValueError that states the problem.
"""

from collections.abc import Sequence

import numpy as np


def decode_runs(counts: Sequence[int], pixels: int) -> np.ndarray:
    """Decode alternating numbers of pixels outside and inside, beginning outside.

    Args:
        counts: Lengths of the runs.
        pixels: Expected sum of the lengths.

    Returns:
        bool (pixels,).
    """
    if any(type(count) is not int or count < 0 for count in counts):
        raise ValueError("a run length is not a non-negative integer")
    if sum(counts) != pixels:
        raise ValueError(f"the run lengths cover {sum(counts):,} pixels, but the mask has {pixels:,}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def decompress(text: str) -> list[int]:
    """Decode COCO's compressed run lengths.

    Each number has 5 bits per character, the lowest ones first; a sixth bit means that more follow. From the fourth number on,
    the difference to the number two places before is stored.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"{character!r} does not occur in compressed run lengths")
        number |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:  # the sign
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("the compressed run lengths are truncated")
    return counts


def decode_brush(packed: Sequence[int], width: int, height: int) -> np.ndarray:
    """Decode a brush mask of Label Studio, an RGBA image in the format of the JavaScript package rle-pack.

    After a header with the number of words, their size and four sizes of run lengths, there are runs: a bit for repetition, two
    bits that choose the size of the length, the length minus 1, and the repeated word or as many words.

    Args:
        packed: Bytes.
        width: Width of the image.
        height: Height of the image.

    Returns:
        bool (height, width), True if the opacity is at least half of its max, which splits the smooth edges of a stroke.
    """
    content = bytes(packed)
    bits = f"{int.from_bytes(content):0{8 * len(content)}b}"
    position = 0

    def take(size: int) -> str:
        nonlocal position
        position += size
        if position > len(bits):
            raise ValueError("the brush mask is truncated")
        return bits[position - size : position]

    def read(size: int) -> int:
        return int(take(size), 2)

    number = read(32)
    if number != 4 * width * height:
        raise ValueError(f"the brush mask has {number:,} values, but a {width}x{height} image has {4 * width * height:,}")
    word = read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    values = np.zeros(number, np.uint8 if word <= 8 else np.uint32)
    start = 0
    while start < number:
        repeated = read(1)
        end = min(start + read(lengths[read(2)]) + 1, number)
        values[start:end] = read(word) if repeated else _words(take(word * (end - start)), word)
        start = end
    opacity = values.reshape(height, width, 4)[..., 3]
    return opacity > opacity.max() // 2


def _words(bits: str, size: int) -> np.ndarray:
    """Split a text of zeros and ones into integers of a fixed number of bits."""
    digits = np.frombuffer(bits.encode(), np.uint8).reshape(-1, size) - ord("0")
    return digits @ (1 << np.arange(size)[::-1])

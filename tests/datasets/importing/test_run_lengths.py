"""Decoding of run lengths, compared with pycocotools and known masks."""

import numpy as np
import pytest
from helpers.annotation_files import pack_brush, runs
from pycocotools import mask as reference

from refinenet_pl.datasets.importing.run_lengths import decode_brush, decode_runs, decompress

CVAT = "3, 5, 7, 7, 5, 9, 3, 11, 2, 11, 2, 12, 1, 12, 1, 26, 1, 12, 1, 12, 2, 11, 3, 9, 5, 7, 7, 5, 3"
"""The example of CVAT's documentation, of 13x15 pixels."""


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 1])
def test_compressed_runs_of_pycocotools(share):
    for seed in range(20):
        mask = np.random.default_rng(seed).random((37, 300)) < share
        code = reference.encode(np.asfortranarray(mask, np.uint8))
        counts = decompress(code["counts"].decode())
        assert np.array_equal(decode_runs(counts, mask.size).reshape(300, 37).T, mask)


def test_runs_of_cvat():
    mask = decode_runs([int(word) for word in CVAT.split(",")], 13 * 15).reshape(15, 13)
    assert mask[0].tolist() == [False] * 3 + [True] * 5 + [False] * 5 and mask[7].all() and not mask[-1, :5].any()


@pytest.mark.parametrize(
    ("decode", "problem"),
    [
        (lambda: decode_runs([3, 4], 8), "cover 7 pixels, but the mask has 8"),
        (lambda: decode_runs([9, -1], 8), "non-negative"),
        (lambda: decode_runs([7.5, 0.5], 8), "not a non-negative integer"),
        (lambda: decompress("0 1"), "' ' does not occur"),
        (lambda: decompress("P"), "truncated"),
        (lambda: decode_brush(pack_brush(np.eye(5, dtype=bool)), 5, 4), "has 100 values, but a 5x4 image has 80"),
        (lambda: decode_brush(pack_brush(np.eye(5, dtype=bool))[:-3], 5, 5), "truncated"),
        (lambda: decode_brush([], 5, 5), "truncated"),
    ],
)
def test_damaged_runs(decode, problem):
    with pytest.raises(ValueError, match=problem):
        decode()


def test_brush():
    mask = np.random.default_rng(0).random((13, 9)) < 0.5
    assert np.array_equal(decode_brush(pack_brush(mask), 9, 13), mask)
    assert runs(np.array([True, False, False])) == [0, 1, 2]
    assert not decode_brush(pack_brush(np.zeros((13, 9), bool)), 9, 13).any()

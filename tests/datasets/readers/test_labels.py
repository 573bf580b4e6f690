"""Mapping from mask values to class ids."""

from pathlib import Path

import numpy as np
import pytest

from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.errors import DataError

PATH = Path("somewhere/mask.png")
plain = LabelValues.plain


@pytest.mark.parametrize(
    ("values", "pixels", "ids"),
    [
        (LabelValues({7: 0, 8: 1, 300: 2}, void=(0, 5, 1000)), [300, 7, 0, 8, 1000, 5], [2, 0, 255, 1, 255, 255]),
        (LabelValues({1: 0, 2: 0, 3: 1}), [1, 2, 3], [0, 0, 1]),
        (plain(3), [0, 1, 2, 255], [0, 1, 2, 255]),
        (plain(3, first=1), [1, 2, 3, 255], [0, 1, 2, 255]),
        (plain(3, first=1, void=(0,)), [0, 1, 2, 3], [255, 0, 1, 2]),
        (plain(3, void=(3,), void_id=3), [0, 1, 2, 3], [0, 1, 2, 3]),
        (plain(255), [0, 254, 255], [0, 254, 255]),
        (plain(2, void=()), [0, 1], [0, 1]),
        # A value that is both a class and void is a class.
        (LabelValues({0: 0, 255: 1}), [0, 255], [0, 1]),
        (plain(256), [255], [255]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_encodes_values(values, pixels, ids, dtype):
    mask = np.array([pixels], dtype)
    encoded = values.encode(mask, PATH)
    assert encoded.dtype == np.uint8 and encoded.tolist() == [ids]
    assert mask.tolist() == [pixels], "the input is unchanged"


@pytest.mark.parametrize(
    ("values", "pixels", "dtype", "problem"),
    [
        (plain(3), [0, 3, 2, 255, 3], np.uint8, "values 3 in 2 pixels, but only values 0..2, 255"),
        (plain(3), [0, 256, 2, 255], np.uint16, "values 256 in 1 pixels"),
        (plain(3), [0, 65535, 2, 255], np.uint16, "values 65535 in 1 pixels"),
        (plain(2, void=()), [0, 255], np.uint8, "values 255 in 1 pixels, but only values 0..1 "),
        (plain(1), [3, 4, 5, 9, 11, 12], np.uint8, "values 3..5, 9, 11..12 in 6 pixels"),
        (
            LabelValues({value: 0 for value in range(0, 100, 2)}),
            range(1, 60, 2),
            np.uint8,
            "values 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 18 more in 30 pixels",
        ),
    ],
)
def test_reports_undefined_values(values, pixels, dtype, problem):
    with pytest.raises(DataError) as refused:
        values.encode(np.array([pixels], dtype), PATH)
    assert str(refused.value).startswith(f"{PATH}: {problem}")

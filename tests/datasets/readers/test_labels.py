"""From the values in mask files to class ids."""

from pathlib import Path

import numpy as np
import pytest

from refinenet_pl.datasets.readers.labels import LabelValues
from refinenet_pl.errors import DataError

PATH = Path("somewhere/mask.png")


def encode(values: LabelValues, *pixels: int, dtype=np.uint16) -> list[int]:
    return values.encode(np.array([pixels], dtype), PATH)[0].tolist()


def refusal(values: LabelValues, *pixels: int, dtype=np.uint16) -> str:
    with pytest.raises(DataError) as refused:
        encode(values, *pixels, dtype=dtype)
    return str(refused.value)


def test_values_become_the_ids_given_and_void():
    values = LabelValues({7: 0, 8: 1, 300: 2}, void=(0, 5, 1000))
    assert encode(values, 300, 7, 0, 8, 1000, 5) == [2, 0, 255, 1, 255, 255]


def test_several_values_may_mean_one_class():
    assert encode(LabelValues({1: 0, 2: 0, 3: 1}), 1, 2, 3) == [0, 0, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_ids_are_bytes_of_the_masks_shape(dtype):
    mask = np.arange(6, dtype=dtype).reshape(2, 3)
    ids = LabelValues.plain(6).encode(mask, PATH)
    assert ids.dtype == np.uint8 and np.array_equal(ids, mask)


@pytest.mark.parametrize(
    ("given", "pixels", "ids"),
    [
        ({"classes": 3}, [0, 1, 2, 255], [0, 1, 2, 255]),
        ({"classes": 3, "first": 1}, [1, 2, 3, 255], [0, 1, 2, 255]),
        ({"classes": 3, "first": 1, "void": (0,)}, [0, 1, 2, 3], [255, 0, 1, 2]),
        ({"classes": 3, "void": (3,), "void_id": 3}, [0, 1, 2, 3], [0, 1, 2, 3]),
        ({"classes": 255}, [0, 254, 255], [0, 254, 255]),
        ({"classes": 2, "void": ()}, [0, 1], [0, 1]),
    ],
)
def test_plain(given, pixels, ids):
    assert encode(LabelValues.plain(**given), *pixels) == ids


def test_a_value_given_to_a_class_is_that_class_and_not_void():
    assert encode(LabelValues({0: 0, 255: 1}), 0, 255) == [0, 1]
    assert encode(LabelValues.plain(256), 255) == [255]  # the class of that id


@pytest.mark.parametrize(("wrong", "dtype"), [(3, np.uint8), (254, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_a_value_that_stands_for_nothing_is_refused(wrong, dtype):
    message = refusal(LabelValues.plain(3), 0, wrong, 2, 255, wrong, dtype=dtype)
    assert message.startswith(f"{PATH}: values {wrong} in 2 pixels, but only values 0..2, 255 have a meaning here; ")


def test_without_void_255_stands_for_nothing():
    assert "values 255 in 1 pixels, but only values 0..1 have" in refusal(LabelValues.plain(2, void=()), 0, 255)


def test_values_are_told_in_runs_and_long_lists_are_cut():
    message = refusal(LabelValues.plain(1), 3, 4, 5, 9, 11, 12)
    assert "values 3..5, 9, 11..12 in 6 pixels" in message
    message = refusal(LabelValues({value: 0 for value in range(0, 100, 2)}), *range(1, 60, 2))
    assert "values 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 18 more in 30 pixels" in message
    assert "only values 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 and 39 more have" in message


def test_a_mask_of_no_pixel_and_one_of_many():
    values = LabelValues.plain(4)
    assert values.encode(np.zeros((0, 5), np.uint8), PATH).shape == (0, 5)
    mask = np.random.default_rng(0).choice(np.array([0, 1, 2, 3, 255], np.uint16), (300, 400))
    assert np.array_equal(values.encode(mask, PATH), mask)


def test_the_mask_itself_stays_as_it_is():
    mask = np.array([[1, 2, 0]], np.uint8)
    LabelValues.plain(2, first=1, void=(0,)).encode(mask, PATH)
    assert mask.tolist() == [[1, 2, 0]]

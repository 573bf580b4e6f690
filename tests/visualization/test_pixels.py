"""Display of images with any number of channels."""

import numpy as np
import pytest

from refinenet_pl.visualization.pixels import shown_pixels


@pytest.mark.parametrize(("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 7, 255]), (5, [0, 7, 255])])
def test_channels(channels, shown):
    image = np.array([-3, 6.6, 300, 1, 2], np.float32)[:channels].reshape(1, 1, -1)
    assert shown_pixels(image).tolist() == [[shown]] and shown_pixels(image).dtype == np.uint8


def test_rgb_is_unchanged():
    image = np.zeros((2, 2, 3), np.uint8)
    assert shown_pixels(image) is image
